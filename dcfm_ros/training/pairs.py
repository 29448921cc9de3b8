"""Symmetric pairs: a labelled frame and a neighbour of it, cut and coloured alike for training.

Every pair is a function of (seed, index) alone, so that a run that was stopped goes on with the same pairs.
"""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatch
from typing import Literal, get_args

import cv2
import numpy as np
import torch
from torch.utils.data import Dataset

from dcfm_ros.datasets.folder import LabelledFolder
from dcfm_ros.imaging.frame import Frame
from dcfm_ros.imaging.geometry import mask_to_size, network_size, resize_to_network
from dcfm_ros.imaging.labels import UNLABELLED, labels_for
from dcfm_ros.model import ModelConfig
from dcfm_ros.training.augmentation import Augmentation, crop_matrix, jittered
from dcfm_ros.training.motion import seen_again, thing_ids

Pair = tuple[torch.Tensor, torch.Tensor, torch.Tensor]
Direction = Literal["both", "past"]


class Source:
    """The frames of one folder at the network's size, decoded once and kept in memory.

    max_distance: how many frames away a neighbour may be, each distance from 1 up as often; 0 where frames are not
    consecutive, and the neighbour is the same picture seen by a camera that moved. hold_out: stems (a glob pattern)
    that are never trained on, nor are they neighbours. direction: where neighbours lie; "both", before or after with
    even chances, is the published recipe; "past" is what a robot does, whose keyframes are older than the frame.

    Raises ValueError when nothing is left, or for a negative distance or an unknown direction.
    """

    def __init__(
        self,
        folder: LabelledFolder,
        config: ModelConfig,
        max_distance: int,
        hold_out: str = "",
        direction: Direction = "both",
    ) -> None:
        if max_distance < 0:
            raise ValueError(f"{folder.root}: max_distance is {max_distance}; expected at least 0")
        if direction not in get_args(Direction):
            raise ValueError(
                f"{folder.root}: direction is {direction!r}; expected one of {', '.join(get_args(Direction))}"
            )
        kept = [i for i in range(len(folder)) if not (hold_out and fnmatch(folder.stem(i), hold_out))]
        if not kept:
            raise ValueError(f"{folder.root}: hold_out={hold_out!r} leaves no frame to train on")
        self.max_distance = max_distance
        self.direction = direction
        # Where the kept frames lie in the folder: across a gap that hold_out leaves, frames are not close.
        self._positions = kept
        self._at = {position: index for index, position in enumerate(kept)}
        self.images, self.labels = [], []
        for index in kept:
            image = folder.image(index)
            size = network_size(image.shape[0], image.shape[1], config.input_size, config.size_multiple)
            self.images.append(resize_to_network(Frame(image), size))
            self.labels.append(mask_to_size(folder.label(index), size))

    def neighbour(self, index: int, rng: np.random.Generator) -> np.ndarray:
        """A frame 1 to `max_distance` frames away from `index` in the folder, each distance and side as often.

        Where that frame is missing (the end of a clip, or held out): "both" takes the one as far on the other side,
        else the closest; "past" the closest before, else the closest after. The frame itself where there is none.
        """
        here, reach = self._positions[index], self.max_distance
        distance = int(rng.integers(1, reach + 1))
        side = 1 if rng.random() < 0.5 else -1  # drawn for "past" too, so that the rest of a pair stays the same
        before, after = range(-1, -reach - 1, -1), range(1, reach + 1)
        if self.direction == "past":
            wanted = [-distance, *before, *after, 0]
        else:
            wanted = [side * distance, -side * distance, *sorted([*before, *after], key=abs), 0]
        return self.images[next(self._at[here + offset] for offset in wanted if here + offset in self._at)]


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
        at = int(rng.integers(len(source.images)))
        image, label = source.images[at], source.labels[at]
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
            self._finish(neighbour, rng),
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

    def _finish(self, image: np.ndarray, rng: np.random.Generator) -> torch.Tensor:
        pixels = jittered(image.astype(np.float32) / 255, self.augmentation.colour, rng)
        pixels = (pixels - np.array(self.config.mean, np.float32)) / np.array(self.config.std, np.float32)
        return torch.from_numpy(pixels.transpose(2, 0, 1).copy())


def class_frequencies(sources: Sequence[Source], shares: Sequence[float], classes: int) -> np.ndarray:
    """(classes,) float64: how much of the labelled area each class has when sources are drawn by their shares.

    Raises ValueError when no source has a labelled pixel.
    """
    total = np.zeros(classes)
    for source, share in zip(sources, shares, strict=True):
        counts = sum(np.bincount(label.ravel(), minlength=256)[:classes] for label in source.labels)
        total += share * counts / max(np.sum(counts), 1)
    if not total.any():
        raise ValueError("no frame of any source has a labelled pixel; expected class ids in the labels")
    return total / total.sum()
