"""A loss that stands for mIoU itself: of a rare class's few pixels it makes as much as of the road."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from dcfm_ros.imaging.labels import UNLABELLED
from dcfm_ros.training.cross_entropy import precise


def soft_jaccard(logits: Tensor, target: Tensor) -> Tensor:
    """1 - the mean over classes of their IoU in a batch, each pixel counted by its likelihoods (Rahman and Wang, 2016).

    logits: (B, C, h, w). target: (B, H, W) ids, 255 ignored; of each cell of the logits' grid its middle pixel counts,
    which is a sixteenth of the pixels on a 1/4 grid and the time of none. Classes that no such pixel has are left out,
    so a loss over few frames is over few classes; 0 where there is none.
    """
    logits = precise(logits)
    ids = F.interpolate(target[:, None].to(torch.uint8), logits.shape[-2:], mode="nearest-exact")[:, 0].long()
    labelled = ids != UNLABELLED
    found = logits.movedim(1, -1)[labelled].softmax(1)
    expected = F.one_hot(ids[labelled], logits.shape[1])
    both, sizes = (found * expected).sum(0), expected.sum(0)
    if not sizes.any():
        return logits.sum() * 0
    iou = both / (found.sum(0) + sizes - both)
    return 1 - iou[sizes > 0].mean()
