"""Small labelled folders, written for one test."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np


def write_folder(root: Path, pictures: Sequence[tuple[np.ndarray, np.ndarray]], stem: str = "f{:03d}") -> Path:
    """RGB images and their labels as `images/` and `labels/` of `root`."""
    for part in ("images", "labels"):
        (root / part).mkdir(parents=True)
    for index, (image, label) in enumerate(pictures):
        cv2.imwrite(str(root / "images" / f"{stem.format(index)}.png"), cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
        cv2.imwrite(str(root / "labels" / f"{stem.format(index)}.png"), label)
    return root


def street_like(count: int, size: tuple[int, int] = (64, 96)) -> list[tuple[np.ndarray, np.ndarray]]:
    """Sky (0) over road (3) with a car (8) that drives to the right, each of its own colour; a stripe is unlabelled."""
    height, width = size
    pictures = []
    for index in range(count):
        label = np.zeros(size, np.uint8)
        label[height // 2 :] = 3
        left = (index * 5) % (width - 20)
        label[height // 2 : height * 3 // 4, left : left + 20] = 8
        image = np.zeros((*size, 3), np.uint8)
        for ident, colour in ((0, (90, 160, 220)), (3, (100, 100, 100)), (8, (200, 30, 30))):
            image[label == ident] = colour
        image += np.random.default_rng(index).integers(0, 20, image.shape, np.uint8)
        label[-2:] = 255
        pictures.append((image, label))
    return pictures
