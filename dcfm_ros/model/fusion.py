"""Fusion: the common and the independent feature become one."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class _Fusion(nn.Module):
    """What fusions share: how they read the independent feature."""

    conv: nn.Conv2d

    def __init__(self, shallow_channels: int) -> None:
        super().__init__()
        self.shallow_channels = shallow_channels

    def independent(self, shallow: Tensor, size: tuple[int, int], resize_first: bool) -> Tensor:
        """F_in on the common feature's grid: (B, C, H/4, W/4) -> (B, shallow_channels, *size)."""
        if resize_first:
            shallow = F.normalize(_resize(shallow, size), dim=1)
            return shallow[:, : self.shallow_channels]
        shallow = F.normalize(shallow, dim=1)[:, : self.shallow_channels]
        return _resize(shallow, size)


class FeatureFusion(_Fusion):
    """The FFM: concat -> 1x1 convolution with bias -> BN -> ReLU -> L2 normalisation over channels (DCFM, its section).

    common: (B, C', h, w), L2-normalised; shallow: (B, C, H/4, W/4), raw. Returns (B, C', h, w), L2-normalised.
    Only the first `shallow_channels` of the shallow feature are read, after a normalisation over all of them.
    """

    def __init__(self, common_channels: int, shallow_channels: int) -> None:
        super().__init__(shallow_channels)
        self.conv = nn.Conv2d(common_channels + shallow_channels, common_channels, 1)
        self.norm = nn.BatchNorm2d(common_channels)

    def forward(self, common: Tensor, shallow: Tensor, resize_first: bool) -> Tensor:
        independent = self.independent(shallow, (common.shape[2], common.shape[3]), resize_first)
        joined = self.conv(torch.cat([common, independent], dim=1))
        return F.normalize(F.relu(self.norm(joined), inplace=True), dim=1)


class Addition(_Fusion):
    """What the FFM is measured against: the shallow feature, brought to C' by a 1x1 convolution, is added to the common
    one. Shapes as in FeatureFusion.
    """

    def __init__(self, common_channels: int, shallow_channels: int) -> None:
        super().__init__(shallow_channels)
        self.conv = nn.Conv2d(shallow_channels, common_channels, 1)

    def forward(self, common: Tensor, shallow: Tensor, resize_first: bool) -> Tensor:
        independent = self.independent(shallow, (common.shape[2], common.shape[3]), resize_first)
        return F.normalize(common + self.conv(independent), dim=1)


def _resize(x: Tensor, size: tuple[int, int]) -> Tensor:
    if (x.shape[2], x.shape[3]) == size:
        return x
    return F.interpolate(x, size, mode="bilinear", align_corners=False)
