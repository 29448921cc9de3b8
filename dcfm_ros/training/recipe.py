"""A training recipe: what a YAML file in config/train/ may say."""

from __future__ import annotations

import dataclasses
import difflib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml


@dataclass(frozen=True)
class SourceRecipe:
    """path: a folder under `data_root`. share: how often it is drawn. max_distance, hold_out: see pairs.Source."""

    path: str
    share: float
    max_distance: int = 0
    hold_out: str = ""


@dataclass(frozen=True)
class Recipe:
    """Everything a run depends on. Sizes are (height, width) in pixels; a step is one batch of pairs.

    encoder_lr, decoder_lr: peak learning rates of AdamW, reached after `warmup` steps; then they fall as
    (1 - progress) ** poly_power.
    class_balance: cross-entropy weights are frequency ** -class_balance; 0 is the published loss.
    average: decay of the running mean of the weights that is validated and shipped.
    """

    sources: tuple[SourceRecipe, ...]
    model: str = "camvid_resnet18"
    data_root: str = "."
    init: str = ""
    output: str = "runs/camvid_resnet18"
    seed: int = 1
    steps: int = 2000
    batch: int = 4
    crop: tuple[int, int] = (256, 320)
    scale: tuple[float, float] = (0.6, 1.8)
    rotation: float = 10.0
    colour: float = 0.3
    focus: float = 0.5
    class_balance: float = 0.0
    encoder_lr: float = 3e-4
    decoder_lr: float = 1e-3
    weight_decay: float = 0.01
    warmup: int = 100
    poly_power: float = 0.9
    average: float = 0.995
    bf16: bool = True
    validate_every: int = 500
    checkpoint_every: int = 50
    notes: Mapping[str, str] = field(default_factory=dict)


def load_recipe(path: str | os.PathLike[str], overrides: Sequence[str] = ()) -> Recipe:
    """Read a recipe; `overrides` are `key=value` with a YAML value.

    Raises ValueError for a key that does not exist (naming the nearest one), a value of the wrong type, or a file that
    is no mapping.
    """
    values = yaml.safe_load(Path(path).read_text())
    if not isinstance(values, dict):
        raise ValueError(f"{path} holds a {type(values).__name__}; expected a mapping of recipe keys")
    for override in overrides:
        key, sign, value = override.partition("=")
        if not sign:
            raise ValueError(f"{override!r} is no override; expected key=value")
        values[key] = yaml.safe_load(value)
    values = dict(_checked(Recipe, values))
    if not isinstance(values.get("sources"), list) or not values["sources"]:
        raise ValueError(f"{path} names no sources; expected a list of {{path, share}}")
    values["sources"] = tuple(SourceRecipe(**_checked(SourceRecipe, source)) for source in values["sources"])
    return Recipe(**values)


def _checked(kind: type, values: Mapping[str, Any]) -> dict[str, Any]:
    fields = {f.name: f for f in dataclasses.fields(kind)}
    checked = {}
    for key, value in values.items():
        if key not in fields:
            nearest = difflib.get_close_matches(key, fields, n=1)
            hint = f"did you mean {nearest[0]!r}?" if nearest else f"expected one of {', '.join(fields)}"
            raise ValueError(f"unknown recipe key {key!r}; {hint}")
        default = fields[key].default
        if isinstance(default, tuple):
            value = tuple(value)
        elif isinstance(default, (int, float)) and not isinstance(default, bool):
            # YAML reads 3e-4 as a string.
            value = type(default)(value)
        checked[key] = value
    return checked
