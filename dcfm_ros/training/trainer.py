"""The training loop of DCFM: read it from the top. Processes, devices and precision are Accelerate's business."""

from __future__ import annotations

import dataclasses
import logging
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.utils import broadcast
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from dcfm_ros.machine.hardware import cpu_computes_in_bf16
from dcfm_ros.model import DCFM, save_weights
from dcfm_ros.training.batches import batches_from, pairs_and_class_weights
from dcfm_ros.training.checkpoint import RunState
from dcfm_ros.training.imitation import fit_what_no_weights_fit
from dcfm_ros.training.memory import keep_freed_memory
from dcfm_ros.training.network import first_network
from dcfm_ros.training.recipe import Recipe
from dcfm_ros.training.speed import Speed
from dcfm_ros.training.step import TrainingStep, mean_losses
from dcfm_ros.training.validation import LabelledFrame, validate, validation_frames

log = logging.getLogger(__name__)


def train(recipe: Recipe) -> Path:
    """Train as the recipe says and return the path of the weights: the best on held-out frames, else the last.

    Resumes from `<output>/checkpoint.pt` if it is there, with the results of a run that was never stopped. Started by
    torchrun or `accelerate launch`, every process computes its part of each batch.

    Raises ValueError (DatasetError, WeightsError) when data, initial weights or that checkpoint cannot be used, a loss
    is not finite, or the precision is fp16 on a CPU.
    """
    # Checkpoint and weights tell the precision that it was.
    recipe = dataclasses.replace(recipe, precision=_precision(recipe.precision))
    torch.manual_seed(recipe.seed % 2**63)
    output = Path(recipe.output)
    AcceleratorState._reset_state()  # it outlives an earlier run of this process, with that run's precision
    accelerator = Accelerator(
        cpu=_are_cpu_processes(),
        mixed_precision=recipe.precision if recipe.precision != "fp32" else "no",
        gradient_accumulation_steps=recipe.accumulate,
        log_with="tensorboard",
        project_dir=output,
    )
    if recipe.precision == "fp16" and accelerator.device.type == "cpu":  # Accelerate 1.15 computes in float32 then
        raise ValueError("recipe key 'precision' is 'fp16', which a CPU does not train in; expected bf16 or fp32")
    output.mkdir(parents=True, exist_ok=True)

    if not accelerator.is_main_process:
        logging.getLogger("dcfm_ros").setLevel(logging.WARNING)  # one process tells what goes on

    keep_freed_memory()
    model = first_network(recipe)
    model.to(accelerator.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    dataset, class_weights = pairs_and_class_weights(model, recipe)
    held_out = validation_frames(model, recipe)
    if not (output / "checkpoint.pt").exists():
        fit_what_no_weights_fit(model, dataset, recipe)
    averaged = AveragedModel(model, multi_avg_fn=_running_mean(recipe.average), use_buffers=True)
    take_step = TrainingStep(model, class_weights, recipe, accelerator)
    state = RunState(model, averaged, take_step.optimizer, take_step.schedule, recipe, accelerator.scaler)
    checkpoint, weights = output / "checkpoint.pt", output / "weights.safetensors"
    if checkpoint.exists():
        state.load(checkpoint, accelerator.device)
    are_written = weights.exists()  # asked before the processes wait for each other: the main one may write them soon
    _check_all_are_at(state.step, accelerator)
    if nothing_left := state.step >= recipe.steps:
        log.info("nothing was left to train: %s is at step %d, and steps is %d", checkpoint, state.step, recipe.steps)
        if are_written:
            return weights
    _wait_for_a_later_name_than(output)
    # What a run logged between its last checkpoint and its end is logged again.
    accelerator.init_trackers("tensorboard", init_kwargs={"tensorboard": {"purge_step": state.step + 1}})

    batches = batches_from(state.step, dataset, recipe, accelerator)
    speed = Speed(accelerator.device)
    with _progress(accelerator) as progress:
        task = progress.add_task("training", total=recipe.steps, completed=state.step)
        while state.step < recipe.steps:
            with speed.waiting_for_data():
                micro_batches = [next(batches) for _ in range(recipe.accumulate)]
            learning_rate = take_step.optimizer.param_groups[0]["lr"]
            losses = take_step(state.step, micro_batches)
            averaged.update_parameters(model)
            state.step += 1

            if state.step % recipe.log_every == 0:
                values = mean_losses(losses, accelerator) | speed.read(recipe.batch)
                accelerator.log(values | {"learning_rate": learning_rate}, step=state.step)
                progress.update(task, description=_in_short(values))
            progress.update(task, completed=state.step)
            last = state.step == recipe.steps
            with speed.not_training():
                if state.step % recipe.validate_every == 0 or last:
                    _validate_and_keep_best(state, held_out, recipe, accelerator)
                if accelerator.is_main_process and (state.step % recipe.checkpoint_every == 0 or last):
                    state.save(checkpoint)
    if nothing_left:  # a run that was shortened may not have been validated yet
        state.best = -1.0
        _validate_and_keep_best(state, held_out, recipe, accelerator)
    accelerator.wait_for_everyone()
    accelerator.end_training()
    log.info("wrote %s", weights)
    return weights


def _precision(precision: str) -> str:
    """Return the precision to compute in, where the recipe leaves it open."""
    if precision != "auto":
        return precision
    if torch.cuda.is_available():
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    return "bf16" if cpu_computes_in_bf16() else "fp32"


def _are_cpu_processes() -> bool:
    """Whether there are several processes and no GPU: unless told, Accelerate would let each of them train alone."""
    return int(os.environ.get("WORLD_SIZE", 1)) > 1 and not torch.cuda.is_available()


def _wait_for_a_later_name_than(output: Path) -> None:
    """Return when a log begun now comes after those in `output`: TensorBoard reads them in the order of their names.

    A name begins with the second its log was begun in. A run that is started anew at once after a kill would share it
    with the one before, and what the one purges the other would bring back. Names from a clock that was far ahead are
    not waited for.
    """
    seconds = [int(path.name.split(".")[3]) for path in output.rglob("events.out.tfevents.[0-9]*.*")]
    wait_s = max(seconds, default=0) + 1 - time.time()
    if 0 < wait_s < 5:
        time.sleep(wait_s)


def _check_all_are_at(step: int, accelerator: Accelerator) -> None:
    """Raises ValueError where processes do not go on from the same step: some found no checkpoint, or another one."""
    steps = accelerator.gather(torch.tensor([step], device=accelerator.device)).tolist()
    if len(set(steps)) > 1:
        raise ValueError(
            f"the processes would continue from the steps {steps}; expected one folder `output` that all machines share"
        )


def _running_mean(decay: float) -> Callable[[Any, Any, Any], None]:
    """A mean over all steps before it is one over the last: a short run would else keep what it began with."""

    def update(averaged: Any, current: Any, count: Any) -> None:
        get_ema_multi_avg_fn(min(decay, float((1 + count) / (10 + count))))(averaged, current, count)

    return update


def _validate_and_keep_best(
    state: RunState, frames: Sequence[LabelledFrame], recipe: Recipe, accelerator: Accelerator
) -> None:
    """Score the averaged weights on the held-out frames; write them when none before were better."""
    model = state.averaged.module
    assert isinstance(model, DCFM)
    # Folders of this machine are nobody's business.
    elsewhere = {"data_root": "", "output": "", "init": Path(recipe.init).name}
    provenance = {"recipe": dataclasses.asdict(recipe) | elsewhere, "step": state.step}
    if frames:
        for buffer in model.buffers():  # each process has batch statistics of its own; those of the main one are kept
            broadcast(buffer)
        score = validate(model.eval(), frames[accelerator.process_index :: accelerator.num_processes])
        miou, per_class = round(score.miou(), 4), [round(value, 4) for value in score.per_class()]
        log.info("step %d mIoU %.4f per class %s", state.step, miou, per_class)
        accelerator.log({"held_out/mIoU": miou}, step=state.step)
        if miou < state.best:
            return
        state.best = miou
        provenance |= {"held_out_miou": miou, "held_out_per_class": per_class}
    if accelerator.is_main_process:
        save_weights(model, Path(recipe.output) / "weights.safetensors", half=True, provenance=provenance)


def _progress(accelerator: Accelerator) -> Progress:
    columns = (TextColumn("{task.description:<25}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, disable=not accelerator.is_main_process)


def _in_short(values: dict[str, float]) -> str:
    return f"loss {values['loss/total']:.3f}, data {values['speed/data_wait_share']:.0%}"
