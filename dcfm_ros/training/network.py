"""The network that a run begins with: its configuration, its classes and its first weights."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

from dcfm_ros.datasets.open import classes_of
from dcfm_ros.imaging.labels import LABEL_SETS, LabelSet, difference, labels_for
from dcfm_ros.model import DCFM, ModelConfig, model_config
from dcfm_ros.model.installed import initial_weights
from dcfm_ros.model.pretrained import initialise
from dcfm_ros.training.recipe import Recipe

log = logging.getLogger(__name__)


def first_network(recipe: Recipe) -> DCFM:
    """The recipe's model for the classes of its sources, with the weights of `init` where it names some.

    Raises ValueError (DatasetError, WeightsError) when there is no such model, the recipe's crop is too small for it,
    the sources' classes differ, or the initial weights cannot be used.
    """
    config = model_config(recipe.model)
    if min(recipe.crop) < config.size_multiple:
        raise ValueError(
            f"recipe key 'crop' is {recipe.crop}; expected sides of at least {config.size_multiple} for {recipe.model}"
        )
    fusion = config.fusion if recipe.fusion == "model" else recipe.fusion
    config = replace(config, fusion=fusion, resize_first=recipe.resize_first)
    labels = classes_of_sources(recipe)
    if labels is not None:
        config = with_classes(config, labels)
    model = DCFM(config)
    if recipe.init:
        path = initial_weights(recipe.init, recipe.data_root)
        log.info("begins from %s; %s", path, _left_in_words(model, initialise(model, path)))
    return model


def classes_of_sources(recipe: Recipe) -> LabelSet | None:
    """Return the classes that the sources' data sets say they have; None where none says it.

    A published data set says it, and a folder with classes.yaml. Names must agree; the colours are those of the first
    that says them. Raises ValueError, naming both sources, when names differ, and DatasetError as `classes_of` does.
    """
    first: tuple[Path, LabelSet] | None = None
    for source in recipe.sources:
        root = Path(recipe.data_root) / source.path
        labels = classes_of(source.dataset, root)
        if labels is None:
            continue
        if first is None:
            first = root, labels
        elif differ := difference(first[1], labels):
            raise ValueError(f"the sources {first[0]} and {root} have different classes: {differ}; expected the same")
    return first[1] if first else None


def with_classes(config: ModelConfig, labels: LabelSet) -> ModelConfig:
    """`config` for these classes. It carries their names and colours, unless they are those of a known label set."""
    if labels == labels_for(config.num_classes, config.label_set, config.class_names, config.palette):
        return config
    known = next((name for name, others in LABEL_SETS.items() if others == labels), "")
    names, palette = ((), ()) if known else (labels.names, labels.colors)
    log.info("the network tells %d classes apart: %s", len(labels), ", ".join(labels.names))
    return replace(config, num_classes=len(labels), label_set=known, class_names=names, palette=palette)


def _left_in_words(model: DCFM, left: list[str]) -> str:
    """Say what `initialise` left at random values, for a person."""
    if not left:
        return "nothing is left at random values"
    if len(left) == 1 and left[0].startswith("head."):
        count = model.config.num_classes
        return f"its head is for another number of classes, so that for {count} classes begins anew ({left[0]})"
    more = ", ..." if len(left) > 5 else ""
    return f"{len(left)} tensors that it does not hold begin at random values: {', '.join(left[:5])}{more}"
