"""The training loop of DCFM: read it from the top. Processes, devices and precision are Accelerate's business."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.data import DataLoader

from dcfm_ros.datasets.dataset import Dataset
from dcfm_ros.datasets.open import open_dataset
from dcfm_ros.evaluation.metrics import SegmentationScore
from dcfm_ros.imaging.frame import Frame
from dcfm_ros.imaging.geometry import network_size, resize_to_network
from dcfm_ros.imaging.labels import UNLABELLED, labels_for
from dcfm_ros.model import DCFM, create_model, save_weights
from dcfm_ros.model.pretrained import initialise
from dcfm_ros.training.augmentation import Augmentation
from dcfm_ros.training.losses import Losses, LossOptions, dcfm_losses
from dcfm_ros.training.pairs import Pair, PairDataset
from dcfm_ros.training.recipe import Recipe, SourceRecipe
from dcfm_ros.training.sources import Source, class_frequencies

log = logging.getLogger(__name__)


def train(recipe: Recipe) -> Path:
    """Train as the recipe says and return the path of the weights: the best on held-out frames, else the last.

    Goes on from `<output>/checkpoint.pt` if it is there, with the results of a run that was never stopped. Started by
    torchrun or `accelerate launch`, every process computes its part of each batch.

    Raises ValueError (DatasetError, WeightsError) when data, initial weights or that checkpoint cannot be used.
    """
    torch.manual_seed(recipe.seed)
    output = Path(recipe.output)
    output.mkdir(parents=True, exist_ok=True)
    AcceleratorState._reset_state()  # it outlives an earlier run of this process, with that run's precision
    accelerator = Accelerator(
        mixed_precision=recipe.precision if recipe.precision != "fp32" else "no",
        gradient_accumulation_steps=recipe.accumulate,
        log_with="tensorboard",
        project_dir=output,
    )
    accelerator.init_trackers("tensorboard")

    model = _model(recipe)
    if recipe.init:
        left = initialise(model, Path(recipe.data_root) / recipe.init)
        log.info("%d tensors keep their random values: %s", len(left), ", ".join(left[:5]))
    model.to(accelerator.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    averaged = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(recipe.average), use_buffers=True)
    dataset, class_weights = _data(model, recipe)
    optimizer = _optimizer(model, recipe)
    schedule = LambdaLR(optimizer, _learning_rate_factors(optimizer, recipe))
    losses_of = _Losses(_with_batch_norm(model, recipe), class_weights.to(accelerator.device), recipe)
    losses_of, optimizer = accelerator.prepare(losses_of, optimizer)
    state = _State(model, averaged, optimizer, schedule)
    checkpoint = output / "checkpoint.pt"
    if checkpoint.exists():
        state.load(checkpoint, accelerator.device)

    batches = _batches(dataset, recipe, state.step, accelerator)
    with _progress(accelerator) as progress:
        task = progress.add_task("training", total=recipe.steps, completed=state.step)
        while state.step < recipe.steps:
            losses_of.train()
            _freeze(model, recipe)
            micro_batches = [_on_device(next(batches), accelerator.device) for _ in range(recipe.accumulate)]
            parts: list[Losses] = []
            shares = _pixel_shares([_targets(pair, recipe) for pair in micro_batches], class_weights, accelerator)
            for number, (micro_batch, share) in enumerate(zip(micro_batches, shares, strict=True)):
                _seed(recipe, state.step, number, accelerator.process_index)
                with accelerator.accumulate(losses_of):
                    losses = losses_of(micro_batch, share)
                    accelerator.backward(losses.total)
                    parts.append(losses)
                    if accelerator.sync_gradients and recipe.clip_gradient:
                        accelerator.clip_grad_norm_(model.parameters(), recipe.clip_gradient)
                    optimizer.step()
                    optimizer.zero_grad()
            schedule.step()
            averaged.update_parameters(model)
            state.step += 1

            if state.step % recipe.log_every == 0:
                values = _mean_losses(parts, accelerator)
                accelerator.log(values | {"learning_rate": schedule.get_last_lr()[0]}, step=state.step)
                progress.update(task, description=f"loss {values['loss/total']:.3f}")
            progress.update(task, completed=state.step)
            if accelerator.is_main_process:
                last = state.step == recipe.steps
                if state.step % recipe.validate_every == 0 or last:
                    _validate_and_keep_best(state, recipe, accelerator)
                if state.step % recipe.checkpoint_every == 0 or last:
                    state.save(checkpoint)
    accelerator.wait_for_everyone()
    accelerator.end_training()
    return output / "weights.safetensors"


@torch.inference_mode()
def validate(model: DCFM, recipe: Recipe) -> SegmentationScore:
    """Full-frame accuracy on the held-out stems of the recipe's sources, at the labels' own size."""
    score = SegmentationScore(model.config.num_classes)
    device = next(model.parameters()).device
    mean, std = (torch.tensor(v, device=device)[:, None, None] for v in (model.config.mean, model.config.std))
    for source in (s for s in recipe.sources if s.hold_out):
        dataset = _dataset(source, model, recipe)
        for clip, index in dataset.labelled():
            if not fnmatch(clip.frames[index].stem, source.hold_out):
                continue
            image, label = dataset.read(clip, index)
            assert label is not None
            size = network_size(image.shape[0], image.shape[1], model.config.input_size, model.config.size_multiple)
            pixels = torch.from_numpy(resize_to_network(Frame(image), size)).to(device).permute(2, 0, 1) / 255
            shallow = model.encode_shallow(((pixels - mean) / std)[None])
            logits = model.fuse(model.encode_common(shallow), shallow)
            ids = F.interpolate(logits, label.shape, mode="bilinear", align_corners=False).argmax(1)[0]
            score.update(ids.cpu(), label)
    return score


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
        )


class _State:
    """What a run is made of between two steps; `best` is the highest mIoU on held-out frames, -1 before the first."""

    def __init__(self, model: DCFM, averaged: AveragedModel, optimizer: torch.optim.Optimizer, schedule: LambdaLR):
        self._parts: dict[str, Any] = {
            "model": model,
            "averaged": averaged,
            "optimizer": optimizer,
            "schedule": schedule,
        }
        self.averaged = averaged
        self.step = 0
        self.best = -1.0

    def save(self, path: Path) -> None:
        """Write everything, atomically."""
        document = {name: part.state_dict() for name, part in self._parts.items()}
        torch.save(document | {"step": self.step, "best": self.best}, path.with_suffix(".partial"))
        path.with_suffix(".partial").replace(path)

    def load(self, path: Path, device: torch.device) -> None:
        """Read what `save` wrote. Raises ValueError when it is not of such a run."""
        try:
            document = torch.load(path, map_location=device, weights_only=True)
            for name, part in self._parts.items():
                part.load_state_dict(document[name])
            self.step, self.best = document["step"], document["best"]
        except Exception as error:  # torch raises a dozen types here
            problem = (str(error).splitlines() or [type(error).__name__])[0]
            raise ValueError(f"{path} is not of a run of this recipe; move it away: {problem}") from error
        log.info("going on from step %d of %s", self.step, path)


def _validate_and_keep_best(state: _State, recipe: Recipe, accelerator: Accelerator) -> None:
    """Score the averaged weights on the held-out frames; write them when none before were better."""
    model = state.averaged.module
    assert isinstance(model, DCFM)
    provenance = {"recipe": dataclasses.asdict(recipe) | {"data_root": "", "output": ""}, "step": state.step}
    if any(source.hold_out for source in recipe.sources):
        score = validate(model.eval(), recipe)
        miou, per_class = round(score.miou(), 4), [round(value, 4) for value in score.per_class()]
        log.info("step %d mIoU %.4f per class %s", state.step, miou, per_class)
        accelerator.log({"held_out/mIoU": miou}, step=state.step)
        if miou < state.best:
            return
        state.best = miou
        provenance |= {"held_out_miou": miou, "held_out_per_class": per_class}
    save_weights(model, Path(recipe.output) / "weights.safetensors", half=True, provenance=provenance)


def _model(recipe: Recipe) -> DCFM:
    model = create_model(recipe.model)
    config = dataclasses.replace(model.config, fusion=recipe.fusion, resize_first=recipe.resize_first)
    return model if config == model.config else DCFM(config)


def _data(model: DCFM, recipe: Recipe) -> tuple[PairDataset, Tensor]:
    sources = [_source(source, model, recipe) for source in recipe.sources]
    shares = [s.share for s in recipe.sources]
    keys = ("crop", "scale", "rotation", "colour", "focus", "motion", "colour_neighbour")
    augmentation = Augmentation(**{key: getattr(recipe, key) for key in keys})
    dataset = PairDataset(sources, shares, model.config, augmentation, recipe.steps * recipe.batch, recipe.seed)
    if not recipe.class_balance:  # counting reads every label of the sources
        return dataset, torch.ones(model.config.num_classes)
    frequencies = torch.from_numpy(class_frequencies(sources, shares, model.config.num_classes)).float()
    weights = frequencies.clamp(min=1e-4) ** -recipe.class_balance
    return dataset, weights / (weights * frequencies).sum()


def _loss_options(recipe: Recipe) -> LossOptions:
    ohem = recipe.ohem if recipe.ohem != 1 else None
    return LossOptions(recipe.reused, recipe.consistency, recipe.distillation, ohem)


def _source(source: SourceRecipe, model: DCFM, recipe: Recipe) -> Source:
    return Source(
        _dataset(source, model, recipe),
        model.config,
        source.max_distance,
        source.hold_out,
        source.direction,  # type: ignore[arg-type]
        recipe.picture,  # type: ignore[arg-type]
    )


def _dataset(source: SourceRecipe, model: DCFM, recipe: Recipe) -> Dataset:
    config = model.config
    labels = labels_for(config.num_classes, config.label_set, config.class_names, config.palette)
    dataset = open_dataset(source.dataset, Path(recipe.data_root) / source.path, source.split, labels)
    if len(dataset.labels) != config.num_classes:
        raise ValueError(
            f"{dataset.root} has {len(dataset.labels)} classes; expected {config.num_classes}, as {config.name} has"
        )
    return dataset


def _batches(dataset: PairDataset, recipe: Recipe, step: int, accelerator: Accelerator) -> Iterator[Pair]:
    """This process's part of each micro-batch from `step` on: together the processes see the pairs of a single one."""
    parts = recipe.accumulate * accelerator.num_processes
    if recipe.batch % parts:
        raise ValueError(f"batch is {recipe.batch}; expected a multiple of {parts}, accumulate times processes")
    size = recipe.batch // parts
    firsts = range(
        step * recipe.batch + accelerator.process_index * size, len(dataset), size * accelerator.num_processes
    )
    sampler = [list(range(first, first + size)) for first in firsts]
    return iter(DataLoader(dataset, batch_sampler=sampler, num_workers=recipe.workers))


