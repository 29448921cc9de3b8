"""The stream that the node runs, over labelled clips: how good its masks are, by the distance from their keyframe."""

from __future__ import annotations

import statistics
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Literal

import numpy as np

from dcfm_ros.datasets.dataset import Clip, Dataset
from dcfm_ros.evaluation.metrics import SegmentationScore, VideoConsistency
from dcfm_ros.imaging.frame import Frame
from dcfm_ros.imaging.labels import difference, labels_for
from dcfm_ros.streaming import FixedInterval, StreamOptions, StreamSegmenter
from dcfm_ros.streaming.backends.base import Backend
from dcfm_ros.streaming.result import Segmentation

Disturbance = Callable[[np.ndarray], np.ndarray]
Reference = Literal["labels", "full"]

DENSE_SHARE = 0.9
"""From this share of labelled frames on, one ordinary run meets every distance about equally often."""

# Frames of a clip that are kept: the windows before one label overlap, and reading a large PNG takes long.
_KEPT_FRAMES = 32


@dataclass(frozen=True)
class Evaluation:
    """Scores between 0 and 1, over all masks that were held against a label, in one confusion matrix.

    miou: the mean over all classes, those that appear nowhere counting 0, as the authors have it. miou_present: the
    mean over the classes that appear in labels or predictions. per_class: IoU by name, 0 where a class appears nowhere.

    by_distance: miou of the masks at each distance, in frames, from the (nearest) keyframe. labelled_by_distance: on
    how many labelled frames that is measured. without_predecessor: labelled frames whose frame before is not there.

    mvc8, mvc16: consistency over 8 and 16 frames; None where labels are sparse or no run of them is long enough.
    frames, labelled: in the data set, whether or not a frame had to be run. keyframes: passes of the deep encoder.
    seconds: wall time of the segmenter alone. ms_per_frame: the mean over the frames that were run. keyframe_ms,
    other_ms: medians over the frames that brought a keyframe and over the others; None without any.
    """

    miou: float
    miou_present: float
    wiou: float
    per_class: dict[str, float]
    by_distance: dict[int, float]
    labelled_by_distance: dict[int, int]
    without_predecessor: int
    sparse: bool
    mvc8: float | None
    mvc16: float | None
    frames: int
    labelled: int
    keyframes: int
    seconds: float
    ms_per_frame: float
    keyframe_ms: float | None
    other_ms: float | None


def evaluate(
    backend: Backend,
    dataset: Dataset,
    options: StreamOptions = StreamOptions(),  # noqa: B008
    disturb: Disturbance | None = None,
    advance: Callable[[], object] = lambda: None,
    against: Reference = "labels",
) -> Evaluation:
    """Hold the masks of a stream with these options against the labels.

    Dense labels (see `is_sparse`) are met by ordinary runs, a stream for each clip; a missing frame ends a stream as
    well, and so does a frame of another size. A bidirectional stream's first keyframe is one frame later than in the
    stream before, in turn, as the authors have it; a causal stream begins with one.

    Sparse labels would meet few distances in such a run. Instead each labelled frame is met once for each distance
    from 0 to the keyframe interval - 1 by a stream of its own, whose keyframe lies exactly so many frames before it, as
    far as the frames before it are there without a gap. The scores are over all of these alike: an ordinary run meets
    each distance equally often. In bidirectional mode the next keyframe lies an interval after the first, and where the
    clip ends before, the first one is used alone, as at the end of every bidirectional stream: at an interval of 2 this
    is the authors' protocol for Cityscapes. In full mode nothing but labelled frames is run. Another schedule than the
    fixed interval makes ordinary runs of sparse labels too.

    disturb: what is done to each (H, W, 3) uint8 RGB picture before. advance: called `steps` times.
    against: "full" holds masks against those of the same network run in full on every frame, in ordinary runs, and
    needs no labels. options: asynchronous keyframes want a `swap_after` here, for frames come as fast as they are
    segmented.
    Raises ValueError when the data set's classes are not the network's (see `check_classes`) or no frame has a label,
    and DatasetError as reading the data set does.
    """
    check_classes(backend, dataset)
    labelled = dataset.labelled()
    frames = sum(len(clip) for clip in dataset.clips)
    if not labelled and against == "labels":
        raise ValueError(f"none of the {frames} frames of {dataset.root} has a label; expected at least one")
    run = _Run(backend, dataset, options, disturb, against)
    meets_each_distance = _meets_each_distance(dataset, options, against)
    for _ in run.sparse() if meets_each_distance else run.dense():
        advance()
    distances = sorted(run.by_distance)
    mvc8, mvc16 = (consistency.value() for consistency in run.consistencies)
    return Evaluation(
        miou=run.score.miou(),
        miou_present=run.score.miou_present(),
        wiou=run.score.wiou(),
        per_class=dict(zip(StreamSegmenter(backend).labels.names, run.score.per_class(), strict=True)),
        by_distance={distance: run.by_distance[distance].miou() for distance in distances},
        labelled_by_distance={distance: run.labelled_by_distance[distance] for distance in distances},
        without_predecessor=sum(clip.shifted(index, -1) is None for clip, index in labelled),
        sparse=meets_each_distance,
        mvc8=mvc8,
        mvc16=mvc16,
        frames=frames,
        labelled=len(labelled),
        keyframes=run.keyframes,
        seconds=run.seconds,
        ms_per_frame=1e3 * run.seconds / run.pushed,
        keyframe_ms=run.median_ms(True),
        other_ms=run.median_ms(False),
    )


