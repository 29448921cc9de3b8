"""The training loop on a few tiny frames: it learns, its weights load, and what cannot be trained is refused."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from dcfm_ros.datasets.folder import DatasetError
from dcfm_ros.model import WeightsError, create_model, load_weights
from dcfm_ros.model.checkpoints import read_provenance
from dcfm_ros.training import step
from dcfm_ros.training.losses import Losses, dcfm_losses
from dcfm_ros.training.pairs import Pair
from dcfm_ros.training.recipe import Recipe, SourceRecipe
from dcfm_ros.training.trainer import train
from dcfm_ros.training.validation import validate, validation_frames


def test_training_lowers_the_loss_and_writes_weights_that_load(recipe: Recipe, totals: list[float]) -> None:
    path = train(replace(recipe, model="camvid_resnet18", steps=6, encoder_lr=1e-3, decoder_lr=3e-3))
    assert len(totals) == 6
    assert sum(totals[-2:]) < 0.8 * sum(totals[:2])

    model = load_weights(path)
    assert model.config.name == "camvid_resnet18"
    provenance = read_provenance(path)
    assert provenance["step"] == 6
    assert provenance["recipe"]["steps"] == 6
    assert provenance["recipe"]["sources"][0]["path"] == "street"
    assert (provenance["recipe"]["data_root"], provenance["recipe"]["output"]) == ("", "")  # where it was is nobody's
    assert len(provenance["held_out_per_class"]) == 11
    assert provenance["held_out_miou"] == pytest.approx(sum(provenance["held_out_per_class"]) / 11, abs=1e-3)


def test_the_score_is_that_of_the_weights_that_are_written(recipe: Recipe) -> None:
    path = train(recipe)
    model = load_weights(path)
    score = validate(model, validation_frames(model, recipe))
    # Stored as float16: a pixel or two may differ.
    assert score.miou() == pytest.approx(read_provenance(path)["held_out_miou"], abs=0.01)


def test_the_learning_rate_in_the_log_is_the_one_that_was_used(recipe: Recipe) -> None:
    train(replace(recipe, steps=3, log_every=1))
    events = EventAccumulator(f"{recipe.output}/tensorboard")
    events.Reload()
    found = [event.value for event in events.Scalars("learning_rate")]
    assert found == pytest.approx([recipe.encoder_lr / 2, recipe.encoder_lr, recipe.encoder_lr])


def test_a_run_shorter_than_its_warm_up_comes_to_its_learning_rate_all_the_same(recipe: Recipe) -> None:
    train(replace(recipe, steps=4, warmup=100, log_every=1))
    events = EventAccumulator(f"{recipe.output}/tensorboard")
    events.Reload()
    found = [event.value for event in events.Scalars("learning_rate")]
    assert found[:2] == pytest.approx([recipe.encoder_lr / 2, recipe.encoder_lr])


def test_the_mean_of_a_short_runs_weights_is_of_what_it_learnt(recipe: Recipe, tmp_path: Path) -> None:
    """A decay for thousands of steps would leave nine tenths of the random values that a run of ten began with."""

    def bias_after(steps: int, average: float) -> torch.Tensor:
        output = str(tmp_path / f"{steps}_{average}")
        path = train(replace(recipe, steps=steps, average=average, warmup=0, decoder_lr=1e-2, output=output))
        return load_weights(path).state_dict()["head.1.bias"]

    learnt = bias_after(10, 0.0)
    mean = bias_after(10, 0.999)
    first = bias_after(1, 0.0)
    assert (mean - first).norm() > 0.4 * (learnt - first).norm()


# What is not finite


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_ends_the_run_and_leaves_the_checkpoint(
    recipe: Recipe, monkeypatch: pytest.MonkeyPatch, value: float
) -> None:
    losses = step.dcfm_losses
    calls = 0

    def diverged(*args: Any, **kwargs: Any) -> Losses:
        nonlocal calls
        calls += 1
        found = losses(*args, **kwargs)
        return found if calls < 4 else found._replace(total=found.total * value)

    monkeypatch.setattr(step, "dcfm_losses", diverged)
    with pytest.raises(
        ValueError, match=rf"loss of step 4 is not finite \(total {value}, individual \d.*learning rate"
    ):
        train(recipe)
    assert torch.load(Path(recipe.output) / "checkpoint.pt", weights_only=True)["step"] == 2
    assert not (Path(recipe.output) / "weights.safetensors").exists()


def test_weights_that_are_not_finite_do_not_overwrite_the_checkpoint(
    recipe: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A gradient that overflows makes them so while the loss still is a number."""
    call = step.TrainingStep.__call__

    def overflowing(self: step.TrainingStep, at: int, micro_batches: Sequence[Pair]) -> list[Losses]:
        parts = call(self, at, micro_batches)
        if at == 3:
            next(self._model.parameters()).data.fill_(float("inf"))
        return parts

    monkeypatch.setattr(step.TrainingStep, "__call__", overflowing)
    with pytest.raises(ValueError, match="is not finite"):
        train(replace(recipe, sources=(replace(recipe.sources[0], hold_out=""),), validate_every=1000, steps=5))
    assert torch.load(Path(recipe.output) / "checkpoint.pt", weights_only=True)["step"] == 2


