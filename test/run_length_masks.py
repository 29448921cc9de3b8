"""Run lengths as a reader takes them apart."""

from __future__ import annotations

import numpy as np


def mask_of_run_lengths(data: bytes, size: tuple[int, int]) -> np.ndarray:
    """The (H, W) uint8 mask of these runs. size: its height and width."""
    runs = np.frombuffer(data, [("id", "u1"), ("length", "<i4")])
    return np.repeat(runs["id"], runs["length"]).reshape(size)
