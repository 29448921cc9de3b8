"""Encoders, each split in two: `shallow` (Enc_lo, every frame) and `deep` (Enc_hi, keyframes)."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor

from dcfm_ros.model.backbones.efficientnet_lite import EfficientNetLiteEncoder
from dcfm_ros.model.backbones.mix_transformer import SegFormerEncoder
from dcfm_ros.model.backbones.resnet import PSPNetEncoder


class Encoder(Protocol):
    """The interface of a backbone, as the network uses it."""

    shallow_channels: int
    deep_channels: int

    def shallow(self, image: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, shallow_channels, H/4, W/4)."""

    def deep(self, shallow: Tensor) -> Tensor:
        """(B, shallow_channels, H/4, W/4) -> (B, deep_channels, h, w)."""


def create_encoder(backbone: str, channels: int) -> PSPNetEncoder | SegFormerEncoder | EfficientNetLiteEncoder:
    """The encoder of a backbone named as in `catalogue.BACKBONES`.

    channels: what an encoder whose width is free gives; the published ones have widths of their own.
    """
    if backbone.startswith("resnet"):
        return PSPNetEncoder(int(backbone.removeprefix("resnet")))
    if backbone.startswith("efficientnet_"):
        return EfficientNetLiteEncoder(backbone.removeprefix("efficientnet_"), channels)
    return SegFormerEncoder(backbone.removeprefix("mit_"))
