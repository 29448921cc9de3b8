"""A training recipe: what a YAML file in config/train/ may say."""

from __future__ import annotations

import dataclasses
import difflib
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

import yaml

from dcfm_ros.imaging.motion import ALIGNMENTS
from dcfm_ros.model.catalogue import FUSIONS

_CHOICES = {
    "optimizer": ("adamw", "sgd"),
    "precision": ("auto", "fp32", "bf16", "fp16"),
    "batch_norm": ("batch", "sync", "frozen"),
    "picture": ("network", "source"),
    "fusion": ("model", *FUSIONS),
    "align": ALIGNMENTS,
}


@dataclass(frozen=True)
class SourceRecipe:
    """One source of a recipe's frames: a data set, or a split of it.

    Attributes:
        path: folder under `data_root`.
        share: how often it is drawn, against the other sources' shares; any unit; of one source, of no effect.
        dataset, split: see `datasets.open.open_dataset`.
        max_distance, direction: see `sources.Source`.
        hold_out: glob pattern of stems that are never trained on but validated on; in quotes, as YAML reads 0010 as the
            number 8.
        validate_split: split of the same data set whose labelled frames are validated on, as held-out frames are.

    Raises:
        ValueError: a share that is not above 0, or the same split for both.
    """

    path: str
    share: float = 1.0
    dataset: str = "folder"
    split: str = ""
    max_distance: int = 0
    hold_out: str = ""
    direction: str = "both"
    validate_split: str = ""

    def __post_init__(self) -> None:
        _check_at_least(self, 0, "max_distance")
        if not self.share > 0:
            raise ValueError(f"the share of {self.path} is {self.share}; expected more than 0")
        if self.validate_split and self.validate_split == self.split:
            raise ValueError(f"{self.path} is trained and validated on {self.split!r}; expected two different splits")


@dataclass(frozen=True)
class Recipe:
    """Everything that a training run depends on.

    Sizes are (height, width) in pixels; a step is one batch of pairs.

    Attributes:
        sources: where frames come from, and how often each is drawn.
        model: one of `dcfm models`.
        fusion: "model" for the fusion that `model` has, or one of `model.ModelConfig`; it is written into the weights.
        resize_first: as in `model.ModelConfig`; it is written into the weights, which run as they were trained.
        data_root: folder that the paths of sources and `init` are under.
        init: a file of weights to begin from, the name of an installed package that holds one, or "shipped" for the
            weights that ship with dcfm_ros; empty for random values.
        output: folder of the weights, the checkpoint and TensorBoard's log.
        seed: of the pairs and of dropout.
        steps: how long the run is.
        batch: pairs of a step, over all processes and `accumulate` micro-batches.
        crop: size of a training picture; its sides are at least 32, for ResNet 8.
        scale, rotation, colour, colour_neighbour, focus: how a crop is drawn (rotation in degrees); see
            `augmentation.Augmentation`.
        picture: size at which pictures are cut; see `sources.Source`.
        motion, faults: how far a still's neighbour is from it, and how often a frame is disturbed; see
            `augmentation.Augmentation`.
        class_balance: cross-entropy weights are frequency ** -class_balance; 0 is the published loss.
        reused, consistency, distillation, jaccard, ohem: see `losses.LossOptions`; an ohem of 1 is all pixels, as
            published.
        both_labelled: learn from the neighbour's label too, where it has one; the published loss does not.
        align: whether the other frame's common feature is moved to where the picture is before it is reused, as a
            stream with that `align` does; the published method does not.
        optimizer: "adamw", or "sgd" with a momentum of 0.9.
        encoder_lr, decoder_lr: peak learning rates.
        weight_decay: of the optimizer.
        warmup: steps until the learning rates are at their peak; half of a run that is shorter than twice that.
        poly_power, final_lr: after the peak, rates fall to final_lr as (1 - progress) ** poly_power.
        average: decay of the running mean of the weights that is validated and written, less over the first steps; 0
            for the weights themselves.
        clip_gradient: the largest norm; 0 is any.
        precision: of the forward pass; fp16 is for GPUs. auto: bf16 on a GPU or CPU that computes in it, where it is
            the quickest, and fp32 on others, where bf16 takes several times as long.
        accumulate: micro-batches of a step.
        batch_norm: statistics of each process's "batch", of all processes ("sync", CUDA only), or "frozen".
        workers: processes of each training process that make pairs; 0 when it makes them itself.
        log_every, validate_every, checkpoint_every: in steps.
        validate_frames: how many of the frames to validate on are, spread evenly over them; 0 is all.

    Raises:
        ValueError: a value is out of range; the message names the key.
    """

    sources: tuple[SourceRecipe, ...]
    model: str = "camvid_lite0"
    fusion: str = "model"
    resize_first: bool = False
    data_root: str = "."
    init: str = ""
    output: str = "runs/camvid_lite0"
    seed: int = 1
    steps: int = 2000
    batch: int = 4
    crop: tuple[int, int] = (256, 320)
    scale: tuple[float, float] = (0.6, 1.8)
    rotation: float = 10.0
    colour: float = 0.3
    colour_neighbour: bool = True
    picture: str = "network"
    focus: float = 0.5
    motion: float = 1.0
    faults: float = 0.0
    class_balance: float = 0.0
    reused: float = 0.4
    consistency: float = 10.0
    distillation: float = 0.0
    jaccard: float = 0.0
    ohem: float = 1.0
    both_labelled: bool = False
    align: str = "none"
    optimizer: str = "adamw"
    encoder_lr: float = 3e-4
    decoder_lr: float = 1e-3
    weight_decay: float = 0.01
    warmup: int = 100
    poly_power: float = 0.9
    final_lr: float = 0.0
    average: float = 0.995
    clip_gradient: float = 5.0
    precision: str = "auto"
    accumulate: int = 1
    batch_norm: str = "batch"
    workers: int = 0
    log_every: int = 10
    validate_every: int = 500
    validate_frames: int = 0
    checkpoint_every: int = 50

    def __post_init__(self) -> None:
        _check_at_least(self, 1, "steps", "batch", "accumulate", "log_every", "validate_every", "checkpoint_every")
        _check_at_least(self, 0, "seed", "warmup", "workers", "validate_frames")
        _check_at_least(self, 0, "class_balance", "encoder_lr", "decoder_lr", "final_lr", "weight_decay")
        _check_at_least(self, 0, "poly_power", "clip_gradient", "rotation", "colour", "motion")
        _check_at_least(self, 0, "reused", "consistency", "distillation", "jaccard")
        for name in ("focus", "faults", "average"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"recipe key {name!r} is {getattr(self, name)}; expected 0 to 1")
        if not 0 < self.ohem <= 1:
            raise ValueError(f"recipe key 'ohem' is {self.ohem}; expected a fraction above 0 and at most 1")
        for name, choices in _CHOICES.items():
            if getattr(self, name) not in choices:
                raise ValueError(
                    f"recipe key {name!r} is {getattr(self, name)!r}; expected one of {', '.join(choices)}"
                )
        if min(self.crop) < 1:
            raise ValueError(f"recipe key 'crop' is {self.crop}; expected a height and a width of at least 1")
        if not 0 < self.scale[0] <= self.scale[1]:
            raise ValueError(f"recipe key 'scale' is {self.scale}; expected two numbers above 0, the smaller first")


