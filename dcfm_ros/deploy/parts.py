"""The network cut where a stream needs it: what runs on every frame, what on keyframes, what moves a feature."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dcfm_ros.model import DCFM, fold_batch_norm
from dcfm_ros.model.alignment import aligned
from dcfm_ros.model.fusion import FineFusion
from dcfm_ros.model.unit_length import unit_length


class Parts(NamedTuple):
    """Every part is a module of its own; batch dimensions may differ from call to call.

    shallow: (B, h, w, 3) uint8 RGB -> F_in, (B, C, h/4, w/4).
    common: F_in -> (B, C', h', w'): F_co as far as it is used on every frame that reuses it (see `CommonPart`).
    logits: common and F_in of the frame -> (B, classes, h', w'), not upsampled; with the fine fusion at 1/4.
    align: common and a sampling grid -> common, moved (see `AlignPart`).
    change: F_in of a frame and of its keyframe -> one number, how much they differ (see `ChangePart`).
    """

    shallow: ShallowPart
    common: CommonPart
    logits: LogitsPart | FineLogitsPart
    align: AlignPart
    change: ChangePart


def inference_parts(model: DCFM) -> Parts:
    """The parts of `model`, which is taken over and changed: evaluation mode, batch norm folded.

    The parts share its weights; `to` of each moves them.
    """
    model.eval().requires_grad_(False)
    fold_batch_norm(model)
    logits = FineLogitsPart(model) if isinstance(model.fusion, FineFusion) else LogitsPart(model)
    parts = Parts(ShallowPart(model), CommonPart(model), logits, AlignPart(), ChangePart())
    for part in parts:
        part.eval().requires_grad_(False)
    return parts


class Joined(NamedTuple):
    """Whole frames as one part each, for runtimes where each call and each feature handed over costs time.

    keyframe: image -> common, logits. reused: image, common -> logits. moved: image, common, grid -> logits.
    """

    keyframe: KeyframePart
    reused: ReusedPart
    moved: MovedPart


def joined_parts(parts: Parts) -> Joined:
    """The same parts, put together."""
    return Joined(KeyframePart(parts), ReusedPart(parts), MovedPart(parts))


class ShallowPart(nn.Module):
    """Normalisation and Enc_lo."""

    offset: Tensor
    scale: Tensor

    def __init__(self, model: DCFM) -> None:
        super().__init__()
        self.encoder = model.encoder
        # One number where all channels have the same: OpenVINO takes a tenth of the time for it.
        mean, std = (torch.tensor(values) for values in (model.config.mean, model.config.std))
        if len({*model.config.mean}) == len({*model.config.std}) == 1:
            mean, std = mean[:1], std[:1]
        self.register_buffer("offset", 255 * mean)
        self.register_buffer("scale", 1 / (255 * std))

    def forward(self, image: Tensor) -> Tensor:
        # (B, h, w, 3) seen as (B, 3, h, w) is channels_last already; done before that, runtimes need not reorder it.
        # Pixels are normalised in float32 whatever the weights are in: 0..255 has more steps than float16 keeps of it.
        # TensorRT takes bytes only to convert them.
        normalised = (image.float() - self.offset.float()) * self.scale.float()
        return self.encoder.shallow(normalised.to(self.scale.dtype).permute(0, 3, 1, 2))


class CommonPart(nn.Module):
    """Enc_hi, the projection, L2 normalisation, and the half of the FFM's 1x1 convolution that reads F_co.

    That convolution is linear in its two inputs, so that what F_co brings to it is computed once for each keyframe
    and not again on each frame that reuses it: a tenth of such a frame's work.
    """

    def __init__(self, model: DCFM) -> None:
        super().__init__()
        self.encode = model.encode_common
        self.network = model  # registers what `encode` runs
        channels, conv = model.config.common_channels, model.fusion.conv
        assert conv.bias is not None
        self.mix = _conv1x1(conv.weight[:, :channels], conv.bias)

    def forward(self, shallow: Tensor) -> Tensor:
        return self.mix(self.encode(shallow))


class LogitsPart(nn.Module):
    """The half of the fusion that reads F_in, and the head."""

    def __init__(self, model: DCFM) -> None:
        super().__init__()
        fusion = model.fusion
        assert not isinstance(fusion, FineFusion)
        self.independent = fusion.independent
        self.head = model.head
        self.resize_first = model.config.resize_first
        self.mix = _conv1x1(fusion.conv.weight[:, -model.config.shallow_channels :], None)

    def forward(self, common: Tensor, shallow: Tensor) -> Tensor:
        joined = common + self.mix(self.independent(shallow, (common.shape[2], common.shape[3]), self.resize_first))
        return self.head(unit_length(F.relu(joined)))


class FineLogitsPart(nn.Module):
    """As `LogitsPart`, of the fine fusion: logits are on F_in's grid."""

    def __init__(self, model: DCFM) -> None:
        super().__init__()
        assert isinstance(model.fusion, FineFusion)
        self.fusion = model.fusion
        self.head = model.head

    def forward(self, common: Tensor, shallow: Tensor) -> Tensor:
        independent = self.fusion.independent(shallow, (common.shape[2], common.shape[3]), False)
        return self.head(self.fusion.join_halves(common, independent))


class KeyframePart(nn.Module):
    """A keyframe: (B, h, w, 3) uint8 RGB -> common and logits."""

    def __init__(self, parts: Parts) -> None:
        super().__init__()
        self.shallow, self.common, self.logits = parts.shallow, parts.common, parts.logits

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        shallow = self.shallow(image)
        common = self.common(shallow)
        return common, self.logits(common, shallow)


class ReusedPart(nn.Module):
    """A frame that reuses a common feature as it is -> logits."""

    def __init__(self, parts: Parts) -> None:
        super().__init__()
        self.shallow, self.logits = parts.shallow, parts.logits

    def forward(self, image: Tensor, common: Tensor) -> Tensor:
        return self.logits(common, self.shallow(image))


class MovedPart(nn.Module):
    """A frame that reuses a common feature moved by a sampling grid -> logits."""

    def __init__(self, parts: Parts) -> None:
        super().__init__()
        self.reused, self.align = ReusedPart(parts), parts.align

    def forward(self, image: Tensor, common: Tensor, grid: Tensor) -> Tensor:
        return self.reused(image, self.align(common, grid))


class AlignPart(nn.Module):
    """The keyframe's common feature where it lies in this frame; see `model.alignment.aligned`."""

    def forward(self, common: Tensor, grid: Tensor) -> Tensor:
        return aligned(common, grid)


class ChangePart(nn.Module):
    """How much F_in differs from a keyframe's, both (1, C, h, w): 1 - the mean cosine of both, averaged over 8x8.

    In float32 whatever the features are in: bfloat16 would tell a picture from itself.
    """

    def forward(self, shallow: Tensor, reference: Tensor) -> Tensor:
        one, other = (F.avg_pool2d(feature.float(), 8, ceil_mode=True) for feature in (shallow, reference))
        cosine = (F.normalize(one, dim=1) * F.normalize(other, dim=1)).sum(1)
        return (1 - cosine).mean().clamp(min=0)


def _conv1x1(weight: Tensor, bias: Tensor | None) -> nn.Conv2d:
    outputs, inputs = weight.shape[:2]
    conv = nn.Conv2d(inputs, outputs, 1, bias=bias is not None)
    conv.weight = nn.Parameter(weight.detach().clone())
    if bias is not None:
        conv.bias = nn.Parameter(bias.detach().clone())
    return conv
