"""A common feature laid where another frame shows what it is of."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def aligned(common: Tensor, grid: Tensor) -> Tensor:
    """F_co, (B, C', h, w), bilinearly resampled at a grid, (B, h', w', 2): (B, C', h', w'), of F_co's dtype.

    grid: where in the picture that F_co is of each place of the other frame lay, x and y from -1 to 1 between the
    picture's edges. Beyond the border the nearest is taken.

    F_co is not normalised again: measured, it changes nothing, and what is moved at run time is no longer F_co itself.
    """
    # In the grid's float32: in bfloat16, places near the edges are a thousandth of the picture's width off.
    moved = F.grid_sample(common.to(grid.dtype), grid, mode="bilinear", padding_mode="border", align_corners=False)
    return moved.to(common.dtype)
