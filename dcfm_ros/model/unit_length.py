"""L2 normalisation over channels."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def unit_length(feature: Tensor) -> Tensor:
    """(B, C, h, w) -> the same shape and dtype: the channels of every place divided by the root of their squares' sum.

    Of float16 in float32, as autocast does by itself: squares exceed its 65504, and the least length that is divided
    by, 1e-12, would be 0 in it.
    """
    if feature.dtype is torch.float16 and not torch.is_autocast_enabled():
        return F.normalize(feature.float(), dim=1).half()
    return F.normalize(feature, dim=1)
