"""A small run, for the tests of the training loop."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import run_recipe
from accelerate.state import AcceleratorState
from labelled_folders import street_like, write_folder

from dcfm_ros.training import network, step
from dcfm_ros.training.losses import Losses, dcfm_losses
from dcfm_ros.training.recipe import Recipe, SourceRecipe, load_recipe
from dcfm_ros.training.trainer import train


@pytest.fixture(scope="session")
def train_here() -> Callable[..., Path]:
    """Train a recipe's file in this process, as run_recipe.py does in its own: what takes longest there is the start.

    Called with the file, a folder for the output, and overrides; returns the weights.
    """

    def trained(recipe: Path, output: Path, *overrides: str) -> Path:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(network, "DCFM", run_recipe.without_dropout)
            patch.setenv("ACCELERATE_USE_CPU", "true")
            AcceleratorState._reset_state(reset_partial_state=True)  # the device, which it keeps from run to run
            try:
                return train(load_recipe(recipe, [f"output={output}", *overrides]))
            finally:
                AcceleratorState._reset_state(reset_partial_state=True)

    return trained


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("data")
    write_folder(root / "street", street_like(4))
    return root


@pytest.fixture
def small_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Frames go through the network at their own size; the configuration's would take seconds."""
    config_of = network.model_config
    monkeypatch.setattr(network, "model_config", lambda name: replace(config_of(name), input_size=(64, 96)))


@pytest.fixture
def recipe(data: Path, tmp_path: Path, small_pictures: None) -> Recipe:
    """A run of a second: four steps of a small network on four small frames, one of them held out."""
    return Recipe(
        sources=(SourceRecipe("street", 1.0, max_distance=1, hold_out="f003"),),
        model="camvid_mitb0",
        data_root=str(data),
        output=str(tmp_path / "run"),
        steps=4,
        batch=2,
        crop=(64, 64),
        warmup=2,
        average=0.5,
        precision="fp32",
        validate_every=100,
        checkpoint_every=2,
    )


@pytest.fixture
def totals(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The loss of each step that is run from now on."""
    seen: list[float] = []

    def recorded(*args: Any, **kwargs: Any) -> Losses:
        losses = dcfm_losses(*args, **kwargs)
        seen.append(losses.total.item())
        return losses

    monkeypatch.setattr(step, "dcfm_losses", recorded)
    return seen
