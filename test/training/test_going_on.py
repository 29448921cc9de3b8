"""A stop makes no difference to a run: what it goes on from, and what it does not go on from."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from dcfm_ros.model import create_model, load_weights
from dcfm_ros.model.checkpoints import read_provenance
from dcfm_ros.training import step
from dcfm_ros.training.losses import Losses
from dcfm_ros.training.recipe import Recipe
from dcfm_ros.training.trainer import train


def stop_after(monkeypatch: pytest.MonkeyPatch, steps: int) -> None:
    """Whoever pulls the plug does it while a step is computed."""
    losses = step.dcfm_losses
    taken = 0

    def counted(*args: Any, **kwargs: Any) -> Losses:
        nonlocal taken
        if taken == steps:
            raise KeyboardInterrupt
        taken += 1
        return losses(*args, **kwargs)

    monkeypatch.setattr(step, "dcfm_losses", counted)


def assert_same_weights(path: Path, other: Path) -> None:
    first, second = load_weights(path).state_dict(), load_weights(other).state_dict()
    for name in first:
        assert torch.equal(first[name], second[name]), name


@pytest.mark.parametrize("align", ["none", "flow"])
def test_a_run_that_was_stopped_goes_on_as_if_it_had_not_been(
    recipe: Recipe, totals: list[float], tmp_path: Path, align: str
) -> None:
    recipe = replace(recipe, align=align)
    unbroken = train(recipe)
    expected, totals[:] = list(totals), []

    again = replace(recipe, output=str(tmp_path / "again"))
    with pytest.MonkeyPatch.context() as patch:
        stop_after(patch, 3)
        with pytest.raises(KeyboardInterrupt):
            train(again)
    assert totals == expected[:3]
    assert not (tmp_path / "again" / "weights.safetensors").exists()

    totals.clear()
    resumed = train(again)
    assert totals == expected[2:]  # the last checkpoint is that of step 2
    assert_same_weights(resumed, unbroken)


def test_a_run_that_was_stopped_while_it_wrote_goes_on_from_the_checkpoint_before(
    recipe: Recipe, totals: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    save: Callable[..., None] = torch.save

    def pulled_plug(state: dict[str, object], path: Path) -> None:
        save(state, path)
        if state["step"] == 4:
            path.write_bytes(path.read_bytes()[:1000])
            raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch, "save", pulled_plug)
        with pytest.raises(KeyboardInterrupt):
            train(recipe)
    totals.clear()
    train(recipe)
    assert len(totals) == 2


def test_a_finished_run_is_not_trained_further_and_says_so(
    recipe: Recipe, totals: list[float], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        first = train(recipe).read_bytes()
        assert "nothing was left" not in caplog.text and "wrote " in caplog.text
        totals.clear()
        caplog.clear()
        assert train(recipe).read_bytes() == first
        train(replace(recipe, steps=3))
    assert totals == []
    assert "checkpoint.pt is at step 4, and steps is 4" in caplog.text
    assert "checkpoint.pt is at step 4, and steps is 3" in caplog.text
    assert caplog.text.count("nothing was left to train") == 2 and "wrote " not in caplog.text


def test_a_run_that_is_shortened_before_it_was_validated_writes_its_weights(
    recipe: Recipe, totals: list[float]
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        stop_after(patch, 3)
        with pytest.raises(KeyboardInterrupt):
            train(recipe)
    totals.clear()
    assert read_provenance(train(replace(recipe, steps=2)))["step"] == 2
    assert totals == []


def test_a_run_that_is_lengthened_goes_on_with_the_schedule_to_the_new_end(
    recipe: Recipe, totals: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    train(recipe)
    totals.clear()
    rates: list[float] = []
    call = step.TrainingStep.__call__

    def remembered(self: step.TrainingStep, *args: Any) -> list[Losses]:
        rates.append(self.optimizer.param_groups[0]["lr"])
        return call(self, *args)

    monkeypatch.setattr(step.TrainingStep, "__call__", remembered)
    train(replace(recipe, steps=6))
    assert len(totals) == 2
    progress = (4 - recipe.warmup) / (6 - recipe.warmup), (5 - recipe.warmup) / (6 - recipe.warmup)
    assert rates == [pytest.approx(recipe.encoder_lr * (1 - done) ** recipe.poly_power) for done in progress]


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"encoder_lr": 0.5}, r"encoder_lr=0\.0003, but the recipe says 0\.5"),
        ({"crop": (32, 64)}, r"crop=\(64, 64\), but the recipe says \(32, 64\)"),
        ({"model": "camvid_resnet18"}, r"model='camvid_mitb0', but the recipe says 'camvid_resnet18'"),
        ({"share": 2.0}, r"sources\[0\]\.share=1\.0, but the recipe says 2\.0"),
        ({"path": "street/."}, r"sources=\['street'\], but the recipe says \['street/\.'\]"),
    ],
)
def test_a_run_does_not_go_on_with_another_recipe(recipe: Recipe, changed: dict[str, Any], said: str) -> None:
    train(replace(recipe, steps=1))
    before = (Path(recipe.output) / "checkpoint.pt").read_bytes()
    if changed.keys() & {"share", "path"}:
        changed = {"sources": (replace(recipe.sources[0], **changed),)}
    with pytest.raises(ValueError, match=rf"checkpoint\.pt is of a run with {said}; expected the same"):
        train(replace(recipe, **changed))
    assert (Path(recipe.output) / "checkpoint.pt").read_bytes() == before


def test_a_run_goes_on_elsewhere_and_with_other_intervals(recipe: Recipe, totals: list[float]) -> None:
    train(replace(recipe, steps=1))
    moved = Path(recipe.output).rename(Path(recipe.output).with_name("moved"))
    totals.clear()
    train(
        replace(recipe, output=str(moved), data_root=recipe.data_root + "/.", steps=2, log_every=1, checkpoint_every=1)
    )
    assert len(totals) == 1


def test_a_checkpoint_that_does_not_say_its_recipe_is_gone_on_from(recipe: Recipe, totals: list[float]) -> None:
    """As those of earlier versions."""
    train(replace(recipe, steps=1))
    path = Path(recipe.output) / "checkpoint.pt"
    document = torch.load(path, weights_only=True)
    del document["recipe"]
    torch.save(document, path)
    totals.clear()
    train(replace(recipe, steps=2))
    assert len(totals) == 1


def test_a_checkpoint_of_another_network_is_refused_by_name(recipe: Recipe, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    for content in ({"model": create_model("camvid_resnet18").state_dict()}, {"step": 3}):
        torch.save(content, tmp_path / "run" / "checkpoint.pt")
        with pytest.raises(ValueError, match=r"checkpoint\.pt is not of a run of this recipe; move it away"):
            train(recipe)
    (tmp_path / "run" / "checkpoint.pt").write_bytes(b"nothing")
    with pytest.raises(ValueError, match=r"checkpoint\.pt is not of a run of this recipe"):
        train(recipe)
