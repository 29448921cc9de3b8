"""A start for a block that no ImageNet weights fit: it learns to give what the block gave that it stands in for."""

from __future__ import annotations

import logging

import torch
from torch import Tensor

from dcfm_ros.model import DCFM
from dcfm_ros.model.backbones.efficientnet_lite import EfficientNetLiteEncoder, InvertedResidual
from dcfm_ros.model.installed import initial_weights
from dcfm_ros.model.pretrained import imagenet_first_block
from dcfm_ros.training.pairs import PairDataset
from dcfm_ros.training.recipe import Recipe

log = logging.getLogger(__name__)

_PICTURES = 80
_BATCH = 2
_STEPS = 1000
_RATE = 3e-2


def fit_what_no_weights_fit(model: DCFM, pairs: PairDataset, recipe: Recipe) -> None:
    """Fit the fused block of an EfficientNet-Lite that begins from ImageNet weights; leave every other network alone.

    The same recipe gives the same block, in every process of a run.
    """
    if not recipe.init:
        return
    teacher = imagenet_first_block(model, initial_weights(recipe.init, recipe.data_root))
    if teacher is not None:
        explained = imitate_first_block(model, teacher, pairs)
        log.info("the first block of stage 2 begins with %.0f %% of what its ImageNet weights give", 100 * explained)


def imitate_first_block(model: DCFM, teacher: InvertedResidual, pairs: PairDataset) -> float:
    """Fit an EfficientNet-Lite encoder's fused block to `teacher`, on pictures of `pairs`; the rest of it stays.

    Returns how much of the teacher's variance it gives in the end, 0 to 1.
    """
    assert isinstance(model.encoder, EfficientNetLiteEncoder)
    block = model.encoder.fused_block
    lessons = _lessons(model.encoder, teacher.to(next(block.parameters()).device), pairs)
    spread = torch.stack([wanted.var(dim=(0, 2, 3), keepdim=True) for _, wanted in lessons]).mean(0)
    optimizer = torch.optim.Adam(block.parameters(), _RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, _STEPS)
    losses = []
    block.train()
    for step in range(_STEPS):
        before, wanted = lessons[step % len(lessons)]
        loss = ((block.projected(block.expanded(before)) - wanted) ** 2 / spread).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        losses.append(loss.detach())
    block.eval()
    return 1 - torch.stack(losses[-len(lessons) :]).mean().item()


@torch.no_grad()
def _lessons(
    encoder: EfficientNetLiteEncoder, teacher: InvertedResidual, pairs: PairDataset
) -> list[tuple[Tensor, Tensor]]:
    """Return what the block reads of batches of pictures, and what it should give.

    (B, 16, h/2, w/2) and (B, 24, h/4, w/4).
    """
    device = next(encoder.parameters()).device
    lessons = []
    count = min(_PICTURES, len(pairs))
    for first in range(0, count, _BATCH):
        images = torch.stack([pairs[index].labelled for index in range(first, min(first + _BATCH, count))])
        before = encoder.before_first_block(images.to(device, memory_format=torch.channels_last))
        lessons.append((before, teacher(before)))
    return lessons
