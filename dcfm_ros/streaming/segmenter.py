"""A stream of frames in, class masks out: the one loop that the node, the tools and the evaluation all run."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Literal, get_args

from dcfm_ros.imaging.frame import Frame
from dcfm_ros.imaging.geometry import network_size, resize_to_network
from dcfm_ros.imaging.labels import labels_for
from dcfm_ros.streaming.backends.base import Backend
from dcfm_ros.streaming.result import Segmentation
from dcfm_ros.streaming.schedules import Decision, FixedInterval, Schedule

Mode = Literal["causal", "bidirectional", "full"]
MODES: tuple[str, ...] = get_args(Mode)


@dataclass(frozen=True)
class _Keyframe:
    """A common feature and when it was taken; index counts within the stream."""

    common: Any
    index: int
    stamp_ns: int


@dataclass(frozen=True)
class _Waiting:
    """A frame whose shallow feature is known and whose mask is not."""

    frame: Frame
    number: int
    index: int
    shallow: Any
    decision: Decision
    confidence: bool
    stage_ms: dict[str, float] = field(default_factory=dict)


class StreamSegmenter:
    """Owns one stream. Feed frames in their order to `push`; call `flush` at the end.

    backend: where the network runs; it may serve several segmenters, one call at a time.
    mode: "causal" answers each frame at once from the last keyframe; "full" makes every frame a keyframe;
    "bidirectional" holds frames back until the next keyframe and sums the logits of both (offline use).
    input_size: (height, width) of the network's input; default: the frame's aspect at the weights' trained pixel count.
    max_stamp_gap_s: a stamp further ahead than this begins a new stream; so does one that goes back, and another size
    or encoding. Equal stamps do not, nor does a zero stamp, which says nothing.

    `labels` are the names and colours of the ids in the masks.
    The same frames give the same bytes on the same machine, versions and thread count. Raises ValueError for an unknown
    mode, an impossible input size or gap.
    """

    def __init__(
        self,
        backend: Backend,
        schedule: Schedule | None = None,
        mode: Mode = "causal",
        input_size: tuple[int, int] | None = None,
        max_stamp_gap_s: float = 2.0,
    ) -> None:
        if mode not in MODES:
            raise ValueError(f"mode is {mode!r}; expected one of {', '.join(MODES)}")
        if not max_stamp_gap_s > 0:
            raise ValueError(f"max_stamp_gap_s is {max_stamp_gap_s}; expected more than 0 seconds")
        multiple = backend.config.size_multiple
        if input_size is not None and (min(input_size) < multiple or any(side % multiple for side in input_size)):
            raise ValueError(f"input_size is {input_size}; expected positive multiples of {multiple}")
        config = backend.config
        self.labels = labels_for(config.num_classes, config.label_set, config.class_names, config.palette)
        self.backend = backend
        self.schedule = schedule or FixedInterval(5)
        self.mode = mode
        self.input_size = input_size
        self.max_stamp_gap_s = max_stamp_gap_s
        self._pushed = 0
        self._forced = False
        self.restart("first")

    def push(self, frame: Frame, confidence: bool = False) -> list[Segmentation]:
        """Take the next frame; return what can be said now, in the order of the frames.

        Causal and full: exactly this frame's result. Bidirectional: nothing, or all frames up to and with a new
        keyframe, and what the old stream held back when a new one begins. confidence: whether this frame's confidence
        is wanted. If the backend raises, nothing of the stream is kept (results held back are lost) and the next frame
        begins a new one.
        """
        try:
            return self._push(frame, confidence)
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

    def restart(self, reason: str) -> None:
        """Forget the stream: the next frame begins another, whose first keyframe has this reason.

        Results that bidirectional mode holds back are lost; call `flush` before to have them.
        """
        self._start_reason = reason
        self._index = 0
        self._last: Frame | None = None
        self._keyframe: _Keyframe | None = None
        self._waiting: list[_Waiting] = []

    def _push(self, frame: Frame, confidence: bool) -> list[Segmentation]:
        number = self._pushed
        self._pushed += 1
        results = []
        if reason := self._break_before(frame):
            results = self.flush()
            self.restart(reason)
        stage_ms = {"prepare": 0.0, "shallow": 0.0, "common": 0.0, "decide": 0.0}
        with _timed(stage_ms, "prepare"):
            image = resize_to_network(frame, self._network_size(frame))
        with _timed(stage_ms, "shallow"):
            shallow = self.backend.encode_shallow(image)
        waiting = _Waiting(frame, number, self._index, shallow, self._decide(), confidence, stage_ms)
        self._index += 1
        self._last = frame
        self._forced = False
        if not waiting.decision.is_keyframe and self.mode == "bidirectional":
            self._waiting.append(waiting)
            return results

        before = self._keyframes()
        if waiting.decision.is_keyframe:
            with _timed(stage_ms, "common"):
                common = self.backend.encode_common(shallow)
            self._keyframe = _Keyframe(common, waiting.index, frame.stamp_ns)
        results += [self._decided(held, [*before, *self._keyframes()]) for held in self._waiting]
        self._waiting = []
        return [*results, self._decided(waiting, self._keyframes())]

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
        if ahead_s > self.max_stamp_gap_s:
            return "stamp gap"
        return ""

    def _decide(self) -> Decision:
        if self.mode == "full":
            return Decision(True, "full" if self._index else self._start_reason)
        decision = self.schedule.decide(self._index, None if self._keyframe is None else self._keyframe.index)
        if self._keyframe is None and (self.mode == "causal" or decision.is_keyframe):
            return Decision(True, self._start_reason)
        return Decision(True, "forced") if self._forced else decision

    def _keyframes(self) -> list[_Keyframe]:
        return [self._keyframe] if self._keyframe else []

    def _decided(self, waiting: _Waiting, keyframes: list[_Keyframe]) -> Segmentation:
        if not keyframes:  # a bidirectional stream that ended before its first keyframe
            with _timed(waiting.stage_ms, "common"):
                common = self.backend.encode_common(waiting.shallow)
            keyframes = [_Keyframe(common, waiting.index, waiting.frame.stamp_ns)]
            waiting = replace(waiting, decision=Decision(True, "no keyframe came"))
        size = (waiting.frame.height, waiting.frame.width)
        commons = [keyframe.common for keyframe in keyframes]
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
            keyframe_age_frames=abs(waiting.index - nearest.index),
            keyframe_age_s=abs(_seconds(nearest.stamp_ns, waiting.frame.stamp_ns)),
            stage_ms=waiting.stage_ms,
        )

    def _network_size(self, frame: Frame) -> tuple[int, int]:
        config = self.backend.config
        return self.input_size or network_size(frame.height, frame.width, config.input_size, config.size_multiple)


def _seconds(earlier_ns: int, later_ns: int) -> float:
    """From one stamp to the other; 0 where one of them is zero, which means that there is none."""
    return (later_ns - earlier_ns) / 1e9 if earlier_ns and later_ns else 0.0


@contextmanager
def _timed(stage_ms: dict[str, float], stage: str) -> Iterator[None]:
    began = time.perf_counter()
    yield
    stage_ms[stage] += (time.perf_counter() - began) * 1e3
