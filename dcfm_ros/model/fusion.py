"""Fusion: the common and the independent feature become one."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dcfm_ros.model.catalogue import ModelConfig


def create_fusion(config: ModelConfig) -> FeatureFusion | FineFusion | Addition:
    """The fusion that a configuration names."""
    if config.fusion == "fine":
        return FineFusion(config.common_channels, config.shallow_channels, config.fused_channels)
    fusion = FeatureFusion if config.fusion == "ffm" else Addition
    return fusion(config.common_channels, config.shallow_channels)


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


class FineFusion(nn.Module):
    """The FFM on F_in's grid, which is finer than F_co's, and a depthwise 3x3 convolution with a shortcut behind it.

    common: (B, C', h, w), L2-normalised; shallow: (B, C, H/4, W/4), raw, of which the first `shallow_channels` are read
    after a normalisation over all of them. Returns (B, width, H/4, W/4), L2-normalised.

    The 1x1 convolution is linear in its two inputs: F_co's half of it is computed on F_co's own grid, once a keyframe,
    and then enlarged, which gives the same as the other way round.
    """

    def __init__(self, common_channels: int, shallow_channels: int, width: int) -> None:
        super().__init__()
        self.common_channels = common_channels
        self.shallow_channels = shallow_channels
        self.conv = nn.Conv2d(common_channels + shallow_channels, width, 1)
        self.norm = nn.BatchNorm2d(width)
        self.spread = nn.Conv2d(width, width, 3, padding=1, groups=width, bias=False)
        self.spread_norm = nn.BatchNorm2d(width)

    def forward(self, common: Tensor, shallow: Tensor, resize_first: bool) -> Tensor:
        """resize_first makes no difference, as F_in is not resized."""
        of_common, of_shallow = self.conv.weight.split([self.common_channels, self.shallow_channels], dim=1)
        joined = self.enlarged(F.conv2d(common, of_common, self.conv.bias), shallow)
        joined = joined + F.conv2d(self.independent(shallow), of_shallow)
        return self.spread_out(F.relu(self.norm(joined), inplace=True))

    def independent(self, shallow: Tensor) -> Tensor:
        """What is read of F_in: (B, C, H/4, W/4) -> (B, shallow_channels, H/4, W/4)."""
        return F.normalize(shallow, dim=1)[:, : self.shallow_channels]

    def enlarged(self, of_common: Tensor, shallow: Tensor) -> Tensor:
        """F_co's half, (B, width, h, w), on F_in's grid."""
        return _resize(of_common, (shallow.shape[2], shallow.shape[3]))

    def spread_out(self, joined: Tensor) -> Tensor:
        """What lies beside each place, added to it; then the L2 normalisation."""
        return F.normalize(F.relu(joined + self.spread_norm(self.spread(joined)), inplace=True), dim=1)


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
