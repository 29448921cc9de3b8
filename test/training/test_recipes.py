"""The recipes that ship: each loads, fits its model, and says what was published."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from dcfm_ros.datasets.open import FOLDER, KINDS
from dcfm_ros.model import available_models, create_model, model_config
from dcfm_ros.training.network import first_network
from dcfm_ros.training.recipe import Recipe, load_recipe

RECIPES = Path(__file__).parents[2] / "config" / "train"
NAMES = sorted(path.stem for path in RECIPES.glob("*.yaml"))
PUBLISHED = available_models()[:7]


def recipe_of(name: str) -> Recipe:
    return load_recipe(RECIPES / f"{name}.yaml")


def test_every_published_configuration_has_a_recipe_and_so_has_the_default() -> None:
    assert {*PUBLISHED, "camvid_lite0", "camvid_resnet18", "street"} <= {*NAMES}


@pytest.mark.parametrize("name", NAMES)
def test_a_recipe_fits_its_model(name: str) -> None:
    recipe = recipe_of(name)
    started = {"street": "camvid_lite0", "ablation": "camvid_resnet18"}
    assert recipe.model == started.get(name, name)
    assert recipe.output == f"runs/{name}"
    for source in recipe.sources:
        assert source.dataset in (*KINDS, FOLDER)
        assert source.dataset in (model_config(recipe.model).label_set, FOLDER)


# As published: (steps, warm-up, batch), the crop, (encoder's rate, decoder's rate, the last rate), power of the decay.
_VSPW = ((160_000, 1500, 16), (480, 853), (6e-5, 6e-4, 0), 1)
_CITYSCAPES = ((80_000, 1500, 8), (768, 1536), (0.01, 0.01, 1e-4), 0.9)
SCHEDULES = {
    "vspw_mitb2": _VSPW,
    "vspw_mitb5": ((160_000, 1500, 16), (480, 853), (4e-5, 6e-4, 0), 1),
    "cityscapes_mitb1": ((160_000, 1500, 16), (512, 1024), (6e-5, 6e-4, 0), 1),
    "cityscapes_resnet18": _CITYSCAPES,
    "cityscapes_resnet50": _CITYSCAPES,
    "cityscapes_resnet101": ((80_000, 1500, 4), (768, 1536), (0.01, 0.01, 1e-4), 0.9),
    "camvid_resnet50": ((40_000, 0, 8), (640, 640), (0.02, 0.02, 1e-5), 0.9),
}
# Rotation, scale, colour, and whether the neighbour's colours are changed too.
AUGMENTATIONS = {
    "vspw": (20, (0.5, 2), 0.2, True),
    "cityscapes": (10, (0.5, 2), 0.3, False),
    "camvid": (10, (1, 2), 0, True),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_published_schedule(name: str) -> None:
    recipe = recipe_of(name)
    length, crop, rates, power = SCHEDULES[name]
    assert (recipe.steps, recipe.warmup, recipe.batch) == length
    assert recipe.crop == crop
    assert (recipe.encoder_lr, recipe.decoder_lr, recipe.final_lr) == rates
    assert recipe.poly_power == power
    assert (recipe.optimizer, recipe.weight_decay) == (("sgd", 5e-4) if "resnet" in name else ("adamw", 0.01))
    assert (recipe.average, recipe.clip_gradient, recipe.precision) == (0, 0, "fp32")


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_published_augmentation(name: str) -> None:
    recipe = recipe_of(name)
    drawn = (recipe.rotation, recipe.scale, recipe.colour, recipe.colour_neighbour)
    assert drawn == AUGMENTATIONS[name.partition("_")[0]]
    assert (recipe.picture, recipe.focus) == ("source", 0)
    assert [(source.max_distance, source.direction) for source in recipe.sources] == [(1, "both")]


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_published_loss(name: str) -> None:
    recipe = recipe_of(name)
    assert (recipe.reused, recipe.consistency, recipe.distillation, recipe.both_labelled) == (0.4, 10, 0, False)
    assert (recipe.ohem, recipe.class_balance, recipe.fusion) == (1, 0, "model")


@pytest.mark.parametrize("name", ["camvid_lite0", "camvid_resnet18"])
def test_a_recipe_trains_the_very_network_that_its_model_names(name: str) -> None:
    recipe = replace(recipe_of(name), init="", data_root="nowhere")
    network = first_network(recipe)
    assert network.config == model_config(name)
    shapes = {key: tensor.shape for key, tensor in create_model(name).state_dict().items()}
    assert {key: tensor.shape for key, tensor in network.state_dict().items()} == shapes
    other = "ffm" if network.config.fusion == "fine" else "fine"
    assert first_network(replace(recipe, fusion=other)).config == replace(model_config(name), fusion=other)
