"""EfficientNet-Lite's encoder (Tan, Le: EfficientNet-Lite0 to 2, 2020) with a ladder on top, made for edge devices.

It has ReLU6 and no squeeze-and-excitation, so that it keeps its accuracy in int8. Two things differ from the
published network. Strided convolutions are padded alike on both sides. The first block of stage 2 is a fused one
(EfficientNetV2, Tan, Le, 2021): its expansion is a strided 3x3 convolution, so that nothing wide is computed at half
the picture's size, and what that expansion gives at 1/4 is F_in.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch.nn.functional as F
from torch import Tensor, nn

from dcfm_ros.model.backbones.ladder import Ladder

_EPS = 1e-3  # of batch norm, as the ImageNet weights have it
_STEM = 32
_FUSED = 48


class _Stage(NamedTuple):
    kernel: int
    stride: int
    expansion: int
    channels: int
    blocks: int


_STAGES = (
    _Stage(3, 1, 1, 16, 1),
    _Stage(3, 2, 6, 24, 2),
    _Stage(5, 2, 6, 40, 2),
    _Stage(3, 2, 6, 80, 3),
    _Stage(5, 1, 6, 112, 3),
    _Stage(5, 2, 6, 192, 4),
    _Stage(3, 1, 6, 320, 1),
)
_WIDTH_AND_DEPTH = {"lite0": (1.0, 1.0), "lite1": (1.0, 1.1), "lite2": (1.1, 1.2)}


class EfficientNetLiteEncoder(nn.Module):
    """EfficientNet-Lite and a `Ladder` of its maps at 1/8, 1/16 and 1/32.

    `shallow` is the stem, stage 1 and the expansion of stage 2's first block (48 channels at 1/4); `deep` is the rest,
    and gives `deep_channels` at 1/8.

    size: "lite0", "lite1" or "lite2". deep_channels: the ladder's width.
    """

    def __init__(self, size: str, deep_channels: int = 96) -> None:
        super().__init__()
        stages = _scaled(*_WIDTH_AND_DEPTH[size])
        self.stem = nn.Conv2d(3, _STEM, 3, stride=2, padding=1, bias=False)
        self.stem_norm = nn.BatchNorm2d(_STEM, _EPS)
        self.blocks = nn.ModuleList(_blocks(stages))
        first_of_stage = [sum(stage.blocks for stage in stages[:number]) for number in range(len(stages) + 1)]
        self._parts = [slice(first_of_stage[i], first_of_stage[j]) for i, j in ((1, 3), (3, 5), (5, 7))]
        self.ladder = Ladder((stages[2].channels, stages[4].channels, stages[6].channels), deep_channels)
        self.shallow_channels = _FUSED
        self.deep_channels = deep_channels

    @property
    def fused_block(self) -> FusedBlock:
        """The first block of stage 2, whose expansion is F_in."""
        block = self.blocks[1]
        assert isinstance(block, FusedBlock)
        return block

    def shallow(self, image: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, 48, H/4, W/4)."""
        return self.fused_block.expanded(self.before_first_block(image))

    def before_first_block(self, image: Tensor) -> Tensor:
        """The stem and stage 1: (B, 3, H, W) -> (B, 16, H/2, W/2)."""
        return self.blocks[0](F.relu6(self.stem_norm(self.stem(image))))

    def deep(self, shallow: Tensor) -> Tensor:
        """(B, 48, H/4, W/4) -> (B, deep_channels, H/8, W/8)."""
        x = self.fused_block.projected(shallow)
        maps = []
        for part in self._parts:
            for block in self.blocks[max(part.start, 2) : part.stop]:
                x = block(x)
            maps.append(x)
        return self.ladder(*maps)


class InvertedResidual(nn.Module):
    """MobileNetV2's block (Sandler et al., 2018): 1x1 expansion where it expands, depthwise, 1x1 projection."""

    def __init__(self, inputs: int, stage: _Stage, stride: int) -> None:
        super().__init__()
        width = inputs * stage.expansion
        self.expands = stage.expansion > 1
        if self.expands:
            self.expand = nn.Conv2d(inputs, width, 1, bias=False)
            self.expand_norm = nn.BatchNorm2d(width, _EPS)
        padding = stage.kernel // 2
        self.depthwise = nn.Conv2d(width, width, stage.kernel, stride, padding, groups=width, bias=False)
        self.depthwise_norm = nn.BatchNorm2d(width, _EPS)
        self.project = nn.Conv2d(width, stage.channels, 1, bias=False)
        self.project_norm = nn.BatchNorm2d(stage.channels, _EPS)
        self.has_shortcut = stride == 1 and inputs == stage.channels

    def forward(self, x: Tensor) -> Tensor:
        out = F.relu6(self.expand_norm(self.expand(x))) if self.expands else x
        out = F.relu6(self.depthwise_norm(self.depthwise(out)))
        out = self.project_norm(self.project(out))
        return x + out if self.has_shortcut else out


class FusedBlock(nn.Module):
    """EfficientNetV2's block, of stride 2, in its two halves: a 3x3 expansion, and a 1x1 projection."""

    def __init__(self, inputs: int, width: int, outputs: int) -> None:
        super().__init__()
        self.expand = nn.Conv2d(inputs, width, 3, stride=2, padding=1, bias=False)
        self.expand_norm = nn.BatchNorm2d(width, _EPS)
        self.project = nn.Conv2d(width, outputs, 1, bias=False)
        self.project_norm = nn.BatchNorm2d(outputs, _EPS)

    def expanded(self, x: Tensor) -> Tensor:
        """(B, inputs, h, w) -> (B, width, h/2, w/2)."""
        return F.relu6(self.expand_norm(self.expand(x)))

    def projected(self, expanded: Tensor) -> Tensor:
        """(B, width, h/2, w/2) -> (B, outputs, h/2, w/2)."""
        return self.project_norm(self.project(expanded))


def published_first_block() -> InvertedResidual:
    """The block of stage 2 that the fused one stands in for, the same in all sizes."""
    return InvertedResidual(_STAGES[0].channels, _STAGES[1], stride=_STAGES[1].stride)


def _scaled(width: float, depth: float) -> tuple[_Stage, ...]:
    """The stages, wider and deeper. The first and the last keep their number of blocks."""
    ends = (_STAGES[0], _STAGES[-1])
    return tuple(
        stage._replace(
            channels=_multiple_of_8(stage.channels * width),
            blocks=stage.blocks if stage in ends else -int(-stage.blocks * depth // 1),
        )
        for stage in _STAGES
    )


def _multiple_of_8(channels: float) -> int:
    """The nearest multiple of 8 that is at most a tenth below."""
    nearest = max(8, int(channels + 4) // 8 * 8)
    return nearest if nearest >= 0.9 * channels else nearest + 8


def _blocks(stages: Sequence[_Stage]) -> list[nn.Module]:
    blocks: list[nn.Module] = []
    inputs = _STEM
    for number, stage in enumerate(stages):
        for i in range(stage.blocks):
            if number == 1 and i == 0:
                blocks.append(FusedBlock(inputs, _FUSED, stage.channels))
            else:
                blocks.append(InvertedResidual(inputs, stage, stage.stride if i == 0 else 1))
            inputs = stage.channels
    return blocks
