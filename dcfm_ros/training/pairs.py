"""Symmetric pairs: a labelled frame and a neighbour of it, cut and coloured alike for training.

Every pair is a function of (seed, index) alone, so that a run that was stopped goes on with the same pairs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatch

import cv2
import numpy as np
import torch
from torch.utils.data import Dataset

from dcfm_ros.datasets.folder import LabelledFolder
from dcfm_ros.imaging.frame import Frame
from dcfm_ros.imaging.geometry import mask_to_size, network_size, resize_to_network
from dcfm_ros.imaging.labels import UNLABELLED
from dcfm_ros.model import ModelConfig

Pair = tuple[torch.Tensor, torch.Tensor, torch.Tensor]


@dataclass(frozen=True)
class Augmentation:
    """crop: (h, w) pixels of a training picture. scale: range of sizes. rotation: degrees. colour: strength of the
    jitter.

    focus: how often a crop is centred on a class drawn evenly from those in the picture (thin things are rare).
    """

    crop: tuple[int, int]
    scale: tuple[float, float] = (0.6, 1.8)
    rotation: float = 10.0
    colour: float = 0.3
    focus: float = 0.5


class Source:
    """The frames of one folder at the network's size, decoded once and kept in memory.

    max_distance: how many frames away a neighbour may be; 0 where frames are not consecutive, and the neighbour is the
    same picture seen by a camera that moved. hold_out: stems (a glob pattern) that are never trained on, nor are they
    neighbours. Raises ValueError when nothing is left.
    """

    def __init__(self, folder: LabelledFolder, config: ModelConfig, max_distance: int, hold_out: str = "") -> None:
        kept = [i for i in range(len(folder)) if not (hold_out and fnmatch(folder.stem(i), hold_out))]
        if not kept:
            raise ValueError(f"{folder.root}: hold_out={hold_out!r} leaves no frame to train on")
        self.max_distance = max_distance
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
        """A frame up to `max_distance` before or after `index` in the folder; itself where there is none."""
        distance = int(rng.integers(1, self.max_distance + 1)) * (1 if rng.random() < 0.5 else -1)
        here = self._positions[index]
        closest_first = sorted(range(-self.max_distance, self.max_distance + 1), key=abs)
        wanted = [here + distance, here - distance, *(here + offset for offset in closest_first[1:]), here]
        return self.images[next(self._at[position] for position in wanted if position in self._at)]


class PairDataset(Dataset[Pair]):
    """`length` pairs drawn from sources by their shares: (labelled (3, h, w), neighbour (3, h, w), target (h, w)).

    Images are float32, normalised as the model's config says; the target is int64 with 255 ignored.
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
        matrix = _crop_matrix(label, self.augmentation, rng)
        moved = matrix if source.max_distance else _camera_motion(self.augmentation.crop, rng) @ matrix
        height, width = self.augmentation.crop
        target = cv2.warpAffine(
            label, matrix[:2], (width, height), flags=cv2.INTER_NEAREST, borderValue=(UNLABELLED,) * 4
        )
        return (
            self._finish(image, matrix, rng),
            self._finish(other, moved, rng),
            torch.from_numpy(target.astype(np.int64)),
        )

    def _finish(self, image: np.ndarray, matrix: np.ndarray, rng: np.random.Generator) -> torch.Tensor:
        height, width = self.augmentation.crop
        mean = [round(255 * m) for m in self.config.mean]
        warped = cv2.warpAffine(image, matrix[:2], (width, height), flags=cv2.INTER_LINEAR, borderValue=mean)
        pixels = _jittered(warped.astype(np.float32) / 255, self.augmentation.colour, rng)
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


def _crop_matrix(label: np.ndarray, augmentation: Augmentation, rng: np.random.Generator) -> np.ndarray:
    """3x3: from a picture's pixels to the crop's, with scale, rotation, flip and place drawn."""
    height, width = augmentation.crop
    scale = np.exp(rng.uniform(*np.log(augmentation.scale)))
    angle = np.deg2rad(rng.uniform(-augmentation.rotation, augmentation.rotation))
    flip = -1.0 if rng.random() < 0.5 else 1.0
    cos, sin = scale * np.cos(angle), scale * np.sin(angle)
    linear = np.array([[flip * cos, -sin], [flip * sin, cos]])
    centre = _crop_centre(label, (height / scale, width / scale), augmentation.focus, rng)
    target = np.array([width / 2, height / 2])
    return np.vstack([np.column_stack([linear, target - linear @ centre]), [0, 0, 1]])


def _crop_centre(label: np.ndarray, extent: tuple[float, float], focus: float, rng: np.random.Generator) -> np.ndarray:
    """(x, y) in the picture. The crop stays inside where it is the smaller of the two, else it is about the middle."""
    limits = [(min(e / 2, s / 2), max(s - e / 2, s / 2)) for e, s in zip(extent, label.shape, strict=True)]
    y, x = (rng.uniform(low, high) for low, high in limits)
    present = [c for c in np.unique(label) if c != UNLABELLED]
    if present and rng.random() < focus:
        rows, columns = np.nonzero(label == present[rng.integers(len(present))])
        pick = rng.integers(len(rows))
        y = np.clip(rows[pick] + rng.uniform(-0.3, 0.3) * extent[0], *limits[0])
        x = np.clip(columns[pick] + rng.uniform(-0.3, 0.3) * extent[1], *limits[1])
    return np.array([x, y])


def _camera_motion(size: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """3x3: what a small turn and a small step forward or back do to a picture, about its centre."""
    height, width = size
    zoom = 1 + rng.uniform(-0.04, 0.04)
    roll = np.deg2rad(rng.uniform(-1, 1))
    cos, sin = zoom * np.cos(roll), zoom * np.sin(roll)
    linear = np.array([[cos, -sin], [sin, cos]])
    centre = np.array([width / 2, height / 2])
    shift = np.array([rng.uniform(-0.04, 0.04) * width, rng.uniform(-0.02, 0.02) * height])
    return np.vstack([np.column_stack([linear, centre - linear @ centre + shift]), [0, 0, 1]])


def _jittered(pixels: np.ndarray, strength: float, rng: np.random.Generator) -> np.ndarray:
    """Brightness, contrast, saturation and a slight tint of (H, W, 3) float32 RGB in 0..1."""
    brightness, contrast, saturation = 1 + strength * rng.uniform(-1, 1, 3)
    tint = 1 + 0.3 * strength * rng.uniform(-1, 1, 3)
    grey = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)[..., None]
    pixels = grey + np.float32(saturation) * (pixels - grey)
    pixels = (pixels - grey.mean()) * np.float32(contrast) + grey.mean()
    return np.clip(pixels * (brightness * tint).astype(np.float32), 0, 1)
