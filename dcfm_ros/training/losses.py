"""DCFM's losses over a symmetric pair (section "Symmetric training" of the paper)."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from dcfm_ros.imaging.labels import UNLABELLED
from dcfm_ros.model import DCFM

REUSED_WEIGHT = 0.4
CONSISTENCY_WEIGHT = 10.0


class Losses(NamedTuple):
    """The three terms, unweighted, and the total that is minimised; each a scalar tensor.

    individual: CE of the labelled frame with its own common feature. reused: CE with the neighbour's common feature.
    consistency: MSE between both frames' fused features where their classes agree.
    """

    total: Tensor
    individual: Tensor
    reused: Tensor
    consistency: Tensor


def dcfm_losses(
    model: DCFM,
    labelled: Tensor,
    neighbour: Tensor,
    target: Tensor,
    class_weights: Tensor | None = None,
    resize_first: bool | None = None,
    pixel_share: Tensor | float = 1.0,
) -> Losses:
    """One forward pass over pairs.

    labelled, neighbour: (B, 3, H, W) normalised images. target: (B, H, W) int64 ids of `labelled`, 255 ignored.
    class_weights: (classes,) weights of the cross-entropy, or None. resize_first: as in `DCFM.fuse`.
    pixel_share: factor of the cross-entropies, for a batch that is a part of a larger one: its labelled pixels times
    the number of parts over those of all parts.
    """
    batch = labelled.shape[0]
    shallow = model.encode_shallow(torch.cat([neighbour, labelled]))
    common = model.encode_common(shallow)
    shallow_u, shallow_l = shallow[:batch], shallow[batch:]
    common_u, common_l = common[:batch], common[batch:]
    # Three separate calls: batch norm takes the statistics of each on its own, as in the paper.
    fused_l = model.fused_feature(common_l, shallow_l, resize_first)
    fused_l_reused = model.fused_feature(common_u, shallow_l, resize_first)
    fused_u = model.fused_feature(common_u, shallow_u, resize_first)
    logits_l, logits_l_reused, logits_u = model.head(fused_l), model.head(fused_l_reused), model.head(fused_u)

    individual = pixel_share * cross_entropy(logits_l, target, class_weights)
    reused = pixel_share * cross_entropy(logits_l_reused, target, class_weights)
    agree = (logits_l.argmax(1, keepdim=True) == logits_u.argmax(1, keepdim=True)).to(fused_l.dtype)
    consistency = F.mse_loss(agree * fused_l, agree * fused_u)
    total = individual + REUSED_WEIGHT * reused + CONSISTENCY_WEIGHT * consistency
    return Losses(total, individual, reused, consistency)


def cross_entropy(logits: Tensor, target: Tensor, class_weights: Tensor | None = None) -> Tensor:
    """Mean cross-entropy of (B, C, h, w) logits, bilinearly brought to the target's (B, H, W).

    255 is ignored; 0 where every pixel is.
    """
    logits = F.interpolate(
        logits.float() if logits.dtype is torch.bfloat16 else logits,
        target.shape[-2:],
        mode="bilinear",
        align_corners=False,
    )
    if (target == UNLABELLED).all():
        return logits.sum() * 0
    return F.cross_entropy(logits, target, weight=class_weights, ignore_index=UNLABELLED)
