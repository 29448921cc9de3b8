"""A small run, for the tests of the training loop."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from labelled_folders import street_like, write_folder

from dcfm_ros.training import network, step
from dcfm_ros.training.losses import Losses, dcfm_losses
from dcfm_ros.training.recipe import Recipe, SourceRecipe


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

    def recorded(*args: object, **kwargs: object) -> Losses:
        losses = dcfm_losses(*args, **kwargs)
        seen.append(losses.total.item())
        return losses

    monkeypatch.setattr(step, "dcfm_losses", recorded)
    return seen
