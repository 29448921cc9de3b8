"""A light decoder: context at the coarsest of three maps, brought down to the finest, step by step."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Ladder(nn.Module):
    """Maps at 1/8, 1/16 and 1/32 -> (B, width, H/8, W/8), as in a feature pyramid (Lin et al., CVPR 2017).

    channels: of the three maps, the finest first. Each step doubles the size, adds what its own map says, and mixes
    both by a 3x3 convolution.
    """

    def __init__(self, channels: tuple[int, int, int], width: int) -> None:
        super().__init__()
        self.context = Context(channels[2], width)
        self.lateral16, self.lateral8 = _conv(channels[1], width, 1), _conv(channels[0], width, 1)
        self.mix16, self.mix8 = _conv(width, width, 3), _conv(width, width, 3)

    def forward(self, at8: Tensor, at16: Tensor, at32: Tensor) -> Tensor:
        x = self.context(at32)
        x = self.mix16(_enlarged(x, at16) + self.lateral16(at16))
        return self.mix8(_enlarged(x, at8) + self.lateral8(at8))


class Context(nn.Module):
    """The surroundings of each place: near, far, and the whole picture: (B, channels, h, w) -> (B, width, h, w)."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.reduce = _conv(channels, width, 1)
        self.near, self.far = _conv(width, width, 3), _conv(width, width, 3, dilation=3)
        self.everywhere = nn.Sequential(nn.Conv2d(width, width, 1), nn.ReLU(inplace=True))
        self.join = _conv(3 * width, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.reduce(x)
        everywhere = self.everywhere(x.mean((2, 3), keepdim=True))
        return self.join(torch.cat([self.near(x), self.far(x), everywhere.expand_as(x)], dim=1))


def _conv(inputs: int, outputs: int, kernel: int, dilation: int = 1) -> nn.Sequential:
    padding = dilation * (kernel // 2)
    conv = nn.Conv2d(inputs, outputs, kernel, padding=padding, dilation=dilation, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(outputs), nn.ReLU(inplace=True))


def _enlarged(x: Tensor, like: Tensor) -> Tensor:
    return F.interpolate(x, like.shape[-2:], mode="bilinear", align_corners=False)
