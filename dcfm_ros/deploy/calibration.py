"""The clips of frames that int8 is calibrated on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np


class Reused(NamedTuple):
    """A frame after a keyframe.

    image: (h, w, 3) uint8 RGB at the network's size. grid: (h', w', 2) float32, by which the keyframe's common feature
    is moved; see `model.alignment.aligned`.
    """

    image: np.ndarray
    grid: np.ndarray


class Clip(NamedTuple):
    """A keyframe, as `Reused.image`, and frames of its size that reuse its common feature."""

    keyframe: np.ndarray
    others: Sequence[Reused]
