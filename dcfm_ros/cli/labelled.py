"""Options of the commands that hold masks against labels: which frames of which data set, and where scores go."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from copy import copy
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import click

from dcfm_ros.datasets.dataset import Clip, Dataset
from dcfm_ros.datasets.open import FOLDER, KINDS, kind_of, open_dataset
from dcfm_ros.imaging.labels import LabelSet

_DEFAULT_SPLIT = "val"


def dataset_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """--kind, --split and --only, as `kind`, `split` and `only`."""
    for option in (
        click.option("--only", default="*", show_default=True, help="Only the frames whose stem matches this pattern."),
        click.option("--split", help=f"Split of DATASET. Default: {_DEFAULT_SPLIT}, and none of a folder."),
        click.option(
            "--kind",
            type=click.Choice(("auto", *KINDS, FOLDER)),
            help="Kind of DATASET. auto, the default, looks at what is there: cityscapes has leftImg8bit*/, camvid "
            "id2id.txt, vspw data/ and lists of clips, folder images/ and labels/.",
        ),
    ):
        command = option(command)
    return command


def opened(root: Path, kind: str | None, split: str | None, classes: LabelSet) -> tuple[Dataset, str, str]:
    """The data set that the options say, its kind and its split; `classes` are those of a folder that says none.

    Raises DatasetError as opening it does.
    """
    kind = kind_of(root, split or "") if kind in (None, "auto") else kind
    assert kind is not None
    split = split or ("" if kind == FOLDER else _DEFAULT_SPLIT)
    return open_dataset(kind, root, split, classes), kind, split


def only_frames(dataset: Dataset, pattern: str) -> Dataset:
    """The data set with the frames alone whose stem matches; the others are missing frames.

    Raises click.UsageError when none does.
    """

    def kept(clip: Clip) -> Clip:
        frames = {n: path for n, path in zip(clip.numbers, clip.frames, strict=True) if fnmatch(path.stem, pattern)}
        return Clip.of(clip.name, frames, {clip.numbers[i]: path for i, path in clip.labels.items()}, clip.step)

    selected = copy(dataset)
    selected.clips = tuple(clip for clip in map(kept, dataset.clips) if len(clip))
    if not selected.clips:
        raise click.UsageError(f"no image in {dataset.root} has a stem like {pattern}")
    return selected


def make_room(path: Path) -> None:
    """Make the folder of a file that is written after the run, and see before it that it can be.

    Raises OSError when it cannot.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise OSError(f"{path} cannot be written ({error.strerror}); expected a folder to write in") from error
