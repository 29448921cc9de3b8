"""One step of training: the losses of its micro-batches, over all processes, and the optimiser's move."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from accelerate import Accelerator
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR

from dcfm_ros.imaging.labels import UNLABELLED
from dcfm_ros.model import DCFM
from dcfm_ros.training.depthwise import quicken_depthwise
from dcfm_ros.training.losses import Losses, LossOptions, dcfm_losses
from dcfm_ros.training.pairs import Pair
from dcfm_ros.training.recipe import Recipe


class TrainingStep:
    """A step of training: it changes the model in place, which must be on the accelerator's device.

    On a CPU in bf16 the model's depthwise convolutions are quickened, see `depthwise`.

    class_weights: (classes,) float32. optimizer, schedule: theirs is the state that a checkpoint keeps.
    """

    def __init__(self, model: DCFM, class_weights: Tensor, recipe: Recipe, accelerator: Accelerator) -> None:
        self._model = model
        self._class_weights = class_weights.to(accelerator.device)
        self._recipe = recipe
        self._accelerator = accelerator
        if accelerator.device.type == "cpu" and recipe.precision == "bf16":
            quicken_depthwise(model)
        optimizer = _optimizer(model, recipe)
        self.schedule = LambdaLR(optimizer, _learning_rate_factors(optimizer, recipe))
        losses_of = _Losses(_with_batch_norm(model, recipe), self._class_weights, recipe)
        self._losses_of, self.optimizer = accelerator.prepare(losses_of, optimizer)

    def __call__(self, step: int, micro_batches: Sequence[Pair]) -> list[Losses]:
        """Move the weights once, by this process's micro-batches of step number `step`; the losses of each.

        Raises ValueError, before the weights are moved, when a loss is not finite.
        """
        accelerator, recipe = self._accelerator, self._recipe
        self._losses_of.train()
        _freeze(self._model, recipe)
        on_device = [_on_device(pair, accelerator.device) for pair in micro_batches]
        shares = _pixel_shares([_targets(pair, recipe) for pair in on_device], self._class_weights, accelerator)
        parts: list[Losses] = []
        for number, (micro_batch, share) in enumerate(zip(on_device, shares, strict=True)):
            _seed(recipe, step, number, accelerator.process_index)
            with accelerator.accumulate(self._losses_of):
                losses: Losses = self._losses_of(micro_batch, share)
                _check_finite(losses, step)
                accelerator.backward(losses.total)
                parts.append(losses)
                if accelerator.sync_gradients and recipe.clip_gradient:
                    accelerator.clip_grad_norm_(self._model.parameters(), recipe.clip_gradient)
                self.optimizer.step()
                self.optimizer.zero_grad()
        self.schedule.step()
        return parts


def _check_finite(losses: Losses, step: int) -> None:
    """The losses themselves: that fp16's scaled gradients overflow now and then is the scaler's business."""
    if not losses.total.isfinite():
        values = ", ".join(f"{name} {value.item():.4g}" for name, value in zip(losses._fields, losses, strict=True))
        raise ValueError(
            f"the loss of step {step + 1} is not finite ({values}); expected numbers. A lower learning rate "
            "(encoder_lr, decoder_lr) may help; the last checkpoint stays as it is"
        )


def mean_losses(parts: Sequence[Losses], accelerator: Accelerator) -> dict[str, float]:
    """Each loss over the micro-batches and processes of a step."""
    columns = zip(Losses._fields, zip(*parts, strict=True), strict=True)
    means = {f"loss/{name}": torch.stack(values).detach().mean() for name, values in columns}
    return {name: value.item() for name, value in accelerator.reduce(means, reduction="mean").items()}


class _Losses(nn.Module):
    """The losses as one forward pass: what distributed training hooks into."""

    def __init__(self, model: DCFM, class_weights: Tensor, recipe: Recipe) -> None:
        super().__init__()
        self.model = model
        self.options = _loss_options(recipe)
        self.both_labelled = recipe.both_labelled
        self.register_buffer("class_weights", class_weights, persistent=False)

    def forward(self, pair: Pair, pixel_share: Tensor) -> Losses:
        return dcfm_losses(
            self.model,
            pair.labelled,
            pair.neighbour,
            pair.target,
            self.get_buffer("class_weights"),
            pixel_share=pixel_share,
            options=self.options,
            neighbour_target=pair.neighbour_target if self.both_labelled else None,
            grids=pair.grids,
        )


def _loss_options(recipe: Recipe) -> LossOptions:
    ohem = recipe.ohem if recipe.ohem != 1 else None
    return LossOptions(recipe.reused, recipe.consistency, recipe.distillation, recipe.jaccard, ohem)


def _on_device(batch: Pair, device: torch.device) -> Pair:
    def sent(tensor: Tensor) -> Tensor:
        return tensor.to(device, non_blocking=True)

    channels_last = torch.channels_last
    labelled, neighbour = (
        sent(image).contiguous(memory_format=channels_last) for image in (batch.labelled, batch.neighbour)
    )
    grids = None if batch.grids is None else sent(batch.grids)
    return Pair(labelled, neighbour, sent(batch.target), sent(batch.neighbour_target), grids)


def _targets(pair: Pair, recipe: Recipe) -> Tensor:
    """The labels that the step learns from."""
    return torch.cat([pair.target, pair.neighbour_target]) if recipe.both_labelled else pair.target


def _pixel_shares(targets: list[Tensor], class_weights: Tensor, accelerator: Accelerator) -> Tensor:
    """For each micro-batch, its part of the step's labelled pixels times the number of parts, over all processes.

    It makes the mean of the parts' mean losses the mean over all pixels, however unevenly these are labelled.
    """
    weights = F.pad(class_weights, (0, UNLABELLED + 1 - len(class_weights)))
    own = torch.stack([weights[target].sum() for target in targets])
    total = accelerator.reduce(own.sum(), reduction="sum")
    return own * len(targets) * accelerator.num_processes / total.clamp(min=1e-12)


def _seed(recipe: Recipe, step: int, micro_batch: int, process: int) -> None:
    """Dropout depends on the place in the run alone, as the pairs do. torch takes no seed of more than 64 bits."""
    torch.manual_seed((((recipe.seed * 1_000_003 + step) * 1009 + micro_batch) * 1009 + process) % 2**63)


def _with_batch_norm(model: DCFM, recipe: Recipe) -> DCFM:
    """Statistics over all processes when the recipe says "sync"; that needs CUDA."""
    if recipe.batch_norm != "sync":
        return model
    return nn.SyncBatchNorm.convert_sync_batchnorm(model)


def _freeze(model: DCFM, recipe: Recipe) -> None:
    if recipe.batch_norm == "frozen":
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eval()


def _optimizer(model: DCFM, recipe: Recipe) -> torch.optim.Optimizer:
    encoder = list(model.encoder.parameters())
    known = {id(parameter) for parameter in encoder}
    decoder = [parameter for parameter in model.parameters() if id(parameter) not in known]
    groups = [{"params": encoder, "lr": recipe.encoder_lr}, {"params": decoder, "lr": recipe.decoder_lr}]
    if recipe.optimizer == "sgd":
        return torch.optim.SGD(groups, momentum=0.9, weight_decay=recipe.weight_decay)
    return torch.optim.AdamW(groups, weight_decay=recipe.weight_decay)


def _learning_rate_factors(optimizer: torch.optim.Optimizer, recipe: Recipe) -> list:
    """Linear warm-up, then the poly schedule down to `final_lr`; one factor for each group of parameters."""
    warmup = min(recipe.warmup, math.ceil(recipe.steps / 2))

    def factor(step: int, floor: float) -> float:
        if step < warmup:
            return (step + 1) / warmup
        progress = (step - warmup) / max(1, recipe.steps - warmup)
        return floor + (1 - floor) * (1 - min(progress, 1.0)) ** recipe.poly_power

    floors = [recipe.final_lr / group["lr"] if group["lr"] else 0.0 for group in optimizer.param_groups]
    return [lambda step, floor=floor: factor(step, floor) for floor in floors]
