"""Pictures that motion can be seen between."""

from __future__ import annotations

import cv2
import numpy as np

from dcfm_ros.imaging.motion import Motion, MotionSince


def texture(height: int = 360, width: int = 480) -> np.ndarray:
    """Something that motion can be seen on, as RGB."""
    noise = np.random.default_rng(5).integers(0, 256, (height // 12, width // 12, 3), np.uint8)
    return cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC)


def moved(picture: np.ndarray, right: int, down: int) -> np.ndarray:
    return np.roll(picture, (down, right), (0, 1))


def motion_between(grey: np.ndarray, other: np.ndarray) -> Motion:
    """From one small grey picture to another of its size, by a search straight from one to the other."""
    return MotionSince(other).follow(grey)
