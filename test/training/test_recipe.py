"""What a training recipe may say."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest

from dcfm_ros.training.recipe import Recipe, SourceRecipe, load_recipe

SOURCES = "sources: [{path: a, share: 0.7, hold_out: 'f9*'}, {path: b, share: 3e-1, max_distance: 5}]\n"


NOT_NEGATIVE = (
    "clip_gradient",
    "poly_power",
    "rotation",
    "colour",
    "motion",
    "reused",
    "consistency",
    "distillation",
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "recipe.yaml"
    file.write_text(SOURCES + "steps: 7\ncrop: [64, 96]\noptimizer: sgd\n")
    return file


def test_a_recipe_is_read_and_the_rest_is_default(path: Path) -> None:
    recipe = load_recipe(path)
    assert recipe.sources == (SourceRecipe("a", 0.7, hold_out="f9*"), SourceRecipe("b", 0.3, max_distance=5))
    assert (recipe.steps, recipe.crop, recipe.optimizer) == (7, (64, 96), "sgd")
    untouched = dataclasses.replace(Recipe(recipe.sources), steps=7, crop=(64, 96), optimizer="sgd")
    assert recipe == untouched


def test_the_shipped_recipes_are_good() -> None:
    shipped = sorted((Path(__file__).parents[2] / "config" / "train").glob("*.yaml"))
    assert shipped
    for file in shipped:
        assert load_recipe(file).sources


@pytest.mark.parametrize(
    ("override", "key", "value"),
    [
        ("encoder_lr=3e-4", "encoder_lr", 3e-4),  # a string to YAML
        ("encoder_lr=1", "encoder_lr", 1.0),
        ("steps=2e3", "steps", 2000),
        ("crop=[32, 48]", "crop", (32, 48)),
        ("scale=[5e-1, 2]", "scale", (0.5, 2.0)),
        ("precision=fp16", "precision", "fp16"),
        ("model=camvid_mitb0", "model", "camvid_mitb0"),
        ("output=2024", "output", "2024"),
        ("output=a=b", "output", "a=b"),
        ("init=''", "init", ""),
        ("sources=[{path: c, share: 1}]", "sources", (SourceRecipe("c", 1.0),)),
    ],
)
def test_an_override_has_the_type_of_its_key(path: Path, override: str, key: str, value: object) -> None:
    found = getattr(load_recipe(path, ["steps=3", override]), key)
    assert found == value
    assert type(found) is type(value)


def test_the_last_override_of_a_key_counts(path: Path) -> None:
    assert load_recipe(path, ["steps=3", "steps=4"]).steps == 4


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("step=3", "unknown recipe key 'step'; did you mean 'steps'?"),
        ("encoder_rate=3", "unknown recipe key 'encoder_rate'; did you mean 'encoder_lr'?"),
        ("zzz=3", "unknown recipe key 'zzz'; expected one of sources, model"),
        ("steps", "'steps' is no override; expected key=value"),
        ("", "'' is no override; expected key=value"),
        ("steps=many", "recipe key 'steps' is 'many'; expected a whole number"),
        ("steps=2.5", "recipe key 'steps' is 2.5; expected a whole number"),
        ("steps=true", "recipe key 'steps' is True; expected a whole number"),
        ("steps=", "recipe key 'steps' is None; expected a whole number"),
        ("steps=[3]", "recipe key 'steps' is [3]; expected a whole number"),
        ("encoder_lr=.nan", "recipe key 'encoder_lr' is nan; expected a number"),
        ("crop=64", "recipe key 'crop' is 64; expected a list of a whole number, a whole number"),
        ("crop=[64]", "recipe key 'crop' is [64]; expected a list"),
        ("crop=[a, b]", "recipe key 'crop' is ['a', 'b']; expected a list"),
        ("crop=abc", "recipe key 'crop' is 'abc'; expected a list"),
        ("precision=fp8", "recipe key 'precision' is 'fp8'; expected one of auto, fp32, bf16, fp16"),
        ("precision=no", "recipe key 'precision' is False; expected a string"),
        ("optimizer=adam", "recipe key 'optimizer' is 'adam'; expected one of adamw, sgd"),
        ("align=warp", "recipe key 'align' is 'warp'; expected one of none, flow"),
        ("model=[a]", "recipe key 'model' is ['a']; expected a string"),
        ("crop=[64,", "'crop=[64,' is not YAML"),
        ("steps=0", "recipe key 'steps' is 0; expected at least 1"),
        ("batch=-1", "recipe key 'batch' is -1; expected at least 1"),
        ("checkpoint_every=0", "recipe key 'checkpoint_every' is 0; expected at least 1"),
        ("crop=[0, 64]", "recipe key 'crop' is (0, 64)"),
        ("scale=[2, 1]", "recipe key 'scale' is (2.0, 1.0)"),
        ("scale=[0, 1]", "recipe key 'scale' is (0.0, 1.0)"),
        *((f"{key}=-1", f"recipe key '{key}' is -1.0; expected at least 0") for key in NOT_NEGATIVE),
        *((f"{key}=1.5", f"recipe key '{key}' is 1.5; expected 0 to 1") for key in ("focus", "faults", "average")),
        ("average=-0.1", "recipe key 'average' is -0.1; expected 0 to 1"),
        ("ohem=0", "recipe key 'ohem' is 0.0; expected a fraction above 0 and at most 1"),
        ("ohem=2", "recipe key 'ohem' is 2.0; expected a fraction above 0 and at most 1"),
        ("sources=[{path: a, share: 1, hold_out: 0010}]", "'hold_out' is 8; expected a pattern in quotes"),
        ("sources=[]", "names no sources"),
        ("sources=a", "names no sources"),
        ("sources=[a]", "a source of"),
        ("sources=[{share: 1}]", "has no recipe key 'path'"),
        ("sources=[{path: a, shares: 1}]", "unknown recipe key 'shares'; did you mean 'share'?"),
        ("sources=[{path: a, share: 0}]", "share of a is 0.0; expected more than 0"),
        ("sources=[{path: a, share: 1, max_distance: -1}]", "'max_distance' is -1; expected at least 0"),
    ],
)
def test_a_bad_value_is_refused_in_one_line(path: Path, override: str, said: str) -> None:
    with pytest.raises(ValueError) as caught:
        load_recipe(path, [override])
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_pattern_in_quotes_is_taken_as_it_stands(path: Path) -> None:
    recipe = load_recipe(path, ["sources=[{path: a, share: 1, hold_out: '0010'}]"])
    assert recipe.sources[0].hold_out == "0010"


@pytest.mark.parametrize("kind", [Recipe, SourceRecipe])
def test_the_docstrings_tell_of_every_key(kind: type) -> None:
    said = set(re.findall(r"\w+", kind.__doc__ or ""))
    assert {field.name for field in dataclasses.fields(kind)} - said - {"sources"} == set()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "holds a NoneType; expected a mapping"),
        ("- steps", "holds a list; expected a mapping"),
        ("steps: [1", "is not YAML"),
        ("steps: 3", "has no recipe key 'sources'"),
        ("1: 2", "unknown recipe key 1"),
    ],
)
def test_a_file_that_is_no_recipe_is_refused_by_name(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(text)
    with pytest.raises(ValueError) as caught:
        load_recipe(path)
    assert said in str(caught.value) and (str(path) in str(caught.value) or "key 1" in said)


def test_sources_are_drawn_alike_unless_their_shares_say_otherwise(tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text("sources: [{path: a}, {path: b, share: 2}]\n")
    assert [source.share for source in load_recipe(tmp_path / "recipe.yaml").sources] == [1.0, 2.0]
