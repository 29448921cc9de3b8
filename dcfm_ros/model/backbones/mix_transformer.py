"""SegFormer's encoder: a Mix Transformer (MiT-B0 to B5) and the all-MLP head.

Xie et al., "SegFormer" (2021). Feature maps are (B, C, H, W) at every seam; inside a stage they are tokens (B, HW, C).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_DEPTHS = {
    "b0": (2, 2, 2, 2),
    "b1": (2, 2, 2, 2),
    "b2": (3, 4, 6, 3),
    "b3": (3, 4, 18, 3),
    "b4": (3, 8, 27, 3),
    "b5": (3, 6, 40, 3),
}
_HEADS = (1, 2, 5, 8)
_REDUCTIONS = (8, 4, 2, 1)
_DROP_PATH = 0.1


class SegFormerEncoder(nn.Module):
    """MiT and SegFormer's all-MLP head, 256 channels at 1/4.

    `shallow` is patch_embed1 and only the first block of stage 1, before norm1 (64 channels; 32 for B0); `deep` is the
    rest of stage 1, stages 2 to 4 and the head.
    """

    def __init__(self, size: str) -> None:
        super().__init__()
        widths = (32, 64, 160, 256) if size == "b0" else (64, 128, 320, 512)
        self.mit = MixTransformer(widths, _DEPTHS[size])
        self.decoder = AllMLPHead(widths, channels=256)
        self.shallow_channels = widths[0]
        self.deep_channels = 256

    def shallow(self, image: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, 64 or 32, H/4, W/4)."""
        return self.mit.first_block(image)

    def deep(self, shallow: Tensor) -> Tensor:
        """(B, 64 or 32, H/4, W/4) -> (B, 256, H/4, W/4)."""
        return self.decoder(self.mit.after_first_block(shallow))


class MixTransformer(nn.Module):
    """Four stages of overlapping patch embedding and efficient self-attention, at 1/4, 1/8, 1/16 and 1/32."""

    def __init__(self, widths: tuple[int, ...], depths: tuple[int, ...]) -> None:
        super().__init__()
        rates = torch.linspace(0, _DROP_PATH, sum(depths), device="cpu").tolist()  # on meta too
        inputs = 3
        for stage, (width, depth) in enumerate(zip(widths, depths, strict=True), start=1):
            kernel, stride = (7, 4) if stage == 1 else (3, 2)
            self.add_module(f"patch_embed{stage}", PatchEmbed(inputs, width, kernel, stride))
            stage_rates, rates = rates[:depth], rates[depth:]
            blocks = [Block(width, _HEADS[stage - 1], _REDUCTIONS[stage - 1], rate) for rate in stage_rates]
            self.add_module(f"block{stage}", nn.ModuleList(blocks))
            self.add_module(f"norm{stage}", nn.LayerNorm(width, eps=1e-6))
            inputs = width

    def first_block(self, image: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, C1, H/4, W/4), not yet normalised by norm1."""
        tokens, size = self._embed(1, image)
        return _to_map(self._blocks(1)[0](tokens, size), size)

    def after_first_block(self, shallow: Tensor) -> list[Tensor]:
        """(B, C1, H/4, W/4) -> the four stages' feature maps."""
        size = (shallow.shape[2], shallow.shape[3])
        maps = [self._finish(1, self._blocks(1)[1:], _to_tokens(shallow), size)]
        for stage in (2, 3, 4):
            tokens, size = self._embed(stage, maps[-1])
            maps.append(self._finish(stage, self._blocks(stage), tokens, size))
        return maps

    def _embed(self, stage: int, x: Tensor) -> tuple[Tensor, tuple[int, int]]:
        return self.get_submodule(f"patch_embed{stage}")(x)

    def _blocks(self, stage: int) -> nn.ModuleList:
        blocks = self.get_submodule(f"block{stage}")
        assert isinstance(blocks, nn.ModuleList)
        return blocks

    def _finish(self, stage: int, blocks: nn.ModuleList, tokens: Tensor, size: tuple[int, int]) -> Tensor:
        for block in blocks:
            tokens = block(tokens, size)
        return _to_map(self.get_submodule(f"norm{stage}")(tokens), size)


