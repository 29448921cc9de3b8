"""Batch normalisation folded into the convolution before it, for inference."""

from __future__ import annotations

from itertools import pairwise

from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval


def fold_batch_norm(model: nn.Module) -> None:
    """Fold every BatchNorm2d into the Conv2d registered directly before it in the same module, in place.

    All of this package's networks register them in the order they run. The model computes the same function, up to
    rounding, and can no longer be trained. Raises ValueError when the model is in training mode.
    """
    if model.training:
        raise ValueError("the model is in training mode; batch norm can be folded only in evaluation mode")
    for parent in list(model.modules()):
        children = list(parent.named_children())
        for (conv_name, conv), (norm_name, norm) in pairwise(children):
            if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                setattr(parent, conv_name, fuse_conv_bn_eval(conv, norm))
                setattr(parent, norm_name, nn.Identity())
