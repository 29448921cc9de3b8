"""A stream of frames in, class masks out: the one loop that the node, the tools and the evaluation all run."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from dcfm_ros.imaging.frame import Frame
from dcfm_ros.imaging.geometry import network_size, resize_to_network
from dcfm_ros.imaging.labels import labels_for
from dcfm_ros.imaging.motion import Motion, small_grey
from dcfm_ros.streaming.backends.base import Backend
from dcfm_ros.streaming.keyframes import Keyframe, Keyframes, KeyframeWorker
from dcfm_ros.streaming.options import StreamOptions
from dcfm_ros.streaming.result import STAGES, Segmentation, timed
from dcfm_ros.streaming.schedules import Decision, Schedule, Situation
from dcfm_ros.streaming.since_keyframe import SinceKeyframe, align, motions_back_to

_UNDECIDED = Decision(False, "undecided")
_UNDER_WAY = Decision(False, "keyframe under way")


@dataclass(frozen=True)
class _Waiting:
    """A frame whose shallow feature is known and whose mask is not.

    grey: only where features are moved. motions: to keyframes that came later, by their index.
    """

    frame: Frame
    number: int
    index: int
    confidence: bool
    shallow: Any = None
    decision: Decision = _UNDECIDED
    grey: np.ndarray | None = None
    motions: dict[int, Motion] = field(default_factory=dict)
    background_ms: float = 0.0
    stage_ms: dict[str, float] = field(default_factory=lambda: dict.fromkeys(STAGES, 0.0))


class StreamSegmenter:
    """Owns one stream. Feed frames in their order to `push`; call `flush` at the end.

    A stream's first keyframe is always waited for, and no asynchronous one begins while another is computed. A new
    stream begins when the stamp goes back or further ahead than `max_stamp_gap_s`, and with another size or encoding;
    equal stamps do not begin one, nor does a zero stamp, which says nothing.

    The same frames give the same bytes on the same machine, versions and thread count, where the options say
    `is_repeatable`.

    Args:
        backend: Where the network runs. It may serve several segmenters, one call at a time.
        options: What was chosen for the stream; it has the defaults of the node and of the command line.
        schedule: A schedule of one's own in place of the one that the options describe.
        worker: Where asynchronous keyframes are computed; by default a thread of the segmenter's own. Segmenters of
            one backend must share it.

    Attributes:
        labels: Names and colours of the ids in the masks.
        schedule: May be exchanged between two frames.

    Raises:
        ValueError: The options contradict each other, or the input size does not fit the backbone.
    """

    def __init__(
        self,
        backend: Backend,
        options: StreamOptions = StreamOptions(),  # noqa: B008
        schedule: Schedule | None = None,
        worker: KeyframeWorker | None = None,
    ) -> None:
        config = backend.config
        if options.keyframe_mode == "async" and options.mode != "causal":
            raise ValueError(f"keyframe_mode is 'async' in mode {options.mode!r}; expected mode 'causal'")
        if options.input_size is not None:
            config.check_input_size(options.input_size)
        self.labels = labels_for(config.num_classes, config.label_set, config.class_names, config.palette)
        self.backend = backend
        self.options = options
        self.schedule = schedule or options.create_schedule()
        self._aligns = options.align != "none" and options.mode != "full"
        self._keyframes = Keyframes(backend, options, worker)
        self._pushed = 0
        # Two counts and no flag to clear: a keyframe may be forced from another thread while a frame is decided.
        self._times_forced = self._times_taken = 0
        self.restart("first")

    def push(self, frame: Frame, confidence: bool = False, keyframes_elsewhere: int = 0) -> list[Segmentation]:
        """Take the next frame; return what can be said now, in the order of the frames.

        Causal and full: exactly this frame's result. Bidirectional: nothing, or all frames up to and with a new
        keyframe, and what the old stream held back when a new one begins. confidence: whether this frame's confidence
        is wanted. keyframes_elsewhere: see `Situation`; `CameraGroup` tells it. If the backend raises, nothing of the
        stream is kept (results held back are lost) and the next frame begins a new one.
        """
        try:
            return self._push(frame, confidence, keyframes_elsewhere)
        except Exception:
            self.restart("recovered")
            raise

    def flush(self) -> list[Segmentation]:
        """Results still held back, decided from the last keyframe alone; the next frame begins a new stream.

        Frames of a stream that ended before its first keyframe become keyframes, each its own.
        """
        held, keyframes = self._held, self._in_use()
        self.restart("first")
        return [self._decided(waiting, keyframes) for waiting in held]

    def force_keyframe(self) -> None:
        """Make the next frame a keyframe, whether or not a new stream begins with it; may be called on any thread."""
        self._times_forced += 1

    @property
    def frames_since_keyframe(self) -> float:
        """The next frame's distance from the last keyframe, in frames; infinite where a new stream begins."""
        last = self._keyframes.last_index
        return math.inf if last is None else self._index - last

    def restart(self, reason: str) -> None:
        """Forget the stream: the next frame begins another, whose first keyframe has this reason.

        Results that bidirectional mode holds back are lost; call `flush` before to have them.
        """
        self._start_reason = reason
        self._index = 0
        self._last: Frame | None = None
        self._held: list[_Waiting] = []
        self._keyframes.forget()

    def warm_up(self, height: int, width: int) -> None:
        """Run every stage once for frames of this size, so that the first real one is not slow; no stream is begun."""
        image = np.zeros((*self.network_size(height, width), 3), np.uint8)
        shallow = self.backend.encode_shallow(image)
        common = self.backend.encode_common(shallow)
        if self._aligns:
            common = align(self.backend, common, Motion(None), self.network_size(height, width))
        if self.schedule.needs_change:
            self.backend.change(shallow, shallow)
        self.backend.decide([common], shallow, (height, width), False)
        self._keyframes.warm_up(shallow)

    def close(self) -> None:
        """End the thread of asynchronous keyframes, where the segmenter has one of its own."""
        self._keyframes.close()

    def network_size(self, height: int, width: int) -> tuple[int, int]:
        """The (height, width) of the network's input for frames of this size."""
        config = self.backend.config
        return self.options.input_size or network_size(height, width, config.input_size, config.size_multiple)

    def _push(self, frame: Frame, confidence: bool, keyframes_elsewhere: int) -> list[Segmentation]:
        number = self._pushed
        self._pushed += 1
        results = []
        if reason := self._break_before(frame):
            results = self.flush()
            self.restart(reason)
        waiting = self._encoded(_Waiting(frame, number, self._index, confidence))
        waiting = replace(waiting, background_ms=self._keyframes.swap(self._index, number, self.schedule))
        if self._keyframes.coming is not None:
            with timed(waiting.stage_ms, "motion"):  # so that it knows the way once it comes into use
                self._keyframes.coming.since.follow(waiting.grey)
                if self.schedule.needs_change:  # and the next keyframe comes no later than a synchronous stream's
                    self._keyframes.coming.since.add_change(self.backend, waiting.shallow)
        waiting = self._decide(waiting, keyframes_elsewhere)
        self._index += 1
        self._last = frame
        if not waiting.decision.is_keyframe and self.options.mode == "bidirectional":
            self._held.append(waiting)
            return results

        before = self._in_use()
        if waiting.decision.is_keyframe:
            self._begin_keyframe(waiting)
        self._look_back(waiting)
        results += [self._decided(held, [*before, *self._in_use()]) for held in self._held]
        self._held = []
        return [*results, self._decided(waiting, self._in_use())]

    def _encoded(self, waiting: _Waiting) -> _Waiting:
        """The frame with its shallow feature, and its small picture where that is needed."""
        with timed(waiting.stage_ms, "prepare"):
            size = self.network_size(waiting.frame.height, waiting.frame.width)
            image = resize_to_network(waiting.frame, size)
        with timed(waiting.stage_ms, "shallow"):
            shallow = self.backend.encode_shallow(image)
        grey = None
        if self._aligns:
            with timed(waiting.stage_ms, "motion"):
                grey = small_grey(image)
        return replace(waiting, shallow=shallow, grey=grey)

    def _break_before(self, frame: Frame) -> str:
        """Why `frame` does not go on from the last one; empty when it does."""
        last = self._last
        if last is None:
            return ""
        if (last.height, last.width) != (frame.height, frame.width):
            return "size changed"
        if last.encoding != frame.encoding:
            return "encoding changed"
        ahead_s = _seconds(last.stamp_ns, frame.stamp_ns)
        if ahead_s < 0:
            return "stamp went back"
        if ahead_s > self.options.max_stamp_gap_s:
            return "stamp gap"
        return ""

    def _decide(self, waiting: _Waiting, keyframes_elsewhere: int) -> _Waiting:
        """Whether the frame is a keyframe, and why."""
        if self.options.mode == "full":
            return replace(waiting, decision=Decision(True, "full" if waiting.index else self._start_reason))
        if self._keyframes.coming is not None:
            return replace(waiting, decision=_UNDER_WAY)
        times_forced = self._times_forced
        last = self._keyframes.in_use
        situation = Situation(
            waiting.index,
            number=waiting.number,
            stamp_ns=waiting.frame.stamp_ns,
            keyframes_elsewhere=keyframes_elsewhere,
        )
        if last is not None:
            change = None
            if self.schedule.needs_change:
                with timed(waiting.stage_ms, "motion"):
                    change = last.since.add_change(self.backend, waiting.shallow)
            situation = replace(situation, change=change, keyframe_index=last.index, keyframe_stamp_ns=last.stamp_ns)
        decision = self.schedule.decide(situation)
        if last is None and (self.options.mode == "causal" or decision.is_keyframe):
            decision = Decision(True, self._start_reason)
        elif times_forced != self._times_taken:
            decision = Decision(True, "forced")
        if decision.is_keyframe and self._keyframes.must_wait(waiting.number, self.schedule):
            return replace(waiting, decision=_UNDER_WAY)
        self._times_taken = times_forced
        return replace(waiting, decision=decision)

    def _begin_keyframe(self, waiting: _Waiting) -> None:
        since = SinceKeyframe(waiting.grey, waiting.shallow if self.schedule.needs_change else None)
        keyframe = Keyframe(waiting.index, waiting.number, waiting.frame.stamp_ns, since=since)
        self._keyframes.begin(keyframe, waiting.shallow, waiting.stage_ms)

    def _look_back(self, keyframe: _Waiting) -> None:
        """Find the motions of the frames held back to the keyframe, which came after them."""
        if keyframe.grey is None:
            return
        held = self._held[::-1]
        motions = motions_back_to(keyframe.grey, (waiting.grey for waiting in held if waiting.grey is not None))
        for waiting in held:
            with timed(waiting.stage_ms, "motion"):
                waiting.motions[keyframe.index] = next(motions)

    def _in_use(self) -> list[Keyframe]:
        return [self._keyframes.in_use] if self._keyframes.in_use else []

    def _decided(self, waiting: _Waiting, keyframes: Sequence[Keyframe]) -> Segmentation:
        if not keyframes:  # a bidirectional stream that ended before its first keyframe
            with timed(waiting.stage_ms, "common"):
                common = self.backend.encode_common(waiting.shallow)
            keyframes = [Keyframe(waiting.index, waiting.number, waiting.frame.stamp_ns, common)]
            waiting = replace(waiting, decision=Decision(True, "no keyframe came"))
        size = (waiting.frame.height, waiting.frame.width)
        commons = [self._aligned(waiting, keyframe) for keyframe in keyframes]
        with timed(waiting.stage_ms, "decide"):
            mask, confidence = self.backend.decide(commons, waiting.shallow, size, waiting.confidence)
        nearest = min(keyframes, key=lambda keyframe: abs(waiting.index - keyframe.index))
        return Segmentation(
            frame=waiting.frame,
            index=waiting.number,
            mask=mask,
            confidence=confidence,
            is_keyframe=waiting.decision.is_keyframe,
            reason=waiting.decision.reason,
            keyframe_index=nearest.number,
            keyframe_age_frames=abs(waiting.index - nearest.index),
            keyframe_age_s=abs(_seconds(nearest.stamp_ns, waiting.frame.stamp_ns)),
            stage_ms=waiting.stage_ms,
            background_ms=waiting.background_ms,
        )

    def _aligned(self, waiting: _Waiting, keyframe: Keyframe) -> Any:
        """The keyframe's common feature, where it lies in this frame."""
        if keyframe.index == waiting.index or not self._aligns:
            return keyframe.common
        motion = waiting.motions.get(keyframe.index)
        if motion is None:
            with timed(waiting.stage_ms, "motion"):
                motion = keyframe.since.follow(waiting.grey)
        if motion.flow is None:
            return keyframe.common
        with timed(waiting.stage_ms, "align"):
            size = self.network_size(waiting.frame.height, waiting.frame.width)
            return align(self.backend, keyframe.common, motion, size)


def _seconds(earlier_ns: int, later_ns: int) -> float:
    """From one stamp to the other; 0 where one of them is zero, which means that there is none."""
    return (later_ns - earlier_ns) / 1e9 if earlier_ns and later_ns else 0.0