class PatchEmbed(nn.Module):
    """An overlapping strided convolution and a LayerNorm: (B, C, H, W) -> tokens and their (h, w)."""

    def __init__(self, inputs: int, width: int, kernel: int, stride: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(inputs, width, kernel, stride=stride, padding=kernel // 2)
        self.norm = nn.LayerNorm(width)

    def forward(self, x: Tensor) -> tuple[Tensor, tuple[int, int]]:
        x = self.proj(x)
        return self.norm(_to_tokens(x)), (x.shape[2], x.shape[3])


class Block(nn.Module):
    """Pre-norm self-attention and Mix-FFN, each with a residual that training may drop."""

    def __init__(self, width: int, heads: int, reduction: int, drop_path: float) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=1e-6)
        self.attn = EfficientAttention(width, heads, reduction)
        self.norm2 = nn.LayerNorm(width, eps=1e-6)
        self.mlp = MixFFN(width, 4 * width)
        self.drop_path = drop_path

    def forward(self, tokens: Tensor, size: tuple[int, int]) -> Tensor:
        tokens = tokens + self._dropped(self.attn(self.norm1(tokens), size))
        return tokens + self._dropped(self.mlp(self.norm2(tokens), size))

    def _dropped(self, residual: Tensor) -> Tensor:
        if not self.training or self.drop_path == 0:
            return residual
        keep = torch.rand(residual.shape[0], 1, 1, device=residual.device) >= self.drop_path
        return residual * keep / (1 - self.drop_path)


class EfficientAttention(nn.Module):
    """Self-attention whose keys and values are read from a picture reduced by a strided convolution."""

    def __init__(self, width: int, heads: int, reduction: int) -> None:
        super().__init__()
        self.heads = heads
        self.q = nn.Linear(width, width)
        self.kv = nn.Linear(width, 2 * width)
        self.proj = nn.Linear(width, width)
        self.sr: nn.Conv2d | None = None
        if reduction > 1:
            self.sr = nn.Conv2d(width, width, reduction, stride=reduction)
            self.norm = nn.LayerNorm(width)

    def forward(self, tokens: Tensor, size: tuple[int, int]) -> Tensor:
        batch, count, width = tokens.shape
        source = tokens
        if self.sr is not None:
            source = self.norm(_to_tokens(self.sr(_to_map(tokens, size))))
        query = self.q(tokens).reshape(batch, count, self.heads, -1).transpose(1, 2)
        key, value = self.kv(source).reshape(batch, source.shape[1], 2, self.heads, -1).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(query, key, value)
        return self.proj(mixed.transpose(1, 2).reshape(batch, count, width))


class MixFFN(nn.Module):
    """Linear, depthwise 3x3 convolution (which carries the position), exact GELU, linear."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, hidden)
        self.dwconv = nn.Conv2d(hidden, hidden, 3, padding=1, groups=hidden)
        self.fc2 = nn.Linear(hidden, width)

    def forward(self, tokens: Tensor, size: tuple[int, int]) -> Tensor:
        hidden = self.dwconv(_to_map(self.fc1(tokens), size))
        return self.fc2(F.gelu(_to_tokens(hidden)))


class AllMLPHead(nn.Module):
    """The four maps, each projected, resized to 1/4 and fused: -> (B, channels, H/4, W/4)."""

    def __init__(self, widths: tuple[int, ...], channels: int) -> None:
        super().__init__()
        self.projections = nn.ModuleList(nn.Linear(width, channels) for width in widths)
        self.fuse = nn.Sequential(
            nn.Conv2d(len(widths) * channels, channels, 1, bias=False), nn.BatchNorm2d(channels), nn.ReLU(inplace=True)
        )
        self.dropout = nn.Dropout2d(0.1)

    def forward(self, maps: list[Tensor]) -> Tensor:
        size = maps[0].shape[-2:]
        levels = []
        for projection, x in zip(self.projections, maps, strict=True):
            level = _to_map(projection(_to_tokens(x)), (x.shape[2], x.shape[3]))
            levels.append(F.interpolate(level, size, mode="bilinear", align_corners=False))
        # Deepest first: the order of the published weights' input channels.
        return self.dropout(self.fuse(torch.cat(levels[::-1], dim=1)))


def _to_tokens(x: Tensor) -> Tensor:
    return x.flatten(2).transpose(1, 2)


def _to_map(tokens: Tensor, size: tuple[int, int]) -> Tensor:
    # Not unflatten: of what comes after it, torch's ONNX exporter takes sizes for constants.
    return tokens.transpose(1, 2).reshape(tokens.shape[0], tokens.shape[2], *size)