def load_recipe(path: str | os.PathLike[str], overrides: Sequence[str] = ()) -> Recipe:
    """Read a recipe; `overrides` are `key=value` with a YAML value.

    Raises ValueError for a key that does not exist (naming the nearest one), a value of the wrong type or out of range,
    or a file that is no mapping.
    """
    values = _yaml(Path(path).read_text(), str(path))
    if not isinstance(values, dict):
        raise ValueError(f"{path} holds a {type(values).__name__}; expected a mapping of recipe keys")
    for override in overrides:
        key, sign, value = override.partition("=")
        if not sign:
            raise ValueError(f"{override!r} is no override; expected key=value")
        values[key] = _yaml(value, repr(override))
    values = _checked(Recipe, values, str(path))
    if not isinstance(values["sources"], list) or not values["sources"]:
        raise ValueError(f"{path} names no sources; expected a list of {{path, share}}")
    sources = [_checked(SourceRecipe, source, f"a source of {path}") for source in values["sources"]]
    return Recipe(**values | {"sources": tuple(SourceRecipe(**source) for source in sources)})


def _yaml(text: str, where: str) -> Any:
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        problem = " ".join(str(error).split())
        raise ValueError(f"{where} is not YAML: {problem}") from error


def _check_at_least(recipe: Any, least: float, *names: str) -> None:
    for name in names:
        if not getattr(recipe, name) >= least:
            raise ValueError(f"recipe key {name!r} is {getattr(recipe, name)}; expected at least {least}")


def _checked(kind: type, values: Any, where: str) -> dict[str, Any]:
    if not isinstance(values, dict):
        raise ValueError(f"{where} holds a {type(values).__name__}; expected a mapping of recipe keys")
    hints = get_type_hints(kind)
    checked = {}
    for key, value in values.items():
        if key not in hints:
            nearest = difflib.get_close_matches(str(key), hints, n=1)
            hint = f"did you mean {nearest[0]!r}?" if nearest else f"expected one of {', '.join(hints)}"
            raise ValueError(f"unknown recipe key {key!r}; {hint}")
        if key in _PATTERNS and not isinstance(value, str):
            raise ValueError(
                f"recipe key {key!r} is {value!r}; expected a pattern in quotes, as YAML reads 0010 as the number 8"
            )
        try:
            checked[key] = _converted(value, hints[key])
        except (TypeError, ValueError, OverflowError):
            raise ValueError(f"recipe key {key!r} is {value!r}; expected {_in_words(hints[key])}") from None
    required = [f.name for f in dataclasses.fields(kind) if f.default is f.default_factory is dataclasses.MISSING]
    if missing := [name for name in required if name not in checked]:
        raise ValueError(f"{where} has no recipe key {missing[0]!r}; expected it to be given")
    return checked


def _converted(value: Any, hint: Any) -> Any:
    """`value` as YAML gave it, as the type that `hint` says. Raises TypeError or ValueError when it is none."""
    if parts := _parts(hint):
        if not isinstance(value, list) or len(value) != len(parts):
            raise TypeError
        return tuple(_converted(item, part) for item, part in zip(value, parts, strict=True))
    if isinstance(value, bool) is not (hint is bool):
        raise TypeError
    if hint in (int, float):
        number = float(value)  # YAML reads 3e-4 as a string
        if not math.isfinite(number) or (hint is int and not number.is_integer()):
            raise ValueError
        return hint(number)
    if not isinstance(value, _ACCEPTED.get(hint, object)):
        raise TypeError
    return str(value) if hint is str else value


def _parts(hint: Any) -> tuple[Any, ...]:
    """The types of a tuple of fixed length; empty for any other type."""
    parts = get_args(hint) if get_origin(hint) is tuple else ()
    return () if ... in parts else parts


def _in_words(hint: Any) -> str:
    if parts := _parts(hint):
        return f"a list of {', '.join(_in_words(part) for part in parts)}"
    return {bool: "true or false", int: "a whole number", float: "a number", str: "a string"}.get(hint, "a list")


_PATTERNS = ("hold_out",)
# A folder may be called 2024.
_ACCEPTED: dict[Any, tuple[type, ...]] = {str: (str, int)}
