"""Fusion: the common and the independent feature become one."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dcfm_ros.model.catalogue import ModelConfig
from dcfm_ros.model.unit_length import unit_length


def create_fusion(config: ModelConfig) -> FeatureFusion | FineFusion:
    """The fusion that a configuration names."""
    if config.fusion == "fine":
        return FineFusion(config.common_channels, config.shallow_channels, config.fused_channels)
    return FeatureFusion(config.common_channels, config.shallow_channels)


class _Fusion(nn.Module):
    """The base of all fusions: they read the independent feature, which several common ones may then be joined with."""

    conv: nn.Conv2d
    join: Callable[[Tensor, Tensor], Tensor]

    def __init__(self, shallow_channels: int) -> None:
        super().__init__()
        self.shallow_channels = shallow_channels

    def forward(self, common: Tensor, shallow: Tensor, resize_first: bool) -> Tensor:
        """Both features as one; see the class."""
        return self.join(common, self.independent(shallow, (common.shape[2], common.shape[3]), resize_first))

    def independent(self, shallow: Tensor, size: tuple[int, int], resize_first: bool) -> Tensor:
        """F_in on the common feature's grid: (B, C, H/4, W/4) -> (B, shallow_channels, *size)."""
        if resize_first:
            shallow = unit_length(_resize(shallow, size))
            return shallow[:, : self.shallow_channels]
        return _resize(unit_length(shallow)[:, : self.shallow_channels], size)


class FeatureFusion(_Fusion):
    """The FFM: concat -> 1x1 convolution with bias -> BN -> ReLU -> L2 normalisation over channels (DCFM, its section).

    common: (B, C', h, w), L2-normalised; shallow: (B, C, H/4, W/4), raw. Returns (B, C', h, w), L2-normalised.
    Only the first `shallow_channels` of the shallow feature are read, after a normalisation over all of them.
    """

    def __init__(self, common_channels: int, shallow_channels: int) -> None:
        super().__init__(shallow_channels)
        self.conv = nn.Conv2d(common_channels + shallow_channels, common_channels, 1)
        self.norm = nn.BatchNorm2d(common_channels)

    def join(self, common: Tensor, independent: Tensor) -> Tensor:
        """F_co and what `independent` gives, as one feature."""
        joined = self.conv(torch.cat([common, independent], dim=1))
        return unit_length(F.relu(self.norm(joined), inplace=True))


class FineFusion(_Fusion):
    """The FFM on F_in's grid, which is finer than F_co's, and a depthwise 3x3 convolution with a shortcut behind it.

    common: (B, C', h, w), L2-normalised; shallow: (B, C, H/4, W/4), raw, of which the first `shallow_channels` are read
    after a normalisation over all of them. Returns (B, width, H/4, W/4), L2-normalised.

    The 1x1 convolution is linear in its two inputs: F_co's half of it is computed on F_co's own grid, once a keyframe,
    and then enlarged, which gives the same as the other way round.
    """

    def __init__(self, common_channels: int, shallow_channels: int, width: int) -> None:
        super().__init__(shallow_channels)
        self.common_channels = common_channels
        self.conv = nn.Conv2d(common_channels + shallow_channels, width, 1)
        self.norm = nn.BatchNorm2d(width)
        self.spread = nn.Conv2d(width, width, 3, padding=1, groups=width, bias=False)
        self.spread_norm = nn.BatchNorm2d(width)

    def independent(self, shallow: Tensor, size: tuple[int, int], resize_first: bool) -> Tensor:
        """F_in's half of the convolution: (B, C, H/4, W/4) -> (B, width, H/4, W/4).

        size and resize_first make no difference, as F_in is not resized.
        """
        read = unit_length(shallow)[:, : self.shallow_channels]
        return F.conv2d(read, self.conv.weight[:, self.common_channels :])

    def join(self, common: Tensor, independent: Tensor) -> Tensor:
        """F_co and what `independent` gives, as one feature."""
        of_common = F.conv2d(common, self.conv.weight[:, : self.common_channels], self.conv.bias)
        return self.join_halves(of_common, independent)

    def join_halves(self, of_common: Tensor, independent: Tensor) -> Tensor:
        """The same from F_co's half of the convolution, (B, width, h, w)."""
        joined = _resize(of_common, (independent.shape[2], independent.shape[3])) + independent
        joined = F.relu(self.norm(joined), inplace=True)
        return unit_length(F.relu(joined + self.spread_norm(self.spread(joined)), inplace=True))


def _resize(x: Tensor, size: tuple[int, int]) -> Tensor:
    if (x.shape[2], x.shape[3]) == size:
        return x
    return F.interpolate(x, size, mode="bilinear", align_corners=False)
