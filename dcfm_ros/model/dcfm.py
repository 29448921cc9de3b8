"""The DCFM network (Zheng, Yang, Huang, "Deep Common Feature Mining", IEEE TCSVT 2024, arXiv 2403.02689)."""

from __future__ import annotations

from dataclasses import replace

import torch.nn.functional as F
from torch import Tensor, nn

from dcfm_ros.model.backbones import create_encoder
from dcfm_ros.model.catalogue import ModelConfig, model_config
from dcfm_ros.model.fusion import create_fusion
from dcfm_ros.model.unit_length import unit_length


def create_model(name: str, num_classes: int | None = None) -> DCFM:
    """A network with random weights, in evaluation mode.

    name: one of `available_models()`. num_classes: for classes of one's own; default: the configuration's.
    Raises ValueError for an unknown name or an impossible number of classes.
    """
    config = model_config(name)
    if num_classes is not None and num_classes != config.num_classes:
        config = replace(config, num_classes=num_classes, label_set="")
    return DCFM(config)


class DCFM(nn.Module):
    """The whole network.

    A keyframe is `fuse(encode_common(s), s)` with `s = encode_shallow(image)`; any other frame puts a keyframe's common
    feature in place of its own.

    Raises ValueError when `config` asks the fusion to read more shallow channels than the backbone has.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = create_encoder(config.backbone, config.common_channels)
        if config.shallow_channels > (available := self.encoder.shallow_channels):
            raise ValueError(f"shallow_channels is {config.shallow_channels}; {config.backbone} has {available}")
        if self.encoder.deep_channels == config.common_channels:
            self.projection: nn.Module = nn.Identity()
        else:
            self.projection = nn.Conv2d(self.encoder.deep_channels, config.common_channels, 1, bias=False)
        self.fusion = create_fusion(config)
        self.head = _head(config)
        self.eval()

    def encode_shallow(self, image: Tensor) -> Tensor:
        """Enc_lo: (B, 3, H, W), ImageNet-normalised RGB -> F_in, (B, C, H/4, W/4), raw."""
        return self.encoder.shallow(image)

    def encode_common(self, shallow: Tensor) -> Tensor:
        """Enc_hi and the projection: F_in -> F_co, (B, C', h, w), L2-normalised over channels."""
        return unit_length(self.projection(self.encoder.deep(shallow)))

    def fuse(self, common: Tensor, shallow: Tensor, resize_first: bool | None = None) -> Tensor:
        """F_co and F_in -> logits, (B, classes, h, w), on F_co's grid; with the fine fusion on F_in's, at 1/4.

        resize_first: whether F_in is resized before it is normalised (the authors' training) or after (their
        inference); default: the order these weights run in, `config.resize_first`.
        """
        return self.head(self.fused_feature(common, shallow, resize_first))

    def fused_feature(self, common: Tensor, shallow: Tensor, resize_first: bool | None = None) -> Tensor:
        """Return the head's input: (B, fused_channels, h, w), L2-normalised over channels. Arguments as in `fuse`."""
        return self.fusion(common, shallow, self.config.resize_first if resize_first is None else resize_first)

    def forward(self, image: Tensor) -> Tensor:
        """A keyframe: (B, 3, H, W) -> logits (B, classes, H, W)."""
        shallow = self.encode_shallow(image)
        logits = self.fuse(self.encode_common(shallow), shallow)
        return F.interpolate(logits, image.shape[-2:], mode="bilinear", align_corners=False)


def _head(config: ModelConfig) -> nn.Sequential:
    channels = config.fused_channels
    hidden: list[nn.Module] = []
    if config.head_hidden:
        hidden = [nn.Conv2d(channels, channels, 1, bias=False), nn.BatchNorm2d(channels), nn.ReLU(inplace=True)]
    return nn.Sequential(*hidden, nn.Dropout2d(0.1), nn.Conv2d(channels, config.num_classes, 1, bias=False))
