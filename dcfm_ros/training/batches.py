"""From a recipe to batches of pairs: its data sets, how often each class is in them, and each process's part."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import torch
from accelerate import Accelerator
from torch import Tensor
from torch.utils.data import DataLoader

from dcfm_ros.datasets.dataset import Dataset
from dcfm_ros.datasets.open import open_dataset
from dcfm_ros.imaging.labels import labels_for
from dcfm_ros.model import DCFM
from dcfm_ros.training.augmentation import Augmentation
from dcfm_ros.training.pairs import Pair, PairDataset, batch_of
from dcfm_ros.training.recipe import Recipe, SourceRecipe
from dcfm_ros.training.sources import KEPT_BYTES, Source, class_frequencies


def pairs_and_class_weights(model: DCFM, recipe: Recipe) -> tuple[PairDataset, Tensor]:
    """All pairs of a run, in order, and the (classes,) float32 weights of the cross-entropies.

    Raises DatasetError or ValueError when a source cannot be used.
    """
    sources = [_source(source, model, recipe) for source in recipe.sources]
    shares = [s.share for s in recipe.sources]
    keys = ("crop", "scale", "rotation", "colour", "focus", "motion", "colour_neighbour", "faults")
    augmentation = Augmentation(**{key: getattr(recipe, key) for key in keys})
    dataset = PairDataset(
        sources,
        shares,
        model.config,
        augmentation,
        recipe.steps * recipe.batch,
        recipe.seed,
        recipe.align,  # type: ignore[arg-type]
    )
    if not recipe.class_balance:  # counting reads every label of the sources
        return dataset, torch.ones(model.config.num_classes)
    frequencies = torch.from_numpy(class_frequencies(sources, shares, model.config.num_classes)).float()
    weights = frequencies.clamp(min=1e-4) ** -recipe.class_balance
    return dataset, weights / (weights * frequencies).sum()


def batches_from(step: int, dataset: PairDataset, recipe: Recipe, accelerator: Accelerator) -> Iterator[Pair]:
    """This process's part of each micro-batch from `step` on: together the processes see the pairs of a single one.

    Raises ValueError when the batch does not divide into that many parts.
    """
    parts = recipe.accumulate * accelerator.num_processes
    if recipe.batch % parts:
        raise ValueError(f"batch is {recipe.batch}; expected a multiple of {parts}, accumulate times processes")
    size = recipe.batch // parts
    firsts = range(
        step * recipe.batch + accelerator.process_index * size, len(dataset), size * accelerator.num_processes
    )
    sampler = [list(range(first, first + size)) for first in firsts]
    loader = DataLoader(
        dataset,
        batch_sampler=sampler,
        num_workers=recipe.workers,
        collate_fn=batch_of,
        worker_init_fn=_in_one_thread,
    )
    with _forked_safely():
        return iter(loader)


def open_split(source: SourceRecipe, split: str, model: DCFM, recipe: Recipe) -> Dataset:
    """A split of a source's data set; one that does not say its classes has the model's. Raises DatasetError."""
    config = model.config
    labels = labels_for(config.num_classes, config.label_set, config.class_names, config.palette)
    return open_dataset(source.dataset, Path(recipe.data_root) / source.path, split, labels)


def _source(source: SourceRecipe, model: DCFM, recipe: Recipe) -> Source:
    return Source(
        open_split(source, source.split, model, recipe),
        model.config,
        source.max_distance,
        source.hold_out,
        source.direction,  # type: ignore[arg-type]
        recipe.picture,  # type: ignore[arg-type]
        KEPT_BYTES // (len(recipe.sources) * max(1, recipe.workers)),  # every worker keeps its own
    )


@contextmanager
def _forked_safely() -> Iterator[None]:
    """End OpenCV's threads before and begin them again after.

    They do not outlive a fork, and a worker that is to do without them would wait for them for ever.
    """
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(threads)


def _in_one_thread(worker: int) -> None:
    """The workers are the parallelism: each with a thread for every core would only be in the others' way."""
    cv2.setNumThreads(1)