def test_without_held_out_frames_no_score_is_claimed(recipe: Recipe) -> None:
    path = train(replace(recipe, steps=1, sources=(SourceRecipe("street", 1.0),)))
    assert set(read_provenance(path)) == {"recipe", "step"}


def test_validation_is_told_of_on_the_way(recipe: Recipe, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        train(replace(recipe, steps=3, validate_every=1))
    scored = [match[1] for record in caplog.records if (match := re.match(r"step (\d+) mIoU", record.getMessage()))]
    assert scored == ["1", "2", "3"]


def test_training_begins_from_an_encoder_when_one_is_given(recipe: Recipe, data: Path) -> None:
    names = create_model("camvid_resnet18").encoder.state_dict()
    tensors = {
        name.replace("layer0.0.", "conv1.").replace("layer0.1.", "bn1."): torch.full_like(tensor, 0.02)
        for name, tensor in names.items()
        if name.startswith("layer") and not name.endswith("num_batches_tracked")
    }
    save_file(tensors, data / "encoder.safetensors")
    frozen = replace(
        recipe, model="camvid_resnet18", steps=1, init="encoder.safetensors", encoder_lr=0.0, weight_decay=0.0
    )
    trained = load_weights(train(frozen)).state_dict()
    assert trained["encoder.layer3.0.conv1.weight"].unique().tolist() == [pytest.approx(0.02, abs=1e-4)]
    assert trained["encoder.ppm.features.0.1.weight"].unique().numel() > 1


def test_bad_data_and_bad_initial_weights_are_refused_before_anything_is_trained(
    recipe: Recipe, totals: list[float]
) -> None:
    with pytest.raises(DatasetError, match="nowhere"):
        train(replace(recipe, sources=(SourceRecipe("nowhere", 1.0),)))
    with pytest.raises(WeightsError, match=r"nothing\.safetensors"):
        train(replace(recipe, init="nothing.safetensors"))
    assert totals == []


def test_rare_classes_weigh_more_when_classes_are_balanced(recipe: Recipe, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[float, torch.Tensor] = {}
    for balance in (0.0, 0.5):

        def remembered(*args: Any, balance: float = balance, **kwargs: Any) -> Losses:
            seen[balance] = args[4]
            return dcfm_losses(*args, **kwargs)

        monkeypatch.setattr(step, "dcfm_losses", remembered)
        train(replace(recipe, steps=1, class_balance=balance, output=f"{recipe.output}{balance}"))
    torch.testing.assert_close(seen[0.0], torch.ones(11))
    sky, road, car = (seen[0.5][index].item() for index in (0, 3, 8))
    assert car > 1.2 * max(sky, road)


def test_the_recipes_loss_options_are_what_is_minimised(recipe: Recipe, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Losses] = []

    def remembered(*args: Any, **kwargs: Any) -> Losses:
        seen.append(dcfm_losses(*args, **kwargs))
        return seen[-1]

    monkeypatch.setattr(step, "dcfm_losses", remembered)
    train(replace(recipe, steps=1, consistency=0.0, distillation=0.5, ohem=0.2))
    train(replace(recipe, steps=1, output=f"{recipe.output}2"))
    hard, plain = seen
    assert (hard.consistency, plain.distillation) == (0, 0)
    assert hard.distillation > 0 and plain.consistency > 0
    assert hard.individual > plain.individual
    assert hard.total.item() == pytest.approx(
        (hard.individual + 0.4 * hard.reused + 0.5 * hard.distillation).item(), rel=1e-6
    )


def test_an_impossible_loss_option_is_refused(recipe: Recipe) -> None:
    with pytest.raises(ValueError, match="'ohem' is 2"):
        train(replace(recipe, ohem=2.0))
    with pytest.raises(ValueError, match="direction is 'future'"):
        train(replace(recipe, sources=(replace(recipe.sources[0], direction="future"),)))


@pytest.mark.parametrize(
    ("model", "crop", "least"),
    [("camvid_mitb0", (28, 64), 32), ("camvid_mitb0", (64, 31), 32), ("camvid_resnet18", (64, 7), 8)],
)
def test_a_crop_smaller_than_the_network_reads_is_refused(
    recipe: Recipe, model: str, crop: tuple[int, int], least: int
) -> None:
    with pytest.raises(ValueError, match=rf"'crop' is .*; expected sides of at least {least} for {model}"):
        train(replace(recipe, model=model, crop=crop))


@pytest.mark.parametrize(("model", "crop"), [("camvid_mitb0", (32, 32)), ("camvid_resnet18", (8, 8))])
def test_the_smallest_crop_is_trained_with(recipe: Recipe, model: str, crop: tuple[int, int]) -> None:
    assert train(replace(recipe, model=model, crop=crop, steps=1)).exists()


@pytest.mark.parametrize("seed", [18_100_000_000, 2**80])
def test_a_seed_may_be_large(recipe: Recipe, seed: int) -> None:
    assert train(replace(recipe, seed=seed, steps=1)).exists()


def test_float16_is_refused_on_a_cpu_and_the_other_precision_named(recipe: Recipe) -> None:
    with pytest.raises(ValueError, match="'precision' is 'fp16', which a CPU does not train in; expected bf16"):
        train(replace(recipe, precision="fp16"))
    assert not Path(recipe.output).exists()


@pytest.mark.parametrize(("computes", "precision"), [(True, "bf16"), (False, "fp32")])
def test_the_precision_is_the_cpus_own_unless_said(
    recipe: Recipe, monkeypatch: pytest.MonkeyPatch, computes: bool, precision: str
) -> None:
    monkeypatch.setattr("dcfm_ros.training.trainer.cpu_computes_in_bf16", lambda: computes)
    path = train(replace(recipe, precision="auto", steps=1))
    assert read_provenance(path)["recipe"]["precision"] == precision


def test_an_unknown_kind_of_data_set_is_refused(recipe: Recipe) -> None:
    with pytest.raises(DatasetError, match="the kind of data set is 'kitti'"):
        train(replace(recipe, sources=(SourceRecipe("street", 1.0, dataset="kitti"),)))


def test_one_process_can_train_in_one_precision_after_another(recipe: Recipe) -> None:
    for precision in ("bf16", "fp32"):
        train(replace(recipe, steps=1, precision=precision, output=f"{recipe.output}_{precision}"))
