"""The block that no ImageNet weights fit learns to give what the one gave that it stands in for."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest
import torch
from imagenet_files import efficientnet_lite, install
from torch.utils.data import Dataset

from dcfm_ros.model import DCFM, create_model, load_weights
from dcfm_ros.model.backbones.efficientnet_lite import EfficientNetLiteEncoder
from dcfm_ros.model.pretrained import imagenet_first_block, initialise
from dcfm_ros.training import imitation
from dcfm_ros.training.imitation import fit_what_no_weights_fit, imitate_first_block
from dcfm_ros.training.pairs import Pair, PairDataset
from dcfm_ros.training.recipe import Recipe, SourceRecipe
from dcfm_ros.training.trainer import train

PACKAGE = "made-up-lite0-model"


class Pictures(Dataset[Pair]):
    """Smooth ones: what neighbours share is what a strided block can learn."""

    def __len__(self) -> int:
        return 100

    def __getitem__(self, index: int) -> Pair:
        noise = torch.randn(1, 3, 8, 12, generator=torch.Generator().manual_seed(index))
        picture = torch.nn.functional.interpolate(noise, (64, 96), mode="bicubic")[0]
        nothing = torch.zeros(64, 96, dtype=torch.int64)
        return Pair(picture, picture, nothing, nothing, None)


class NoPictures(Dataset[Pair]):
    def __getitem__(self, index: int) -> Pair:
        raise AssertionError("no picture is needed")


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(imitation, "_PICTURES", 8)
    monkeypatch.setattr(imitation, "_STEPS", 200)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("imagenet") / "lite0.pth"
    torch.save(efficientnet_lite(), path)
    return path


def begun(weights: Path) -> DCFM:
    torch.manual_seed(3)
    model = create_model("camvid_lite0")
    initialise(model, weights)
    return model


def explained(weights: Path) -> float:
    model = begun(weights)
    teacher = imagenet_first_block(model, weights)
    assert teacher is not None
    return imitate_first_block(model, teacher, cast(PairDataset, Pictures()))


def test_more_steps_explain_more_of_the_published_block(
    weights: Path, short: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    long = explained(weights)
    monkeypatch.setattr(imitation, "_STEPS", 4)
    assert explained(weights) < 0.3
    assert 0.5 < long <= 1


def test_only_the_fused_block_changes_and_always_alike(weights: Path, short: None) -> None:
    recipe = Recipe((SourceRecipe("none", 1.0),), "camvid_lite0", data_root=str(weights.parent), init=weights.name)
    before, one, two = (begun(weights) for _ in range(3))
    for model in (one, two):
        fit_what_no_weights_fit(model, cast(PairDataset, Pictures()), recipe)
        assert isinstance(model.encoder, EfficientNetLiteEncoder) and not model.encoder.fused_block.training
    states = before.state_dict(), one.state_dict(), two.state_dict()
    changed = {key for key in states[0] if not torch.equal(states[0][key], states[1][key])}
    assert changed == {key for key in states[0] if key.startswith("encoder.blocks.1.")}
    assert all(torch.equal(states[1][key], states[2][key]) for key in changed)


def test_other_networks_and_other_beginnings_are_left_alone(weights: Path, tmp_path: Path) -> None:
    recipe = Recipe((SourceRecipe("none", 1.0),), data_root=str(weights.parent), init=weights.name)
    for model, of_it in (
        (create_model("camvid_resnet18"), recipe),
        (create_model("camvid_lite0"), replace(recipe, init="")),
    ):
        before = {key: value.clone() for key, value in model.state_dict().items()}
        fit_what_no_weights_fit(model, cast(PairDataset, NoPictures()), of_it)
        assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


def test_a_run_fits_the_block_once_and_resumes_without(
    recipe: Recipe,
    weights: Path,
    short: None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    install(tmp_path / "site", PACKAGE, {"made_up/lite0.pth": weights.read_bytes()})
    monkeypatch.syspath_prepend(tmp_path / "site")
    lite = replace(recipe, model="camvid_lite0", init=PACKAGE, steps=1)
    with caplog.at_level(logging.INFO):
        trained = train(lite)
    assert "site/made_up/lite0.pth; 69 tensors that it does not hold begin at random values" in caplog.text
    assert "the first block of stage 2 begins with" in caplog.text
    assert load_weights(trained).config.fusion == "fine"
    caplog.clear()
    with caplog.at_level(logging.INFO):
        train(replace(lite, steps=2))
    assert "the first block of stage 2 begins with" not in caplog.text
