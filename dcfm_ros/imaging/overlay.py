"""Masks made visible: as colours, or as colours over the picture."""

from __future__ import annotations

import cv2
import numpy as np

from dcfm_ros.imaging.encodings import to_rgb
from dcfm_ros.imaging.frame import Frame
from dcfm_ros.imaging.labels import UNLABELLED, LabelSet
from dcfm_ros.imaging.masks import check_mask


def colorize(mask: np.ndarray, labels: LabelSet) -> np.ndarray:
    """Each id's colour: (H, W) uint8 ids -> (H, W, 3) uint8 RGB; 255 and ids that `labels` lacks are black.

    Raises ValueError when the mask is not (H, W) uint8 or is empty.
    """
    check_mask(mask)
    return cv2.applyColorMap(mask, labels.palette[:, np.newaxis])


def overlay(frame: Frame, mask: np.ndarray, labels: LabelSet, opacity: float = 0.5) -> np.ndarray:
    """The mask's colours over the picture, as (H, W, 3) uint8 RGB; where the mask is 255 the picture stays as it is.

    mask: (H, W) uint8 ids of the frame's size. opacity: 0 shows the picture alone, 1 the colours alone.

    Raises ValueError when the mask is not uint8, its size is not the frame's, or opacity is outside 0..1.
    """
    if mask.shape != (frame.height, frame.width):
        raise ValueError(f"mask has the size {mask.shape}; expected the frame's, {(frame.height, frame.width)}")
    if not 0 <= opacity <= 1:
        raise ValueError(f"opacity is {opacity}; expected 0 to 1")
    picture = to_rgb(frame)
    blended = cv2.addWeighted(picture, 1 - opacity, colorize(mask, labels), opacity, 0)
    return cv2.copyTo(picture, (mask == UNLABELLED).view(np.uint8), blended)
