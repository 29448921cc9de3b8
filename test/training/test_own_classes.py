"""Data sets with classes of their own: the network is built for them, and its weights know their names and colours."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from labelled_folders import street_like, write_folder

from dcfm_ros.imaging.labels import CAMVID, CITYSCAPES, Color, LabelSet, labels_for
from dcfm_ros.model import create_model, load_weights, model_config, save_weights
from dcfm_ros.streaming import StreamSegmenter
from dcfm_ros.streaming.backends.select import create_backend
from dcfm_ros.training import network
from dcfm_ros.training.network import classes_of_sources, first_network, with_classes
from dcfm_ros.training.recipe import Recipe, SourceRecipe
from dcfm_ros.training.trainer import train

FARM = LabelSet(("sky", "field", "cow"), ((1, 2, 3), (40, 50, 60), (200, 0, 0)))


def write_classes(root: Path, labels: LabelSet) -> None:
    root.mkdir(exist_ok=True)
    entries = zip(labels.names, labels.colors, strict=True)
    (root / "classes.yaml").write_text("".join(f"- {{name: {name}, color: {list(c)}}}\n" for name, c in entries))


def named(*names: str) -> LabelSet:
    return labels_for(len(names), "", names)


@pytest.fixture
def farm(tmp_path: Path) -> Path:
    ids = np.full(256, 255, np.uint8)
    ids[[0, 3, 8]] = 0, 1, 2
    root = write_folder(tmp_path / "farm", [(image, ids[label]) for image, label in street_like(3)])
    write_classes(root, FARM)
    return root


def recipe_of(root: Path, sources: Sequence[SourceRecipe], **values: Any) -> Recipe:
    return Recipe(tuple(sources), "camvid_mitb0", data_root=str(root), **values)


def test_weights_of_a_folder_know_its_classes(
    farm: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(network, "model_config", lambda name: replace(model_config(name), input_size=(64, 96)))
    save_weights(create_model("camvid_mitb0"), tmp_path / "eleven.safetensors")
    source = SourceRecipe("farm", 1.0, max_distance=1, hold_out="f002")
    recipe = recipe_of(tmp_path, [source], steps=2, batch=2, crop=(64, 64), precision="fp32")
    with caplog.at_level(logging.INFO):
        path = train(replace(recipe, output=str(tmp_path / "run"), init="eleven.safetensors"))
    assert "the network tells 3 classes apart: sky, field, cow" in caplog.text
    assert "its head is for another number of classes, so that for 3 classes begins anew (head.4.weight)" in caplog.text

    config = load_weights(path).config
    assert (config.num_classes, config.label_set) == (3, "")
    assert (config.class_names, config.palette) == (FARM.names, FARM.colors)
    assert StreamSegmenter(create_backend(path)).labels == FARM


def test_a_head_of_the_same_size_is_kept(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    torch.manual_seed(1)
    given = create_model("camvid_mitb0")
    save_weights(given, tmp_path / "eleven.safetensors")
    with caplog.at_level(logging.INFO):
        model = first_network(recipe_of(tmp_path, [SourceRecipe("street", 1.0)], init="eleven.safetensors"))
    assert torch.equal(model.head[-1].get_parameter("weight"), given.head[-1].get_parameter("weight"))
    assert "eleven.safetensors; nothing is left at random values" in caplog.text


def test_classes_are_the_models_unless_a_source_says_others(tmp_path: Path) -> None:
    config = model_config("camvid_mitb0")
    assert with_classes(config, CAMVID) == config
    cityscapes = with_classes(config, CITYSCAPES)
    assert (cityscapes.num_classes, cityscapes.label_set, cityscapes.class_names) == (19, "cityscapes", ())
    eleven = with_classes(config, named(*"abcdefghijk"))
    assert (eleven.num_classes, eleven.label_set, eleven.class_names) == (11, "", tuple("abcdefghijk"))
    recoloured = with_classes(config, replace(CAMVID, colors=((9, 9, 9),) * 11))
    assert (recoloured.label_set, recoloured.class_names) == ("", CAMVID.names)

    assert classes_of_sources(recipe_of(tmp_path, [SourceRecipe("one", 1.0), SourceRecipe("two", 1.0)])) is None


def test_a_source_that_says_no_classes_has_those_of_the_others(tmp_path: Path) -> None:
    red: tuple[Color, ...] = ((255, 0, 0),) * 3
    write_classes(tmp_path / "second", FARM)
    write_classes(tmp_path / "third", replace(FARM, colors=red))
    sources = [SourceRecipe(path, 1.0) for path in ("first", "second", "third")]
    assert classes_of_sources(recipe_of(tmp_path, sources)) == FARM


@pytest.mark.parametrize(
    ("second", "said"),
    [
        (SourceRecipe("second", 1.0), "class 1 is 'field' in the first, 'cow' in the second"),
        (SourceRecipe("second", 1.0, "camvid", "train"), "3 in the first, 11 in the second"),
    ],
)
def test_sources_of_different_classes_are_refused(tmp_path: Path, second: SourceRecipe, said: str) -> None:
    write_classes(tmp_path / "first", FARM)
    write_classes(tmp_path / "second", named("sky", "cow", "field"))
    sources = [SourceRecipe("first", 1.0), SourceRecipe("unsaid", 1.0), second]
    with pytest.raises(ValueError) as refused:
        train(recipe_of(tmp_path, sources, output=str(tmp_path / "run")))
    both = f"the sources {tmp_path / 'first'} and {tmp_path / 'second'} have different classes"
    assert str(refused.value) == f"{both}: {said}; expected the same"


def test_the_whole_recipe_in_the_documentation_trains(
    farm: Path, tmp_path: Path, small_pictures: None, train_here: Callable[..., Path]
) -> None:
    page = (Path(__file__).parents[2] / "docs" / "training.md").read_text()
    [text] = re.findall(r"```yaml\n(model:.*?)```", page, re.DOTALL)
    (tmp_path / "mine.yaml").write_text(text)
    for part in ("images", "labels"):
        for number, path in enumerate(sorted((farm / part).iterdir())):
            path.rename(path.with_name(f"drive{(1, 1, 3)[number]}_{number:06d}.png"))
    farm.rename(tmp_path / "mine")
    small = ("steps=2", "batch=2", "crop=[64, 64]", "precision=fp32")
    path = train_here(tmp_path / "mine.yaml", tmp_path / "run", f"data_root={tmp_path}", *small)
    assert load_weights(path).config.class_names == FARM.names