def check_classes(backend: Backend, dataset: Dataset) -> None:
    """Raises ValueError when the data set has not as many classes as the network, or calls them something else.

    Names are compared in order, and not at all where the weights name none.
    """
    config, labels = backend.config, StreamSegmenter(backend).labels
    if len(dataset.labels) != len(labels):
        raise ValueError(
            f"the weights {config.name} tell {len(labels)} classes apart, but {dataset.root} has "
            f"{len(dataset.labels)}; expected as many"
        )
    named = labels.names != labels_for(len(labels), "").names
    if named and (differ := difference(labels, dataset.labels)):
        raise ValueError(
            f"the weights {config.name} and {dataset.root} have different classes: {differ}; expected the same names, "
            "in the same order"
        )


def is_sparse(dataset: Dataset) -> bool:
    """Whether fewer than nine in ten of the data set's frames have a label."""
    return len(dataset.labelled()) < DENSE_SHARE * sum(len(clip) for clip in dataset.clips)


def steps(dataset: Dataset, options: StreamOptions, against: Reference = "labels") -> int:
    """How often `evaluate` calls `advance`: for each frame of ordinary runs, else for each labelled frame."""
    if _meets_each_distance(dataset, options, against):
        return len(dataset.labelled())
    return sum(len(clip) for clip in dataset.clips)


def _meets_each_distance(dataset: Dataset, options: StreamOptions, against: Reference) -> bool:
    return is_sparse(dataset) and options.fixed_interval is not None and against == "labels"


