"""The training loop of DCFM: read it from the top."""

from __future__ import annotations

import dataclasses
import logging
import time
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path

import torch
import torch.nn.functional as F
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.data import DataLoader, Subset

from dcfm_ros.datasets.folder import LabelledFolder
from dcfm_ros.evaluation.metrics import SegmentationScore
from dcfm_ros.imaging.frame import Frame
from dcfm_ros.imaging.geometry import network_size, resize_to_network
from dcfm_ros.model import DCFM, create_model, save_weights
from dcfm_ros.model.pretrained import initialise
from dcfm_ros.training.losses import dcfm_losses
from dcfm_ros.training.pairs import Augmentation, Pair, PairDataset, Source, class_frequencies
from dcfm_ros.training.recipe import Recipe, SourceRecipe

log = logging.getLogger(__name__)


def train(recipe: Recipe) -> Path:
    """Train as the recipe says and return the path of the weights.

    Goes on from `<output>/checkpoint.pt` if it is there, with the results of a run that was never stopped.

    Raises ValueError (DatasetError, WeightsError) when data, initial weights or that checkpoint cannot be used.
    """
    torch.manual_seed(recipe.seed)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    output = Path(recipe.output)
    output.mkdir(parents=True, exist_ok=True)

    model = create_model(recipe.model)
    if recipe.init:
        initialise(model, Path(recipe.data_root) / recipe.init)
    model.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    averaged = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(recipe.average), use_buffers=True)
    optimizer = _optimizer(model, recipe)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _learning_rate_factor(step, recipe))
    dataset, class_weights = _data(model, recipe)
    class_weights = class_weights.to(device)

    checkpoint = output / "checkpoint.pt"
    step = 0
    if checkpoint.exists():
        try:
            state = torch.load(checkpoint, map_location=device, weights_only=True)
            model.load_state_dict(state["model"])
            averaged.load_state_dict(state["averaged"])
            optimizer.load_state_dict(state["optimizer"])
            schedule.load_state_dict(state["schedule"])
            step = state["step"]
        except Exception as error:  # torch raises a dozen types here
            problem = (str(error).splitlines() or [type(error).__name__])[0]
            raise ValueError(f"{checkpoint} is not of a run of this recipe; move it away: {problem}") from error
        log.info("going on from step %d of %s", step, checkpoint)

    model.train()
    began, first = time.monotonic(), step
    for batch in _batches(dataset, recipe, step):
        torch.manual_seed(recipe.seed * 1_000_003 + step)  # dropout depends on the step alone, as the pairs do
        labelled, neighbour, target = (tensor.to(device) for tensor in batch)
        labelled, neighbour = (t.contiguous(memory_format=torch.channels_last) for t in (labelled, neighbour))
        with torch.autocast(device.type, torch.bfloat16, enabled=recipe.bf16):
            losses = dcfm_losses(model, labelled, neighbour, target, class_weights)
        optimizer.zero_grad(set_to_none=True)
        losses.total.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        optimizer.step()
        schedule.step()
        step += 1
        averaged.update_parameters(model)

        if step % 10 == 0:
            pace = (time.monotonic() - began) / (step - first)
            values = " ".join(f"{name} {value.item():.4f}" for name, value in losses._asdict().items())
            log.info("step %d/%d %s (%.2f s/step)", step, recipe.steps, values, pace)
        if step % recipe.checkpoint_every == 0 or step == recipe.steps:
            state = {
                "model": model.state_dict(),
                "averaged": averaged.state_dict(),
                "optimizer": optimizer.state_dict(),
                "schedule": schedule.state_dict(),
                "step": step,
            }
            torch.save(state, checkpoint.with_suffix(".partial"))
            checkpoint.with_suffix(".partial").replace(checkpoint)
        if step % recipe.validate_every == 0 and step < recipe.steps:
            _validated(averaged, recipe, step)

    weights = output / "weights.safetensors"
    save_weights(_plain(averaged), weights, half=True, provenance=_validated(averaged, recipe, step))
    return weights


