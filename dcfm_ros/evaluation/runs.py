"""A segmenter over labelled frames: how good its masks are, and how that depends on the distance from the keyframe."""

from __future__ import annotations

import time
from collections import defaultdict, deque
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import chain

import numpy as np

from dcfm_ros.evaluation.metrics import SegmentationScore, VideoConsistency
from dcfm_ros.imaging.frame import Frame
from dcfm_ros.imaging.labels import UNLABELLED
from dcfm_ros.streaming import StreamSegmenter


@dataclass(frozen=True)
class Evaluation:
    """Scores between 0 and 1. by_distance: mIoU of the frames at each distance from their keyframe.

    mvc8, mvc16: consistency over 8 and 16 frames; None where no run of labelled frames is long enough.
    seconds: wall time of the segmenter alone.
    """

    miou: float
    wiou: float
    per_class: dict[str, float]
    by_distance: dict[int, float]
    mvc8: float | None
    mvc16: float | None
    frames: int
    labelled: int
    keyframes: int
    seconds: float


def evaluate(segmenter: StreamSegmenter, clip: Iterable[tuple[Frame, np.ndarray | None]]) -> Evaluation:
    """Run `segmenter` over the frames of one clip, in order, and hold its masks against the labels that there are.

    clip: frames, each with (H, W) uint8 labels of the frame's own size, or None where it has none.
    Raises ValueError when a label is of another size, holds an id that is no class, or no frame has one.
    """
    classes = len(segmenter.labels)
    score = SegmentationScore(classes)
    by_distance: defaultdict[int, SegmentationScore] = defaultdict(lambda: SegmentationScore(classes))
    consistencies = [VideoConsistency(8), VideoConsistency(16)]
    waiting: deque[np.ndarray | None] = deque()
    frames = keyframes = labelled = 0
    seconds = 0.0
    for frame, label in chain(clip, [(None, None)]):
        began = time.perf_counter()
        results = segmenter.flush() if frame is None else segmenter.push(frame)
        seconds += time.perf_counter() - began
        waiting.append(label)
        for result in results:
            expected = waiting.popleft()
            frames += 1
            keyframes += result.is_keyframe
            if expected is None:
                for consistency in consistencies:
                    consistency.begin_clip()
                continue
            _check(expected, result.mask, classes, frames - 1)
            labelled += 1
            score.update(result.mask, expected)
            by_distance[result.keyframe_age_frames].update(result.mask, expected)
            for consistency in consistencies:
                consistency.update(result.mask, expected)
    if not labelled:
        raise ValueError(f"none of {frames} frames has a label; expected at least one")
    mvc8, mvc16 = (consistency.value() for consistency in consistencies)
    return Evaluation(
        miou=score.miou(),
        wiou=score.wiou(),
        per_class=dict(zip(segmenter.labels.names, score.per_class(), strict=True)),
        by_distance={distance: by_distance[distance].miou() for distance in sorted(by_distance)},
        mvc8=mvc8,
        mvc16=mvc16,
        frames=frames,
        labelled=labelled,
        keyframes=keyframes,
        seconds=seconds,
    )


def _check(label: np.ndarray, mask: np.ndarray, classes: int, index: int) -> None:
    if label.shape != mask.shape:
        raise ValueError(f"the label of frame {index} is {label.shape}; expected the frame's size {mask.shape}")
    stray = label[(label >= classes) & (label != UNLABELLED)]
    if stray.size:
        raise ValueError(f"the label of frame {index} holds {stray[0]}; expected 0 to {classes - 1}, or {UNLABELLED}")
