"""Symmetric pairs: a labelled frame and a neighbour of it, cut and coloured alike for training.

Every pair is a function of (seed, index) alone, so that a run that was stopped goes on with the same pairs.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import torch
from torch.utils.data import Dataset

from dcfm_ros.imaging.labels import UNLABELLED, labels_for
from dcfm_ros.model import ModelConfig
from dcfm_ros.training.augmentation import Augmentation, crop_matrix, jittered
from dcfm_ros.training.motion import seen_again, thing_ids
from dcfm_ros.training.sources import Source

Pair = tuple[torch.Tensor, torch.Tensor, torch.Tensor]


class PairDataset(Dataset[Pair]):
    """`length` pairs drawn from sources by their shares: (labelled (3, h, w), neighbour (3, h, w), target (h, w)).

    Images are float32, normalised as the model's config says; the target is int64 with 255 ignored. Of a still's pair
    only the neighbour depends on `augmentation.motion`.
    """

    def __init__(
        self,
        sources: Sequence[Source],
        shares: Sequence[float],
        config: ModelConfig,
        augmentation: Augmentation,
        length: int,
        seed: int,
    ) -> None:
        self.sources = sources
        self.shares = np.asarray(shares, np.float64) / np.sum(shares)
        self.config = config
        self.augmentation = augmentation
        self.things = thing_ids(labels_for(config.num_classes, config.label_set, config.class_names).names)
        self.length = length
        self.seed = seed

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> Pair:
        if not 0 <= index < self.length:
            raise IndexError(f"pair {index} of {self.length}")
        rng = np.random.default_rng((self.seed, index))
        source = self.sources[rng.choice(len(self.sources), p=self.shares)]
        at = int(rng.integers(len(source)))
        image, label = source.labelled(at)
        other = source.neighbour(at, rng) if source.max_distance else image
        matrix = crop_matrix(label, self.augmentation, rng)
        if source.max_distance or not self.augmentation.motion:
            neighbour = self._cut(other, matrix)
        else:
            neighbour = self._moved(image, label, matrix, np.random.default_rng((self.seed, index, 1)))
        height, width = self.augmentation.crop
        target = cv2.warpAffine(
            label, matrix[:2], (width, height), flags=cv2.INTER_NEAREST, borderValue=(UNLABELLED,) * 4
        )
        return (
            self._finish(self._cut(image, matrix), rng),
            self._finish(neighbour, rng, self.augmentation.colour_neighbour),
            torch.from_numpy(target.astype(np.int64)),
        )

    def _cut(self, image: np.ndarray, matrix: np.ndarray) -> np.ndarray:
        height, width = self.augmentation.crop
        return cv2.warpAffine(
            image, matrix[:2], (width, height), flags=cv2.INTER_LINEAR, borderValue=self._mean_colour()
        )

    def _moved(self, image: np.ndarray, label: np.ndarray, matrix: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """The picture moves behind its border, as it does in a clip."""
        height, width = self.augmentation.crop
        moved = seen_again(image, label, matrix, self.augmentation.crop, self.augmentation.motion, self.things, rng)
        inside = cv2.warpAffine(np.ones_like(label), matrix[:2], (width, height), flags=cv2.INTER_NEAREST)
        if not inside.all():
            moved[inside == 0] = self._mean_colour()
        return moved

    def _mean_colour(self) -> list[int]:
        return [round(255 * m) for m in self.config.mean]

    def _finish(self, image: np.ndarray, rng: np.random.Generator, colour: bool = True) -> torch.Tensor:
        pixels = jittered(image.astype(np.float32) / 255, self.augmentation.colour if colour else 0.0, rng)
        pixels = (pixels - np.array(self.config.mean, np.float32)) / np.array(self.config.std, np.float32)
        return torch.from_numpy(pixels.transpose(2, 0, 1).copy())
