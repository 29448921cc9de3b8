"""A stream of frames in, class masks out: the one loop that the node, the tools and the evaluation all run."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from dcfm_ros.imaging.frame import Frame
from dcfm_ros.imaging.geometry import network_size, resize_to_network
from dcfm_ros.imaging.labels import labels_for
from dcfm_ros.imaging.motion import Motion, MotionSince, small_grey
from dcfm_ros.streaming.backends.base import Backend
from dcfm_ros.streaming.keyframes import ComingKeyframe, Keyframe, KeyframeWorker
from dcfm_ros.streaming.options import StreamOptions
from dcfm_ros.streaming.result import STAGES, Segmentation
from dcfm_ros.streaming.schedules import Decision, Recorded, Schedule, Situation

_UNDECIDED = Decision(False, "undecided")


@dataclass(frozen=True)
class _Waiting:
    """A frame whose shallow feature is known and whose mask is not.

    grey: only where motion is wanted. motions: since keyframes, by their index.
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
        is_async = options.keyframe_mode == "async"
        if is_async and options.mode != "causal":
            raise ValueError(f"keyframe_mode is 'async' in mode {options.mode!r}; expected mode 'causal'")
        check_input_size(options.input_size, config.size_multiple)
        self.labels = labels_for(config.num_classes, config.label_set, config.class_names, config.palette)
        self.backend = backend
        self.options = options
        self.schedule = schedule or options.create_schedule()
        self._aligns = options.align != "none" and options.mode != "full"
        self._owns_worker = is_async and worker is None
        self._worker = (worker or KeyframeWorker(backend)) if is_async else None
        self._coming: ComingKeyframe | None = None
        self._pushed = 0
        self._forced = False
        self._summed_since = -1
        self._change = 0.0
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
        held, keyframes = self._waiting, self._keyframes()
        self.restart("first")
        return [self._decided(waiting, keyframes) for waiting in held]

    def force_keyframe(self) -> None:
        """Make the next frame a keyframe, whether or not a new stream begins with it."""
        self._forced = True

    @property
    def frames_since_keyframe(self) -> float:
        """What the next frame's distance from the last keyframe will be; infinite where a new stream begins."""
        last = self._coming or self._keyframe
        return math.inf if last is None else self._index - last.index

    def restart(self, reason: str) -> None:
        """Forget the stream: the next frame begins another, whose first keyframe has this reason.

        Results that bidirectional mode holds back are lost; call `flush` before to have them.
        """
        self._start_reason = reason
        self._index = 0
        self._last: Frame | None = None
        self._keyframe: Keyframe | None = None
        self._coming = None
        self._waiting: list[_Waiting] = []

    def warm_up(self, height: int, width: int) -> None:
        """Run every stage once for frames of this size, so that the first real one is not slow; no stream is begun."""
        image = np.zeros((*self.network_size(height, width), 3), np.uint8)
        shallow = self.backend.encode_shallow(image)
        common = self.backend.encode_common(shallow)
        if self._aligns:
            common = self.backend.align(common, Motion(None).grid(self._grid_size(image.shape[:2])))
        if self.schedule.needs_change:
            self.backend.change(shallow, shallow)
        self.backend.decide([common], shallow, (height, width), False)
        if self._worker is not None:
            self._worker.start(Keyframe(0, 0, 0), shallow).take()

    def close(self) -> None:
        """End the thread of asynchronous keyframes, where the segmenter has one of its own."""
        if self._owns_worker and self._worker is not None:
            self._worker.close()

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
        waiting = self._swapped_in(waiting)
        if self._coming is not None and self._coming.motion is not None:
            with _timed(waiting.stage_ms, "motion"):  # so that it knows the way once it comes into use
                self._coming.motion.follow(_grey_of(waiting))
        waiting = self._decide(waiting, keyframes_elsewhere)
        self._index += 1
        self._last = frame
        if not waiting.decision.is_keyframe and self.options.mode == "bidirectional":
            self._waiting.append(waiting)
            return results

        before = self._keyframes()
        if waiting.decision.is_keyframe:
            self._begin_keyframe(waiting)
        if waiting.grey is not None:
            self._look_back(waiting.index, waiting.grey)
        results += [self._decided(held, [*before, *self._keyframes()]) for held in self._waiting]
        self._waiting = []
        return [*results, self._decided(waiting, self._keyframes())]

    def _encoded(self, waiting: _Waiting) -> _Waiting:
        """The frame with its shallow feature, and its small picture where that is needed."""
        with _timed(waiting.stage_ms, "prepare"):
            size = self.network_size(waiting.frame.height, waiting.frame.width)
            image = resize_to_network(waiting.frame, size)
        with _timed(waiting.stage_ms, "shallow"):
            shallow = self.backend.encode_shallow(image)
        grey = None
        if self._aligns:
            with _timed(waiting.stage_ms, "motion"):
                grey = small_grey(image)
        return replace(waiting, shallow=shallow, grey=grey)

    def _swapped_in(self, waiting: _Waiting) -> _Waiting:
        """Take a keyframe that was computed beside the stream into use, where its time has come."""
        coming = self._coming
        if coming is None:
            return waiting
        if isinstance(self.schedule, Recorded):
            due = self.schedule.keyframe_in_use(waiting.number) == coming.number
        elif self.options.swap_after:
            due = waiting.index - coming.index >= self.options.swap_after
        else:
            due = coming.is_ready
        if not due:
            return waiting
        self._coming = None
        self._keyframe, milliseconds = coming.take()
        return replace(waiting, background_ms=milliseconds)

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
            self._forced = False
            return replace(waiting, decision=Decision(True, "full" if waiting.index else self._start_reason))
        if self._coming is not None:
            return replace(waiting, decision=Decision(False, "keyframe under way"))
        last = self._keyframe
        situation = Situation(
            waiting.index,
            number=waiting.number,
            stamp_ns=waiting.frame.stamp_ns,
            keyframes_elsewhere=keyframes_elsewhere,
        )
        if last is not None:
            with _timed(waiting.stage_ms, "motion"):
                change = self._change_since(last, waiting.shallow) if self.schedule.needs_change else None
            situation = replace(situation, change=change, keyframe_index=last.index, keyframe_stamp_ns=last.stamp_ns)
        decision = self.schedule.decide(situation)
        if last is None and (self.options.mode == "causal" or decision.is_keyframe):
            decision = Decision(True, self._start_reason)
        elif self._forced:
            decision = Decision(True, "forced")
        if decision.is_keyframe and last is not None and self._must_wait():
            return replace(waiting, decision=Decision(False, "keyframe under way"))
        self._forced = False
        return replace(waiting, decision=decision)

    def _change_since(self, last: Keyframe, shallow: Any) -> float:
        """How much the frames since the last keyframe have changed, summed, with this one.

        Infinite where a schedule that asks came after the keyframe, which then kept nothing to compare with.
        """
        if self._summed_since != last.number:
            self._summed_since, self._change = last.number, 0.0
        self._change += math.inf if last.shallow is None else self.backend.change(shallow, last.shallow)
        return self._change

    def _must_wait(self) -> bool:
        """Whether the worker has a keyframe of another stream, or of one that was given up, on its hands."""
        if self._worker is None or not self._worker.is_busy:
            return False
        if self.options.swap_after or isinstance(self.schedule, Recorded):
            self._worker.wait()  # a replay takes the same keyframes however long they take
            return False
        return True

    def _begin_keyframe(self, waiting: _Waiting) -> None:
        keyframe = Keyframe(
            index=waiting.index,
            number=waiting.number,
            stamp_ns=waiting.frame.stamp_ns,
            motion=None if waiting.grey is None else MotionSince(waiting.grey),
            shallow=waiting.shallow if self.schedule.needs_change else None,
        )
        if self._worker is not None and self._keyframe is not None:
            self._coming = self._worker.start(keyframe, waiting.shallow)
            return
        with _timed(waiting.stage_ms, "common"):
            common = self.backend.encode_common(waiting.shallow)
        self._keyframe = replace(keyframe, common=common)

    def _look_back(self, index: int, grey: np.ndarray) -> None:
        """The motions of the frames held back to the keyframe of that index, which came after them."""
        motion = MotionSince(grey)
        for held in reversed(self._waiting):
            with _timed(held.stage_ms, "motion"):
                held.motions[index] = motion.follow(_grey_of(held))

    def _keyframes(self) -> list[Keyframe]:
        return [self._keyframe] if self._keyframe else []

    def _decided(self, waiting: _Waiting, keyframes: Sequence[Keyframe]) -> Segmentation:
        if not keyframes:  # a bidirectional stream that ended before its first keyframe
            with _timed(waiting.stage_ms, "common"):
                common = self.backend.encode_common(waiting.shallow)
            keyframes = [Keyframe(waiting.index, waiting.number, waiting.frame.stamp_ns, common)]
            waiting = replace(waiting, decision=Decision(True, "no keyframe came"))
        size = (waiting.frame.height, waiting.frame.width)
        commons = [self._aligned(waiting, keyframe) for keyframe in keyframes]
        with _timed(waiting.stage_ms, "decide"):
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
        if keyframe.index == waiting.index or keyframe.motion is None:
            return keyframe.common
        with _timed(waiting.stage_ms, "motion"):
            motion = self._motion(waiting, keyframe)
        if motion.flow is None:
            return keyframe.common
        size = self.network_size(waiting.frame.height, waiting.frame.width)
        with _timed(waiting.stage_ms, "align"):
            return self.backend.align(keyframe.common, motion.grid(self._grid_size(size)))

    def _motion(self, waiting: _Waiting, keyframe: Keyframe) -> Motion:
        """Since the keyframe; found once for the schedule and the alignment of a frame."""
        if keyframe.index not in waiting.motions:
            assert keyframe.motion is not None
            waiting.motions[keyframe.index] = keyframe.motion.follow(_grey_of(waiting))
        return waiting.motions[keyframe.index]

    def _grid_size(self, size: tuple[int, int]) -> tuple[int, int]:
        """Of the common feature, for a network's input of `size`."""
        stride = self.backend.config.common_stride
        return size[0] // stride, size[1] // stride


def check_input_size(size: tuple[int, int] | None, multiple: int) -> None:
    """Raises ValueError unless the sides are positive multiples of `multiple`, or there is no size."""
    if size is not None and (min(size) < multiple or any(side % multiple for side in size)):
        raise ValueError(f"input_size is {size}; expected positive multiples of {multiple}")


def _grey_of(waiting: _Waiting) -> np.ndarray:
    assert waiting.grey is not None
    return waiting.grey


def _seconds(earlier_ns: int, later_ns: int) -> float:
    """From one stamp to the other; 0 where one of them is zero, which means that there is none."""
    return (later_ns - earlier_ns) / 1e9 if earlier_ns and later_ns else 0.0


@contextmanager
def _timed(stage_ms: dict[str, float], stage: str) -> Iterator[None]:
    began = time.perf_counter()
    yield
    stage_ms[stage] += (time.perf_counter() - began) * 1e3
