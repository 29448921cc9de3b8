"""DCFM's losses over a symmetric pair (section "Symmetric training" of the paper), and two that it does not have."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from dcfm_ros.model import DCFM
from dcfm_ros.model.alignment import aligned
from dcfm_ros.training.cross_entropy import cross_entropy, precise
from dcfm_ros.training.jaccard import soft_jaccard


@dataclass(frozen=True)
class LossOptions:
    """The terms that are minimised; the defaults are the published loss.

    reused, consistency, distillation: weights of the terms in `Losses`; that of `individual` is 1. At 0, consistency
    and distillation are not computed; without consistency the neighbour's own features do not reach the fusion.
    jaccard: how much `soft_jaccard` adds to each cross-entropy. As a whole batch is its unit, micro-batches change it.
    ohem: the fraction of the labelled pixels, the hardest ones, that both cross-entropies are a mean over; None is all.
    The hardest are chosen within each process's micro-batch, so that how a batch is split changes which they are.

    Raises ValueError for a weight that is negative or not finite, or an `ohem` outside (0, 1].
    """

    reused: float = 0.4
    consistency: float = 10.0
    distillation: float = 0.0
    jaccard: float = 0.0
    ohem: float | None = None

    def __post_init__(self) -> None:
        for name in ("reused", "consistency", "distillation", "jaccard"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ValueError(f"the weight {name!r} is {getattr(self, name)}; expected a number of at least 0")
        if self.ohem is not None and not 0 < self.ohem <= 1:
            raise ValueError(f"ohem is {self.ohem}; expected None or a fraction above 0 and at most 1")


class Losses(NamedTuple):
    """The total that is minimised, and its terms, unweighted; each a scalar tensor, 0 where it is not computed.

    individual: CE of the labelled frame with its own common feature. reused: CE with the neighbour's common feature.
    `jaccard` counts in both.
    consistency: MSE between both frames' fused features where their classes agree. distillation: see `distillation`,
    from the labelled frame with its own common feature to that with the neighbour's.
    """

    total: Tensor
    individual: Tensor
    reused: Tensor
    consistency: Tensor
    distillation: Tensor


def dcfm_losses(
    model: DCFM,
    labelled: Tensor,
    neighbour: Tensor,
    target: Tensor,
    class_weights: Tensor | None = None,
    resize_first: bool | None = None,
    pixel_share: Tensor | float = 1.0,
    options: LossOptions = LossOptions(),
    neighbour_target: Tensor | None = None,
    grids: Tensor | None = None,
) -> Losses:
    """One forward pass over pairs.

    labelled, neighbour: (B, 3, H, W) normalised images. target: (B, H, W) int64 ids of `labelled`, 255 ignored.
    class_weights: (classes,) weights of the cross-entropy, or None. resize_first: as in `DCFM.fuse`.
    pixel_share: factor of the cross-entropies, for a batch that is a part of a larger one: its labelled pixels times
    the number of parts over those of all parts. neighbour_target: ids of `neighbour`, as `target`; with them both
    frames are learnt from alike: cross-entropies and distillation are means over both, each the other's keyframe.
    grids: (B, 2, h, w, 2), by which the neighbour's common feature is moved before the labelled frame reuses it, and
    the labelled frame's before the neighbour does; see `pairs.Pair`. None: reused where they lie, as published.
    """
    batch = labelled.shape[0]
    shallow = model.encode_shallow(torch.cat([neighbour, labelled]))
    common = model.encode_common(shallow)
    common_u, common_l = common[:batch], common[batch:]
    grid_l, grid_u = (None, None) if grids is None else grids.unbind(1)
    # What the fusion reads of a frame does not depend on the common feature that it is joined with.
    order = model.config.resize_first if resize_first is None else resize_first
    independent = model.fusion.independent(shallow, (common.shape[2], common.shape[3]), order)
    independent_u, independent_l = independent[:batch], independent[batch:]
    # Separate calls: batch norm takes the statistics of each on its own, as in the paper.
    fused_l = model.fusion.join(common_l, independent_l)
    fused_l_reused = model.fusion.join(_moved(common_u, grid_l), independent_l)
    logits, logits_reused = model.head(fused_l), model.head(fused_l_reused)
    consistency = distilled = logits.new_zeros((), dtype=torch.float32)
    if options.consistency or neighbour_target is not None:
        fused_u = model.fusion.join(common_u, independent_u)
        logits_u = model.head(fused_u)
        if options.consistency:
            consistency = _consistency(fused_l, fused_u, logits, logits_u)
        if neighbour_target is not None:
            logits_u_reused = model.head(model.fusion.join(_moved(common_l, grid_u), independent_u))
            logits, logits_reused = torch.cat([logits, logits_u]), torch.cat([logits_reused, logits_u_reused])
            target = torch.cat([target, neighbour_target])

    individual, reused = (
        pixel_share * cross_entropy(found, target, class_weights, options.ohem)
        + (options.jaccard * soft_jaccard(found, target) if options.jaccard else 0)
        for found in (logits, logits_reused)
    )
    if options.distillation:
        distilled = distillation(logits, logits_reused)
    weighted = options.reused * reused + options.consistency * consistency + options.distillation * distilled
    return Losses(individual + weighted, individual, reused, consistency, distilled)


def distillation(teacher: Tensor, student: Tensor) -> Tensor:
    """KL(teacher || student) of (B, C, h, w) logits at temperature 1, mean over pixels; no gradient into the teacher.

    Needs no label: it holds on every pixel.
    """
    expected, found = precise(teacher).detach().log_softmax(1), precise(student).log_softmax(1)
    return F.kl_div(found, expected, reduction="none", log_target=True).sum(1).mean()


def _moved(common: Tensor, grid: Tensor | None) -> Tensor:
    return common if grid is None else aligned(common, grid)


def _consistency(fused_l: Tensor, fused_u: Tensor, logits_l: Tensor, logits_u: Tensor) -> Tensor:
    """MSE of two (B, C', h, w) features where the classes agree, over all elements; no gradient through the classes."""
    mask = (logits_l.argmax(1, keepdim=True) == logits_u.argmax(1, keepdim=True)).to(fused_l.dtype)
    return F.mse_loss(mask * fused_l, mask * fused_u)
