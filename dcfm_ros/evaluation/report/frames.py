"""The notes on each frame of a run: small numbers, whatever the picture's size."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

FULL = "full"
"""The name of the run of the network in full on every frame."""

RECORDED = "recorded"
"""The name of the run that a robot recorded."""

FLICKER_WINDOW = 4
"""Frames within which a class that returns counts as flicker: at 15 to 30 Hz no thing comes and goes so fast."""


@dataclass(frozen=True, eq=False, slots=True)
class Overlap:
    """Pixels of each class that two masks agree on (hits), and that either has (union): (classes,) int64."""

    hits: np.ndarray
    union: np.ndarray

    @classmethod
    def of(cls, mask: np.ndarray, reference: np.ndarray, classes: int) -> Overlap:
        """Compare a mask with a reference, (H, W) uint8, where the reference has a class: its 255 are left out.

        A mask's 255, which a node publishes where it is not sure, agrees with nothing.
        """
        pairs = mask.ravel().astype(np.intp) * 256 + reference.ravel()
        counts = np.bincount(pairs, minlength=256 * 256).reshape(256, 256)[:, :classes]
        hits = counts.diagonal().copy()
        return cls(hits, counts.sum(0) + counts[:classes].sum(1) - hits)

    @classmethod
    def sum(cls, overlaps: Iterable[Overlap | None]) -> Overlap | None:
        """Over those that are there; None without any."""
        there = [overlap for overlap in overlaps if overlap is not None]
        if not there:
            return None
        return cls(np.sum([one.hits for one in there], 0), np.sum([one.union for one in there], 0))

    def ious(self) -> np.ndarray:
        """IoU of each class; 0 where it appears nowhere."""
        return self.hits / np.maximum(self.union, 1)

    def miou(self) -> float:
        """Mean over all classes, absent ones counting 0, as in `SegmentationScore.miou`."""
        return float(self.ious().mean())


@dataclass(frozen=True, eq=False, slots=True)
class FrameRecord:
    """One frame of one run.

    number: its place in the input, from 0. stream: how many streams began before its own.
    distance: frames from the (nearer) keyframe that the mask was made from. stage_ms: by stage.
    latency_ms: the sum of these, or what the robot recorded, from receipt to publication.
    shares: each class's part of the picture. flicker: see `Flicker`; None where a stream is too young to tell.
    agreement: the part of the pixels that the full network calls the same. against_full, against_label: by class.
    None: not measured.
    """

    number: int
    stream: int
    stamp_ns: int
    is_keyframe: bool
    reason: str
    distance: int
    stage_ms: Mapping[str, float]
    latency_ms: float
    shares: np.ndarray
    flicker: float | None
    agreement: float | None = None
    against_full: Overlap | None = None
    against_label: Overlap | None = None


class Flicker:
    """The part of the pixels whose class changed, in this frame, back to one of the FLICKER_WINDOW frames before."""

    def __init__(self) -> None:
        self._before: deque[np.ndarray] = deque(maxlen=FLICKER_WINDOW)

    def update(self, mask: np.ndarray) -> float | None:
        """The next (H, W) mask of a stream; None until there are two before it. Another size begins anew."""
        if self._before and self._before[-1].shape != mask.shape:
            self.begin_stream()
        share = self._returned(mask) if len(self._before) > 1 else None
        self._before.append(mask)
        return share

    def begin_stream(self) -> None:
        """The next mask does not go on from the last one."""
        self._before.clear()

    def _returned(self, mask: np.ndarray) -> float:
        *earlier, last = self._before
        known = np.zeros(mask.shape, bool)
        for older in earlier:
            known |= mask == older
        return float(np.count_nonzero(known & (mask != last)) / mask.size)


def shares_of(mask: np.ndarray, classes: int) -> np.ndarray:
    """Each class's part of the mask's pixels: (classes,) float64; 255 belongs to none."""
    return np.bincount(mask.ravel(), minlength=classes)[:classes] / mask.size
