"""Faults of light and cameras in pictures, as strong as one asks for.

Each takes an (H, W, 3) uint8 RGB picture and gives another of that shape and type.
"""

from __future__ import annotations

import cv2
import numpy as np

from dcfm_ros.imaging.compressed import decode_compressed, encode_jpeg
from dcfm_ros.imaging.encodings import to_rgb


def exposed(pixels: np.ndarray, gain: float) -> np.ndarray:
    """`gain` times the light, clipped."""
    return as_picture(pixels * np.float32(gain))


def with_gamma(pixels: np.ndarray, gamma: float, noise: np.ndarray | float = 0.0) -> np.ndarray:
    """Shades raised to `gamma` (above 1 darker) and, before they are rounded, `noise` in levels."""
    shades = 255 * (np.arange(256, dtype=np.float32) / 255) ** np.float32(gamma)
    return as_picture(shades[pixels] + noise)


def out_of_focus(pixels: np.ndarray, sigma: float) -> np.ndarray:
    """A Gaussian of `sigma` pixels."""
    return cv2.GaussianBlur(pixels, (0, 0), sigmaX=sigma)


def turned_while_exposed(pixels: np.ndarray, length: int) -> np.ndarray:
    """Every point is drawn out to a line of `length` pixels along its row."""
    return cv2.blur(pixels, (length, 1), borderType=cv2.BORDER_REPLICATE)


def compressed(pixels: np.ndarray, quality: int) -> np.ndarray:
    """There and back through JPEG of a quality of 1 to 100."""
    return to_rgb(decode_compressed(encode_jpeg(pixels, quality), "jpeg"))


def noise(shape: tuple[int, ...], sigma: float, rng: np.random.Generator) -> np.ndarray:
    """Normal noise of a sensor, float32 in levels, of each channel apart."""
    return rng.standard_normal(shape, np.float32) * np.float32(sigma)


def as_picture(values: np.ndarray) -> np.ndarray:
    """Levels of any number type, rounded and clipped to uint8."""
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)
