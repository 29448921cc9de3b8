"""How training pictures are cut and coloured."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from dcfm_ros.imaging.labels import UNLABELLED


@dataclass(frozen=True)
class Augmentation:
    """crop: (h, w) pixels of a training picture. scale: range of sizes. rotation: degrees. colour: strength of the
    jitter.

    focus: how often a crop is centred on a class drawn evenly from those in the picture (thin things are rare).
    motion: how far a still's neighbour is from it, see `motion.seen_again`; 1 is up to five frames of city driving.
    colour_neighbour: whether the neighbour's colours are jittered too, each frame apart.

    Raises ValueError when `motion` is negative or no number.
    """

    crop: tuple[int, int]
    scale: tuple[float, float] = (0.6, 1.8)
    rotation: float = 10.0
    colour: float = 0.3
    focus: float = 0.5
    motion: float = 1.0
    colour_neighbour: bool = True

    def __post_init__(self) -> None:
        if not 0 <= self.motion < float("inf"):
            raise ValueError(f"motion is {self.motion}; expected a number of at least 0")


def crop_matrix(label: np.ndarray, augmentation: Augmentation, rng: np.random.Generator) -> np.ndarray:
    """3x3: from a picture's pixels to the crop's, with scale, rotation, flip and place drawn. label: (H, W) uint8."""
    height, width = augmentation.crop
    scale = np.exp(rng.uniform(*np.log(augmentation.scale)))
    angle = np.deg2rad(rng.uniform(-augmentation.rotation, augmentation.rotation))
    flip = -1.0 if rng.random() < 0.5 else 1.0
    cos, sin = scale * np.cos(angle), scale * np.sin(angle)
    linear = np.array([[flip * cos, -sin], [flip * sin, cos]])
    centre = _crop_centre(label, (height / scale, width / scale), augmentation.focus, rng)
    target = np.array([width / 2, height / 2])
    return np.vstack([np.column_stack([linear, target - linear @ centre]), [0, 0, 1]])


def jittered(pixels: np.ndarray, strength: float, rng: np.random.Generator) -> np.ndarray:
    """Brightness, contrast, saturation and a slight tint of (H, W, 3) float32 RGB in 0..1."""
    brightness, contrast, saturation = 1 + strength * rng.uniform(-1, 1, 3)
    tint = 1 + 0.3 * strength * rng.uniform(-1, 1, 3)
    grey = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)[..., None]
    pixels = grey + np.float32(saturation) * (pixels - grey)
    pixels = (pixels - grey.mean()) * np.float32(contrast) + grey.mean()
    return np.clip(pixels * (brightness * tint).astype(np.float32), 0, 1)


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
