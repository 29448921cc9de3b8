"""How training pictures are cut and coloured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from dcfm_ros.imaging import camera_faults
from dcfm_ros.imaging.labels import UNLABELLED

_GREY = np.array([0.299, 0.587, 0.114])  # of red, green and blue, ITU-R BT.601


@dataclass(frozen=True)
class Augmentation:
    """The changes of training pictures.

    crop: (h, w) pixels of a training picture. scale: range of sizes. rotation: degrees. colour: strength of the jitter.

    focus: how often a crop is centred on a class drawn evenly from those in the picture (thin things are rare).
    motion: how far a still's neighbour is from it, see `motion.seen_again`; 1 is up to five frames of city driving.
    colour_neighbour: whether the neighbour's colours are jittered too, each frame apart.

    faults: how often a frame is shown as a poor camera or poor light would, see `with_a_fault`; each frame apart.

    Raises ValueError when `motion` is negative or no number, or `faults` no probability.
    """

    crop: tuple[int, int]
    scale: tuple[float, float] = (0.6, 1.8)
    rotation: float = 10.0
    colour: float = 0.3
    focus: float = 0.5
    motion: float = 1.0
    colour_neighbour: bool = True
    faults: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.motion < float("inf"):
            raise ValueError(f"motion is {self.motion}; expected a number of at least 0")
        if not 0 <= self.faults <= 1:
            raise ValueError(f"faults is {self.faults}; expected 0 to 1")


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


def coloured(
    image: np.ndarray,
    strength: float,
    mean: Sequence[float],
    std: Sequence[float],
    rng: np.random.Generator,
) -> np.ndarray:
    """(3, H, W) float32: an (H, W, 3) uint8 RGB picture in 0..1 with its colours jittered, clipped, then normalised.

    Saturation, then contrast about the mean grey, then brightness and a slight tint; a strength of 0 changes none.
    """
    brightness, contrast, saturation = 1 + strength * rng.uniform(-1, 1, 3)
    tint = 1 + 0.3 * strength * rng.uniform(-1, 1, 3)
    # All of it is affine in a pixel's colour, so it is one matrix; float pictures in between took 20 times as long.
    gain = brightness * tint[:, None]
    linear = gain * contrast * (saturation * np.eye(3) + (1 - saturation) * _GREY)
    offset = gain * (1 - contrast) * (_GREY @ cv2.mean(image)[:3] / 255)
    centre, spread = np.asarray(mean), np.asarray(std)
    matrix = np.column_stack([linear / 255, offset[:, 0] - centre]) / spread[:, None]
    lowest, highest = -centre / spread, (1 - centre) / spread
    pixels = image.astype(np.float32)
    planes = np.empty((3, *image.shape[:2]), np.float32)
    for channel, plane in enumerate(planes):
        cv2.transform(pixels, matrix[channel : channel + 1], plane)
        np.clip(plane, lowest[channel], highest[channel], out=plane)
    return planes


def with_a_fault(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """An (H, W, 3) uint8 RGB picture, out of focus, blurred by motion, too dark or bright, noisy, or compressed."""
    kind = rng.integers(5)
    strength = rng.uniform()
    if kind == 0:
        return camera_faults.out_of_focus(image, 0.4 + 2.1 * strength)
    if kind == 1:
        return camera_faults.turned_while_exposed(image, 3 + round(9 * strength))
    if kind == 2:
        return camera_faults.with_gamma(image, float(np.exp(strength * 1.6 - 0.6)))
    if kind == 3:
        noise = camera_faults.noise(image.shape, 2 + 14 * strength, rng)
        return camera_faults.as_picture(image + noise)
    return camera_faults.compressed(image, 10 + round(50 * strength))


def _crop_centre(label: np.ndarray, extent: tuple[float, float], focus: float, rng: np.random.Generator) -> np.ndarray:
    """(x, y) in the picture. The crop stays inside where it is the smaller of the two, else it is about the middle."""
    limits = [(min(e / 2, s / 2), max(s - e / 2, s / 2)) for e, s in zip(extent, label.shape, strict=True)]
    y, x = (rng.uniform(low, high) for low, high in limits)
    present = np.flatnonzero(cv2.calcHist([label], [0], None, [256], [0, 256])[:UNLABELLED])
    if len(present) and rng.random() < focus:
        places = np.flatnonzero(label == present[rng.integers(len(present))])
        row, column = divmod(places[rng.integers(len(places))], label.shape[1])
        y = np.clip(row + rng.uniform(-0.3, 0.3) * extent[0], *limits[0])
        x = np.clip(column + rng.uniform(-0.3, 0.3) * extent[1], *limits[1])
    return np.array([x, y])
