"""Symmetric pairs: a labelled frame and a neighbour of it, cut and coloured alike for training.

Every pair is a function of (seed, index) alone, so that a resumed run continues with the same pairs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import cv2
import numpy as np
import torch
from torch.utils.data import Dataset

from dcfm_ros.imaging.labels import UNLABELLED, labels_for
from dcfm_ros.imaging.motion import Align, Motion, MotionSince, small_grey
from dcfm_ros.model import ModelConfig
from dcfm_ros.training.augmentation import Augmentation, coloured, crop_matrix, with_a_fault
from dcfm_ros.training.motion import seen_again, thing_ids
from dcfm_ros.training.sources import Source


class Pair(NamedTuple):
    """A pair, or a batch (B, ...) of them.

    labelled, neighbour: (3, h, w) float32, normalised as the model's config says. target, neighbour_target: (h, w)
    int64 ids of both, 255 ignored; all 255 where the neighbour has no label. grids: (2, h', w', 2) float32 on the
    common feature's grid, where the places of the labelled frame lie in the neighbour and those of the neighbour in the
    labelled frame, as `Motion.grid` has them; None where features are not aligned.
    """

    labelled: torch.Tensor
    neighbour: torch.Tensor
    target: torch.Tensor
    neighbour_target: torch.Tensor
    grids: torch.Tensor | None = None


def batch_of(pairs: Sequence[Pair]) -> Pair:
    """The pairs as one, (B, ...)."""
    present = [name for name, value in pairs[0]._asdict().items() if value is not None]
    return Pair(**{name: torch.stack([getattr(pair, name) for pair in pairs]) for name in present})


class PairDataset(Dataset[Pair]):
    """`length` pairs drawn from sources by their shares.

    A still's neighbour, and that of a frame that has none in its clip, is the same picture moved; of such a pair only
    the neighbour depends on `augmentation.motion`.

    align: how the motion between both frames is found for a pair's grids, see `imaging.motion`; "none" leaves them out.
    """

    def __init__(
        self,
        sources: Sequence[Source],
        shares: Sequence[float],
        config: ModelConfig,
        augmentation: Augmentation,
        length: int,
        seed: int,
        align: Align = "none",
    ) -> None:
        self.sources = sources
        self.shares = np.asarray(shares, np.float64) / np.sum(shares)
        self.config = config
        self.augmentation = augmentation
        self.things = thing_ids(labels_for(config.num_classes, config.label_set, config.class_names).names)
        self.length = length
        self.seed = seed
        self.align = align

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> Pair:
        if not 0 <= index < self.length:
            raise IndexError(f"pair {index} of {self.length}")
        rng = np.random.default_rng((self.seed, index))
        source = self.sources[rng.choice(len(self.sources), p=self.shares)]
        at = int(rng.integers(len(source)))
        image, label, other = source.pair(at, rng)
        between = other.between if other and self.align != "none" else []
        matrix = crop_matrix(label, self.augmentation, rng)
        if other is None and self.augmentation.motion:
            still_rng = np.random.default_rng((self.seed, index, 1))
            neighbour, neighbour_target = self._moved(image, label, matrix, still_rng)
        else:
            seen, seen_label = other.shot if other else (image, label)
            neighbour, neighbour_target = self._cut(seen, matrix), self._cut_label(seen_label, matrix)
        labelled = self._cut(image, matrix)
        if self.augmentation.faults:
            fault_rng = np.random.default_rng((self.seed, index, 2))
            labelled, neighbour = (self._with_faults(frame, fault_rng) for frame in (labelled, neighbour))
        return Pair(
            self._finish(labelled, rng),
            self._finish(neighbour, rng, self.augmentation.colour_neighbour),
            torch.from_numpy(self._cut_label(label, matrix).astype(np.int64)),
            torch.from_numpy(neighbour_target.astype(np.int64)),
            self._grids(labelled, [self._cut(frame, matrix) for frame in between], neighbour),
        )

    def __iter__(self) -> Iterator[Pair]:
        return map(self.__getitem__, range(self.length))

    def _cut(self, image: np.ndarray, matrix: np.ndarray) -> np.ndarray:
        height, width = self.augmentation.crop
        return cv2.warpAffine(
            image, matrix[:2], (width, height), flags=cv2.INTER_LINEAR, borderValue=self._mean_colour()
        )

    def _cut_label(self, label: np.ndarray | None, matrix: np.ndarray) -> np.ndarray:
        height, width = self.augmentation.crop
        if label is None:
            return np.full((height, width), UNLABELLED, np.uint8)
        return cv2.warpAffine(
            label, matrix[:2], (width, height), flags=cv2.INTER_NEAREST, borderValue=(UNLABELLED,) * 4
        )

    def _moved(
        self, image: np.ndarray, label: np.ndarray, matrix: np.ndarray, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        """The picture moves behind its border, as it does in a clip."""
        height, width = self.augmentation.crop
        crop, motion = self.augmentation.crop, self.augmentation.motion
        moved, moved_label = seen_again(image, label, matrix, crop, motion, self.things, rng)
        inside = cv2.warpAffine(np.ones_like(label), matrix[:2], (width, height), flags=cv2.INTER_NEAREST)
        if not inside.all():
            moved[inside == 0] = self._mean_colour()
            moved_label[inside == 0] = UNLABELLED
        return moved, moved_label

    def _with_faults(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        return with_a_fault(image, rng) if rng.random() < self.augmentation.faults else image

    def _grids(self, labelled: np.ndarray, between: Sequence[np.ndarray], neighbour: np.ndarray) -> torch.Tensor | None:
        """Find the motion from frame to frame, as a stream does, and return a pair's grids.

        It is found between the pictures with their faults, for a stream finds motion in what its camera gives; but
        before colours are jittered, which stands for other cameras and light, and sets frames apart as none in a clip
        are.
        """
        if self.align == "none":
            return None
        height, width = self.augmentation.crop
        stride = self.config.common_stride
        size = -(-height // stride), -(-width // stride)
        greys = [small_grey(picture) for picture in (labelled, *between, neighbour)]
        motions = _motion_along(greys[::-1]), _motion_along(greys)
        return torch.from_numpy(np.stack([motion.grid(size) for motion in motions]))

    def _mean_colour(self) -> list[int]:
        return [round(255 * m) for m in self.config.mean]

    def _finish(self, image: np.ndarray, rng: np.random.Generator, colour: bool = True) -> torch.Tensor:
        strength = self.augmentation.colour if colour else 0.0
        return torch.from_numpy(coloured(image, strength, self.config.mean, self.config.std, rng))


def _motion_along(greys: Sequence[np.ndarray]) -> Motion:
    """From the last picture to the first, which plays the keyframe."""
    since = MotionSince(greys[0])
    return [since.follow(grey) for grey in greys[1:]][-1]