def _on_device(batch: Pair, device: torch.device) -> Pair:
    labelled, neighbour, *targets = (tensor.to(device, non_blocking=True) for tensor in batch)
    channels_last = torch.channels_last
    images = (image.contiguous(memory_format=channels_last) for image in (labelled, neighbour))
    return Pair(*images, *targets)


def _targets(pair: Pair, recipe: Recipe) -> Tensor:
    """The labels that the step learns from."""
    return torch.cat([pair.target, pair.neighbour_target]) if recipe.both_labelled else pair.target


def _pixel_shares(targets: list[Tensor], class_weights: Tensor, accelerator: Accelerator) -> Tensor:
    """For each micro-batch, its part of the step's labelled pixels times the number of parts, over all processes.

    It makes the mean of the parts' mean losses the mean over all pixels, however unevenly these are labelled.
    """
    weights = F.pad(class_weights, (0, UNLABELLED + 1 - len(class_weights))).to(accelerator.device)
    own = torch.stack([weights[target].sum() for target in targets])
    total = accelerator.reduce(own.sum(), reduction="sum")
    return own * len(targets) * accelerator.num_processes / total.clamp(min=1e-12)


def _mean_losses(parts: list[Losses], accelerator: Accelerator) -> dict[str, float]:
    """Each loss over the micro-batches and processes of a step."""
    columns = zip(Losses._fields, zip(*parts, strict=True), strict=True)
    means = {f"loss/{name}": torch.stack(values).detach().mean() for name, values in columns}
    return {name: value.item() for name, value in accelerator.reduce(means, reduction="mean").items()}


def _seed(recipe: Recipe, step: int, micro_batch: int, process: int) -> None:
    """Dropout depends on the place in the run alone, as the pairs do."""
    torch.manual_seed(((recipe.seed * 1_000_003 + step) * 1009 + micro_batch) * 1009 + process)


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

    def factor(step: int, floor: float) -> float:
        if step < recipe.warmup:
            return (step + 1) / recipe.warmup
        progress = (step - recipe.warmup) / max(1, recipe.steps - recipe.warmup)
        return floor + (1 - floor) * (1 - min(progress, 1.0)) ** recipe.poly_power

    floors = [recipe.final_lr / group["lr"] if group["lr"] else 0.0 for group in optimizer.param_groups]
    return [lambda step, floor=floor: factor(step, floor) for floor in floors]


def _progress(accelerator: Accelerator) -> Progress:
    columns = (TextColumn("{task.description:<12}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, disable=not accelerator.is_main_process)
