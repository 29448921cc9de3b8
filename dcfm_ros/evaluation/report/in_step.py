"""Several segmenters in step over one input, each held against the full network on the same frame.

In step, so that the full network runs once and nothing of a mask is kept: memory does not grow with the input but for
a record of each frame. It also keeps times comparable: whatever else the machine does meets all of them alike.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from dcfm_ros.evaluation.metrics import VideoConsistency
from dcfm_ros.evaluation.report.frames import FULL, Flicker, FrameRecord, Overlap, shares_of
from dcfm_ros.evaluation.report.inputs import Input, Sample
from dcfm_ros.evaluation.report.pictures import WorstFrame, WorstFrames
from dcfm_ros.streaming import Segmentation, StreamOptions, StreamSegmenter
from dcfm_ros.streaming.backends.base import Backend


@dataclass(frozen=True)
class Measured:
    """runs: every frame's record, by the run's name; `full` is the network in full on every frame.

    shown: the name of the run that the report is about. mvc8, mvc16: its consistency against the labels where there
    are any, else against the full network's masks; None where no stream is long enough. worst: its pictures.
    size: (height, width) of the first frame, or of the first recorded mask; None where none was recorded.
    """

    runs: Mapping[str, list[FrameRecord]]
    shown: str
    mvc8: float | None
    mvc16: float | None
    worst: list[WorstFrame]
    size: tuple[int, int] | None


def run_in_step(
    backend: Backend,
    source: Input,
    segmenters: Mapping[str, StreamSegmenter],
    shown: str,
    advance: Callable[[], object] = lambda: None,
) -> Measured:
    """Push every frame to the full network, then to each of `segmenters`, by the names of their runs.

    They must be of `backend` and new. shown: one of their names, or `full`. advance: called after each frame.
    Raises ValueError when the source has no frame, and whatever reading it raises.
    """
    labels = StreamSegmenter(backend).labels
    against_labels = bool(source.label_files)
    shown_run = _ShownRun(WorstFrames(labels), against_labels)
    full = _Run(StreamSegmenter(backend, StreamOptions(mode="full")), len(labels), shown_run if shown == FULL else None)
    others = {name: _Run(one, len(labels), shown_run if name == shown else None) for name, one in segmenters.items()}
    size: tuple[int, int] | None = None
    for number, sample in enumerate(source):
        if sample.begins_stream:
            for run in (full, *others.values()):
                run.begin_stream()
        if size is None:
            size = (sample.frame.height, sample.frame.width)
            for run in (full, *others.values()):
                run.segmenter.warm_up(*size)
        met = _FullFrame(number, sample, full.mask_of(sample))
        full.note(met)
        for run in others.values():
            run.push(met)
        advance()
    for run in others.values():
        run.end()
    if size is None:
        raise ValueError("the input has no frames; expected at least one")
    mvc8, mvc16 = (consistency.value() for consistency in shown_run.consistencies)
    runs = {FULL: full.records} | {name: run.records for name, run in others.items()}
    return Measured(runs, shown, mvc8, mvc16, shown_run.worst.pictures(), size)


@dataclass(frozen=True, eq=False)
class _FullFrame:
    """A frame, and the full network's result for it."""

    number: int
    sample: Sample
    full: Segmentation


class _Run:
    """One segmenter on its way, and the records so far."""

    def __init__(self, segmenter: StreamSegmenter, classes: int, shown_run: _ShownRun | None) -> None:
        self.segmenter = segmenter
        self.records: list[FrameRecord] = []
        self._classes, self._shown_run = classes, shown_run
        self._flicker = Flicker()
        self._waiting: deque[_FullFrame] = deque()
        self._stream = -1

    def begin_stream(self) -> None:
        self._take(self.segmenter.flush())
        self._flicker.begin_stream()
        if self._shown_run is not None:
            self._shown_run.begin_stream()
        self._stream += 1

    def mask_of(self, sample: Sample) -> Segmentation:
        (result,) = self.segmenter.push(sample.frame)
        return result

    def push(self, met: _FullFrame) -> None:
        self._waiting.append(met)
        self._take(self.segmenter.push(met.sample.frame))

    def end(self) -> None:
        self._take(self.segmenter.flush())
        self.segmenter.close()

    def note(self, met: _FullFrame, result: Segmentation | None = None) -> None:
        """Record a frame's result, the full network's own where no other is given."""
        result = result or met.full
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
            latency_ms=result.total_ms,
            shares=shares_of(result.mask, self._classes),
            flicker=self._flicker.update(result.mask),
            agreement=float(against_full.hits.sum() / result.mask.size),
            against_full=against_full,
            against_label=None if label is None else Overlap.of(result.mask, label, self._classes),
        )
        self.records.append(record)
        if self._shown_run is not None:
            self._shown_run.take(record, met.sample, result.mask, met.full.mask)

    def _take(self, results: list[Segmentation]) -> None:
        for result in results:
            self.note(self._waiting.popleft(), result)


class _ShownRun:
    """Measures of the run that is shown alone: consistency over time and the pictures."""

    def __init__(self, worst: WorstFrames, against_labels: bool) -> None:
        self.worst = worst
        self.consistencies = (VideoConsistency(8), VideoConsistency(16))
        self._against_labels = against_labels

    def begin_stream(self) -> None:
        for consistency in self.consistencies:
            consistency.begin_clip()

    def take(self, record: FrameRecord, sample: Sample, mask: np.ndarray, full: np.ndarray) -> None:
        self.worst.offer(record, sample.frame, mask, full, sample.label)
        reference = sample.label if self._against_labels else full
        for consistency in self.consistencies:
            if reference is None:
                consistency.begin_clip()
            else:
                consistency.update(mask, reference)
