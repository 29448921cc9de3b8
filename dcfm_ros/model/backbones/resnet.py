"""PSPNet's encoder: a dilated ResNet (stride 8) and pyramid pooling.

He et al., "Deep Residual Learning" (2016); Zhao et al., "Pyramid Scene Parsing Network" (2017), whose ResNet-50 and
-101 have a deep stem of three 3x3 convolutions.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_BLOCKS = {18: (2, 2, 2, 2), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3)}


class PSPNetEncoder(nn.Module):
    """ResNet-18, -50 or -101 with stride 8, and pyramid pooling on top.

    `shallow` is the stem and layer1 (64 channels; 256 for 50 and 101); `deep` is layer2 to layer4 and the pooling,
    which doubles layer4's channels (1024; 4096).
    """

    def __init__(self, depth: int) -> None:
        super().__init__()
        block = BasicBlock if depth == 18 else Bottleneck
        blocks = _BLOCKS[depth]
        self.layer0 = _stem() if depth == 18 else _deep_stem()
        stem_channels = 64 if depth == 18 else 128
        self.layer1 = _layer(block, stem_channels, 64, blocks[0])
        self.layer2 = _layer(block, 64 * block.expansion, 128, blocks[1], stride=2)
        self.layer3 = _layer(block, 128 * block.expansion, 256, blocks[2], dilation=2)
        self.layer4 = _layer(block, 256 * block.expansion, 512, blocks[3], dilation=4)
        self.ppm = PyramidPooling(512 * block.expansion)
        self.shallow_channels = 64 * block.expansion
        self.deep_channels = 2 * 512 * block.expansion

    def shallow(self, image: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, 64 or 256, H/4, W/4)."""
        return self.layer1(self.layer0(image))

    def deep(self, shallow: Tensor) -> Tensor:
        """(B, 64 or 256, H/4, W/4) -> (B, 1024 or 4096, H/8, W/8)."""
        return self.ppm(self.layer4(self.layer3(self.layer2(shallow))))


class BasicBlock(nn.Module):
    """Two 3x3 convolutions. Only the second is dilated, as in the published weights."""

    expansion = 1

    def __init__(self, inputs: int, width: int, stride: int, dilation: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, width, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=dilation, dilation=dilation, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.downsample = _shortcut(inputs, width, stride)

    def forward(self, x: Tensor) -> Tensor:
        out = F.relu(self.bn1(self.conv1(x)), inplace=True)
        out = self.bn2(self.conv2(out))
        return F.relu(out + self.downsample(x), inplace=True)


class Bottleneck(nn.Module):
    """1x1, 3x3 (strided and dilated), 1x1."""

    expansion = 4

    def __init__(self, inputs: int, width: int, stride: int, dilation: int) -> None:
        super().__init__()
        outputs = width * self.expansion
        self.conv1 = nn.Conv2d(inputs, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride=stride, padding=dilation, dilation=dilation, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, outputs, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(outputs)
        self.downsample = _shortcut(inputs, outputs, stride)

    def forward(self, x: Tensor) -> Tensor:
        out = F.relu(self.bn1(self.conv1(x)), inplace=True)
        out = F.relu(self.bn2(self.conv2(out)), inplace=True)
        out = self.bn3(self.conv3(out))
        return F.relu(out + self.downsample(x), inplace=True)


class PyramidPooling(nn.Module):
    """The input beside its averages over 1, 2, 3 and 6 bins a side: (B, C, h, w) -> (B, 2C, h, w)."""

    def __init__(self, channels: int, bins: tuple[int, ...] = (1, 2, 3, 6)) -> None:
        super().__init__()
        self.bins = bins
        width = channels // len(bins)
        self.features = nn.ModuleList(
            nn.Sequential(
                nn.AdaptiveAvgPool2d(size),
                nn.Conv2d(channels, width, 1, bias=False),
                nn.BatchNorm2d(width),
                nn.ReLU(inplace=True),
            )
            for size in bins
        )

    def forward(self, x: Tensor) -> Tensor:
        size = x.shape[-2:]
        pooled = [F.interpolate(level(x), size, mode="bilinear", align_corners=True) for level in self.features]
        return torch.cat([x, *pooled], dim=1)


def _stem() -> nn.Sequential:
    return nn.Sequential(*_conv_bn_relu(3, 64, kernel=7, stride=2), nn.MaxPool2d(3, stride=2, padding=1))


def _deep_stem() -> nn.Sequential:
    return nn.Sequential(
        *_conv_bn_relu(3, 64, kernel=3, stride=2),
        *_conv_bn_relu(64, 64, kernel=3, stride=1),
        *_conv_bn_relu(64, 128, kernel=3, stride=1),
        nn.MaxPool2d(3, stride=2, padding=1),
    )


def _conv_bn_relu(inputs: int, outputs: int, kernel: int, stride: int) -> tuple[nn.Module, ...]:
    conv = nn.Conv2d(inputs, outputs, kernel, stride=stride, padding=kernel // 2, bias=False)
    return conv, nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)


def _shortcut(inputs: int, outputs: int, stride: int) -> nn.Module:
    if inputs == outputs and stride == 1:
        return nn.Identity()
    return nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride=stride, bias=False), nn.BatchNorm2d(outputs))


def _layer(
    block: type[BasicBlock] | type[Bottleneck], inputs: int, width: int, count: int, stride: int = 1, dilation: int = 1
) -> nn.Sequential:
    first = block(inputs, width, stride, dilation)
    rest = [block(width * block.expansion, width, 1, dilation) for _ in range(count - 1)]
    return nn.Sequential(first, *rest)