class _Run:
    """One evaluation on its way: the scores so far, and the segmenter's passes and time."""

    def __init__(
        self,
        backend: Backend,
        dataset: Dataset,
        options: StreamOptions,
        disturb: Disturbance | None,
        against: Reference,
    ) -> None:
        self._backend, self._dataset, self._options, self._disturb = backend, dataset, options, disturb
        in_full = replace(options, mode="full", keyframe_mode="sync")
        self._in_full = StreamSegmenter(backend, in_full) if against == "full" else None
        self.score = SegmentationScore(len(dataset.labels))
        self.by_distance: dict[int, SegmentationScore] = {}
        self.labelled_by_distance: Counter[int] = Counter()
        self.consistencies = (VideoConsistency(8), VideoConsistency(16))
        self.keyframes = 0
        self.seconds = 0.0
        self.pushed = 0
        self._push_ms: dict[bool, list[float]] = {True: [], False: []}

    def dense(self) -> Iterator[None]:
        """Every frame in its order; yields after each."""
        streams = 0
        for clip in self._dataset.clips:
            for first, after in without_gap(clip):
                segmenter = self._segmenter(streams)
                streams += 1
                for consistency in self.consistencies:
                    consistency.begin_clip()
                waiting: deque[np.ndarray | None] = deque()
                for index in range(first, after):
                    frame, label = self._read(clip, index)
                    waiting.append(label if self._in_full is None else self._in_full.push(frame)[0].mask)
                    self._take(self._timed(segmenter.push, frame), waiting)
                    yield
                self._take(self._timed(segmenter.flush), waiting)
                segmenter.close()

    def sparse(self) -> Iterator[None]:
        """Every labelled frame, with a keyframe at each distance before it; yields after each."""
        for clip in self._dataset.clips:
            read = lru_cache(_KEPT_FRAMES)(lambda index, clip=clip: self._read(clip, index))
            for index in sorted(clip.labels):
                _, label = read(index)
                assert label is not None
                for distance in range(self._options.fixed_interval or 1):
                    if clip.shifted(index, -distance) is None:
                        break
                    frames = (read(at)[0] for at in _onwards(clip, index, -distance))
                    self._count(self._mask_of(distance, frames), label)
                yield

    def _mask_of(self, number: int, frames: Iterator[Frame]) -> Segmentation:
        """The result for one frame of a stream that begins with a keyframe; no more frames are run than that takes."""
        segmenter = self._segmenter()
        for frame in frames:
            for result in self._timed(segmenter.push, frame):
                if result.index == number:
                    return result
        return next(result for result in self._timed(segmenter.flush) if result.index == number)

    def _segmenter(self, streams_before: int = 0) -> StreamSegmenter:
        interval = self._options.fixed_interval
        schedule = None if interval is None else FixedInterval(interval, streams_before % interval)
        return StreamSegmenter(self._backend, self._options, schedule)

    def _read(self, clip: Clip, index: int) -> tuple[Frame, np.ndarray | None]:
        pixels, label = self._dataset.read(clip, index)
        return Frame(self._disturb(pixels) if self._disturb else pixels), label

    def _timed(self, step: Callable[..., list[Segmentation]], *frame: Frame) -> list[Segmentation]:
        began = time.perf_counter()
        results = step(*frame)
        took = time.perf_counter() - began
        self.seconds += took
        self.pushed += len(frame)
        self.keyframes += sum(result.is_keyframe for result in results)
        if frame:
            self._push_ms[any(result.is_keyframe for result in results)].append(took * 1e3)
        return results

    def median_ms(self, of_keyframes: bool) -> float | None:
        """Return the median time of the pushes that brought a keyframe, or of the others; None without any."""
        return statistics.median(self._push_ms[of_keyframes]) if self._push_ms[of_keyframes] else None

    def _take(self, results: list[Segmentation], waiting: deque[np.ndarray | None]) -> None:
        """Hold an ordinary run's masks against the labels of the same frames, which wait in their order."""
        for result in results:
            label = waiting.popleft()
            if label is not None:
                self._count(result, label)
            for consistency in self.consistencies:
                if label is None:
                    consistency.begin_clip()
                else:
                    consistency.update(result.mask, label)

    def _count(self, result: Segmentation, label: np.ndarray) -> None:
        distance = result.keyframe_age_frames
        at_distance = self.by_distance.setdefault(distance, SegmentationScore(len(self._dataset.labels)))
        for score in (self.score, at_distance):
            score.update(result.mask, label)
        self.labelled_by_distance[distance] += 1


def without_gap(clip: Clip) -> Iterator[tuple[int, int]]:
    """The runs of frames that follow each other in time, as the index of the first and of the one after the last."""
    first = 0
    for index in range(1, len(clip) + 1):
        if index == len(clip) or clip.shifted(index, -1) != index - 1:
            yield first, index
            first = index


def _onwards(clip: Clip, index: int, offset: int) -> Iterator[int]:
    """The indices of the frames from `offset` frames after `index` on, up to the first gap."""
    while (at := clip.shifted(index, offset)) is not None:
        yield at
        offset += 1
