"""The recipes that ship: each loads, fits its model, and says what was published."""

from __future__ import annotations

from pathlib import Path

import pytest

from dcfm_ros.datasets.open import FOLDER, KINDS
from dcfm_ros.model import available_models, model_config
from dcfm_ros.training.recipe import load_recipe

FOLDER_OF_RECIPES = Path(__file__).parents[2] / "config" / "train"
NAMES = sorted(path.stem for path in FOLDER_OF_RECIPES.glob("*.yaml"))


def test_every_published_configuration_has_a_recipe_and_so_has_the_default() -> None:
    assert sorted([*available_models()[:7], "camvid_resnet18"]) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_a_recipe_fits_its_model(name: str) -> None:
    recipe = load_recipe(FOLDER_OF_RECIPES / f"{name}.yaml")
    assert recipe.model == name
    assert recipe.output == f"runs/{name}"
    for source in recipe.sources:
        assert source.dataset in (*KINDS, FOLDER)
        assert source.dataset in (model_config(name).label_set, FOLDER)


@pytest.mark.parametrize(
    ("name", "steps", "batch", "crop", "rates"),
    [
        ("vspw_mitb2", 160_000, 16, (480, 853), (6e-5, 6e-4)),
        ("vspw_mitb5", 160_000, 16, (480, 853), (4e-5, 6e-4)),
        ("cityscapes_mitb1", 160_000, 16, (512, 1024), (6e-5, 6e-4)),
        ("cityscapes_resnet18", 80_000, 8, (768, 1536), (0.01, 0.01)),
        ("cityscapes_resnet50", 80_000, 8, (768, 1536), (0.01, 0.01)),
        ("cityscapes_resnet101", 80_000, 4, (768, 1536), (0.01, 0.01)),
        ("camvid_resnet50", 40_000, 8, (640, 640), (0.02, 0.02)),
    ],
)
def test_the_published_values(
    name: str, steps: int, batch: int, crop: tuple[int, int], rates: tuple[float, float]
) -> None:
    recipe = load_recipe(FOLDER_OF_RECIPES / f"{name}.yaml")
    assert (recipe.steps, recipe.batch, recipe.crop) == (steps, batch, crop)
    assert (recipe.encoder_lr, recipe.decoder_lr) == rates
    assert (recipe.reused, recipe.consistency, recipe.ohem, recipe.class_balance, recipe.average) == (0.4, 10, 1, 0, 0)
    assert recipe.optimizer == ("sgd" if "resnet" in name else "adamw")
    assert all(source.max_distance == 1 for source in recipe.sources)