@torch.inference_mode()
def validate(model: DCFM, recipe: Recipe) -> SegmentationScore:
    """Full-frame accuracy on the held-out stems of the recipe's sources, at the labels' own size."""
    score = SegmentationScore(model.config.num_classes)
    device = next(model.parameters()).device
    mean, std = (torch.tensor(v, device=device)[:, None, None] for v in (model.config.mean, model.config.std))
    for source in (s for s in recipe.sources if s.hold_out):
        folder = _folder(source, model, recipe)
        for index in (i for i in range(len(folder)) if fnmatch(folder.stem(i), source.hold_out)):
            image, label = folder.image(index), torch.from_numpy(folder.label(index)).long()
            size = network_size(image.shape[0], image.shape[1], model.config.input_size, model.config.size_multiple)
            pixels = torch.from_numpy(resize_to_network(Frame(image), size)).to(device).permute(2, 0, 1) / 255
            logits = model(((pixels - mean) / std)[None])
            ids = F.interpolate(logits, label.shape, mode="bilinear", align_corners=False).argmax(1)[0]
            score.update(ids.cpu(), label)
    return score


def _data(model: DCFM, recipe: Recipe) -> tuple[PairDataset, torch.Tensor]:
    sources = [Source(_folder(s, model, recipe), model.config, s.max_distance, s.hold_out) for s in recipe.sources]
    shares = [s.share for s in recipe.sources]
    augmentation = Augmentation(recipe.crop, recipe.scale, recipe.rotation, recipe.colour, recipe.focus)
    dataset = PairDataset(sources, shares, model.config, augmentation, recipe.steps * recipe.batch, recipe.seed)
    frequencies = torch.from_numpy(class_frequencies(sources, shares, model.config.num_classes)).float()
    weights = frequencies.clamp(min=1e-4) ** -recipe.class_balance
    return dataset, weights / (weights * frequencies).sum()


def _folder(source: SourceRecipe, model: DCFM, recipe: Recipe) -> LabelledFolder:
    return LabelledFolder(Path(recipe.data_root) / source.path, model.config.num_classes)


def _batches(dataset: PairDataset, recipe: Recipe, step: int) -> Iterator[Pair]:
    remaining = Subset(dataset, range(step * recipe.batch, len(dataset)))
    return iter(DataLoader(remaining, recipe.batch))


def _optimizer(model: DCFM, recipe: Recipe) -> torch.optim.Optimizer:
    encoder = list(model.encoder.parameters())
    known = {id(parameter) for parameter in encoder}
    decoder = [parameter for parameter in model.parameters() if id(parameter) not in known]
    groups = [{"params": encoder, "lr": recipe.encoder_lr}, {"params": decoder, "lr": recipe.decoder_lr}]
    return torch.optim.AdamW(groups, weight_decay=recipe.weight_decay)


def _learning_rate_factor(step: int, recipe: Recipe) -> float:
    if step < recipe.warmup:
        return (step + 1) / recipe.warmup
    progress = (step - recipe.warmup) / max(1, recipe.steps - recipe.warmup)
    return (1 - min(progress, 1.0)) ** recipe.poly_power


def _plain(averaged: AveragedModel) -> DCFM:
    model = averaged.module
    assert isinstance(model, DCFM)
    return model.eval()


def _validated(averaged: AveragedModel, recipe: Recipe, step: int) -> dict[str, object]:
    """What the weights are made from, and how good they are where the recipe holds frames out."""
    made_from = {"recipe": dataclasses.asdict(recipe) | {"data_root": "", "output": ""}, "step": step}
    if not any(source.hold_out for source in recipe.sources):
        return made_from
    score = validate(_plain(averaged), recipe)
    miou, per_class = round(score.miou(), 4), [round(value, 4) for value in score.per_class()]
    log.info("step %d mIoU %.4f per class %s", step, miou, per_class)
    return made_from | {"held_out_miou": miou, "held_out_per_class": per_class}
