"""Masks: (H, W) uint8 class ids, 255 where a pixel has none."""

from __future__ import annotations

import numpy as np


def check_mask(mask: np.ndarray) -> None:
    """Raises ValueError when the mask is not (H, W) uint8 or is empty."""
    if mask.ndim != 2 or mask.dtype != np.uint8 or mask.size == 0:
        raise ValueError(f"mask is {mask.dtype} {mask.shape}; expected uint8 (H, W) with at least one pixel")
