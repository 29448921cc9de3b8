"""Several segmenters in step over one input, each held against the full network on the same frame.

In step, so that the full network runs once and nothing of a mask is kept: memory does not grow with the input but for
a record of each frame. It also keeps times comparable: whatever else the machine does meets all of them alike.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from dcfm_ros.evaluation.metrics import VideoConsistency
from dcfm_ros.evaluation.report.frames import FULL, RECORDED, Flicker, FrameRecord, Overlap, shares_of
from dcfm_ros.evaluation.report.inputs import Input, Sample
from dcfm_ros.evaluation.report.numbers import mean
from dcfm_ros.evaluation.report.pictures import WorstFrame, WorstFrames
from dcfm_ros.imaging.frame import Frame
from dcfm_ros.streaming import Segmentation, StreamOptions, StreamSegmenter
from dcfm_ros.streaming.backends.base import Backend


@dataclass(frozen=True, eq=False)
class LiveResult:
    """What a robot published for a frame. The mask has the frame's size; latency_ms: from receipt to publication."""

    result: Segmentation
    latency_ms: float


class LiveRun(Protocol):
    """What a robot published for a recording's frames."""

    def result_of(self, frame: Frame) -> LiveResult | None:
        """Ask for frames in their order. None: it published no mask for this one."""


@dataclass(frozen=True)
class Measured:
    """runs: every frame's record, by the run's name; `full` is the network in full on every frame.

    shown: the name of the run that the report is about. mvc8, mvc16: its consistency against the labels where there
    are any, else against the full network's masks; None where no stream is long enough. worst: its pictures.
    size: (height, width) of the first frame, or of the first recorded mask; None where none was recorded.
    as_live: the part of the pixels to which it gives the class that the robot's mask has; None without such masks.
    """

    runs: Mapping[str, list[FrameRecord]]
    shown: str
    mvc8: float | None
    mvc16: float | None
    worst: list[WorstFrame]
    size: tuple[int, int] | None
    as_live: float | None = None


def run_in_step(
    backend: Backend,
    source: Input,
    segmenters: Mapping[str, StreamSegmenter],
    shown: str,
    live: LiveRun | None = None,
    advance: Callable[[], object] = lambda: None,
) -> Measured:
    """Push every frame to the full network, then to each of `segmenters`, by the names of their runs.

    They must be of `backend` and new. shown: one of their names, or `full`. live: what the robot published of the same
    frames; it becomes a run of the frames that have a mask. advance: called after each frame.
    Raises ValueError when the source has no frame, and whatever reading it raises.
    """
    labels = StreamSegmenter(backend).labels
    against_labels = bool(source.label_files)
    shown_run = _ShownRun(WorstFrames(labels), against_labels)
    full = _Run(StreamSegmenter(backend, StreamOptions(mode="full")), len(labels), shown_run if shown == FULL else None)
    others = {name: _Run(one, len(labels), shown_run if name == shown else None) for name, one in segmenters.items()}
    robots = _Noted(len(labels))
    size: tuple[int, int] | None = None
    for number, sample in enumerate(source):
        if sample.begins_stream:
            for run in (full, robots, *others.values()):
                run.begin_stream()
        if size is None:
            size = (sample.frame.height, sample.frame.width)
            for run in (full, *others.values()):
                run.segmenter.warm_up(*size)
        met = _ComparedFrame(number, sample, full.result_of(sample), live.result_of(sample.frame) if live else None)
        full.note(met, met.full, met.full.total_ms)
        if met.live is not None:
            robots.note(met, met.live.result, met.live.latency_ms)
        for run in others.values():
            run.push(met)
        advance()
    for run in others.values():
        run.end()
    if size is None:
        raise ValueError("the input has no frames; expected at least one")
    mvc8, mvc16 = (consistency.value() for consistency in shown_run.consistencies)
    runs = {FULL: full.records} | {name: run.records for name, run in others.items()}
    if robots.records:
        runs[RECORDED] = robots.records
    return Measured(runs, shown, mvc8, mvc16, shown_run.worst.pictures(), size, mean(shown_run.as_live))


@dataclass(frozen=True, eq=False)
class _ComparedFrame:
    """A frame, the full network's result for it, and the robot's, where there is one."""

    number: int
    sample: Sample
    full: Segmentation
    live: LiveResult | None


class _Noted:
    """The records of a run so far."""

    def __init__(self, classes: int, shown_run: _ShownRun | None = None) -> None:
        self.records: list[FrameRecord] = []
        self._classes, self._shown_run = classes, shown_run
        self._flicker = Flicker()
        self._stream = -1

    def begin_stream(self) -> None:
        self._flicker.begin_stream()
        if self._shown_run is not None:
            self._shown_run.begin_stream()
        self._stream += 1

    def note(self, met: _ComparedFrame, result: Segmentation, latency_ms: float) -> None:
        """Record a frame's result."""
        against_full = Overlap.of(result.mask, met.full.mask, self._classes)
        label = met.sample.label
        record = FrameRecord(
            number=met.number,
            stream=self._stream,
            stamp_ns=met.sample.frame.stamp_ns,
            is_keyframe=result.is_keyframe,
            reason=result.reason,
            distance=result.keyframe_age_frames,
            stage_ms=result.stage_ms,
            latency_ms=latency_ms,
            shares=shares_of(result.mask, self._classes),
            flicker=self._flicker.update(result.mask),
            agreement=float(against_full.hits.sum() / result.mask.size),
            against_full=against_full,
            against_label=None if label is None else Overlap.of(result.mask, label, self._classes),
        )
        self.records.append(record)
        if self._shown_run is not None:
            self._shown_run.take(record, met, result.mask)


class _Run(_Noted):
    """One segmenter on its way."""

    def __init__(self, segmenter: StreamSegmenter, classes: int, shown_run: _ShownRun | None) -> None:
        super().__init__(classes, shown_run)
        self.segmenter = segmenter
        self._waiting: deque[_ComparedFrame] = deque()

    def begin_stream(self) -> None:
        self._take(self.segmenter.flush())
        super().begin_stream()

    def result_of(self, sample: Sample) -> Segmentation:
        (result,) = self.segmenter.push(sample.frame)
        return result

    def push(self, met: _ComparedFrame) -> None:
        self._waiting.append(met)
        self._take(self.segmenter.push(met.sample.frame))

    def end(self) -> None:
        self._take(self.segmenter.flush())
        self.segmenter.close()

    def _take(self, results: list[Segmentation]) -> None:
        for result in results:
            self.note(self._waiting.popleft(), result, result.total_ms)


class _ShownRun:
    """Measures of the run that is shown alone: consistency over time, likeness to the robot's masks, and pictures."""

    def __init__(self, worst: WorstFrames, against_labels: bool) -> None:
        self.worst = worst
        self.consistencies = (VideoConsistency(8), VideoConsistency(16))
        self.as_live: list[float] = []
        self._against_labels = against_labels

    def begin_stream(self) -> None:
        for consistency in self.consistencies:
            consistency.begin_clip()

    def take(self, record: FrameRecord, met: _ComparedFrame, mask: np.ndarray) -> None:
        full = met.full.mask
        self.worst.offer(record, met.sample, mask, full)
        if met.live is not None:
            self.as_live.append(float(np.mean(mask == met.live.result.mask)))
        reference = met.sample.label if self._against_labels else full
        for consistency in self.consistencies:
            if reference is None:
                consistency.begin_clip()
            else:
                consistency.update(mask, reference)
