"""`dcfm evaluate DATASET`, or `--images DIR --labels DIR`: accuracy on labelled frames."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from dcfm_ros.cli.labelled import dataset_options, make_room, only_frames, opened
from dcfm_ros.cli.options import backend_options, check_repeatable, stream_options
from dcfm_ros.datasets.dataset import Dataset
from dcfm_ros.datasets.one_clip import OneClip
from dcfm_ros.evaluation.disturbances import DISTURBANCES, disturbance_names
from dcfm_ros.evaluation.runs import Evaluation, Reference, check_classes, evaluate, steps
from dcfm_ros.files import write_whole
from dcfm_ros.streaming import StreamOptions, StreamSegmenter
from dcfm_ros.streaming.backends.select import create_backend
from dcfm_ros.weights import DEFAULT_WEIGHTS

_FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)


def _names(context: click.Context, parameter: click.Parameter, value: str | None) -> list[str]:
    try:
        return disturbance_names(value) if value is not None else []
    except ValueError as error:
        raise click.BadParameter(str(error)) from error


@click.command()
@click.argument("root", metavar="[DATASET]", required=False, type=_FOLDER)
@click.option("--images", type=_FOLDER, help="Frames of one clip, each following the last in the order of their names.")
@click.option("--labels", type=_FOLDER, help="Labels: 8-bit PNGs of class ids with the images' stems; some may lack.")
@dataset_options
@click.option("--weights", type=click.Path(exists=True), help="A file or an exported folder. Default: those that ship.")
@stream_options()
@backend_options
@click.option(
    "--against",
    type=click.Choice(("labels", "full")),
    default="labels",
    show_default=True,
    help="Reference of the scores. full: masks of the same network run in full on every frame.",
)
@click.option(
    "--disturb",
    callback=_names,
    metavar="NAME[,NAME...]",
    help=f"Disturb the pictures: {', '.join(DISTURBANCES)}; all or several: each in turn, after the undisturbed ones.",
)
@click.option(
    "--json",
    "json_file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write the scores there; folders are made.",
)
def command(
    root: Path | None,
    images: Path | None,
    labels: Path | None,
    kind: str | None,
    split: str | None,
    only: str,
    weights: str | None,
    options: StreamOptions,
    backend: str,
    precision: str,
    device: str,
    num_threads: int,
    against: Reference,
    disturb: list[str],
    json_file: Path | None,
) -> None:
    """Hold the masks that the node would give against the labels of DATASET, or of --images with --labels.

    Each clip of a data set is a stream of its own, and so is what follows a missing frame. Where at least nine in ten
    frames have a label, the streams run once. Where fewer have, each labelled frame is met once for each distance
    below the keyframe interval, with the keyframe so many frames before it, and mIoU is over all of these. Stills
    that do not follow each other are at distance 0 alone; given as --images they want --mode full.
    """
    if (root is None) == (images is None and labels is None) or (images is None) != (labels is None):
        raise click.UsageError("expected either DATASET, or --images and --labels")
    if root is None and (kind or split):
        raise click.UsageError("--kind and --split describe DATASET; expected neither with --images and --labels")
    network = create_backend(weights or "", backend, device, num_threads, precision)
    check_repeatable(options)
    classes = StreamSegmenter(network).labels
    if root is not None:
        dataset: Dataset
        dataset, kind, split = opened(root, kind, split, classes)
    else:
        assert images is not None and labels is not None
        dataset = OneClip(images, labels, classes)
    dataset = only_frames(dataset, only)
    check_classes(network, dataset)
    dataset.check_labels()
    if json_file is not None:
        make_room(json_file)

    runs: dict[str, Evaluation] = {}
    with Progress(transient=True) as progress:
        for name in disturb if len(disturb) == 1 else ["", *disturb]:
            task = progress.add_task(name or "evaluating", total=steps(dataset, options, against))
            runs[name] = evaluate(
                network,
                dataset,
                options,
                DISTURBANCES.get(name),
                lambda task=task: progress.advance(task),  # type: ignore[misc]
                against,
            )
    _show(runs, options.mode, dataset.strays)
    if json_file is not None:
        ran = {
            "dataset": str(dataset.root),
            "kind": kind,
            "split": split or None,
            "labels": None if labels is None else str(labels),
            "only": only,
            "weights": str(weights or DEFAULT_WEIGHTS),
            "backend": network.description,
            "options": options.to_json(),
            "against": against,
        }
        write_whole(json_file, json.dumps(_document(runs) | ran, indent=2) + "\n")


def _document(runs: dict[str, Evaluation]) -> dict[str, Any]:
    """The scores of the first run, and the mIoU of each disturbance."""
    name, first = next(iter(runs.items()))
    scores = asdict(first)
    means = {"mIoU": scores.pop("miou"), "mIoU_present": scores.pop("miou_present"), "wIoU": scores.pop("wiou")}
    disturbed = {name: result.miou for name, result in runs.items() if name}
    return means | scores | {"disturb": name or None, "disturbed": disturbed}


def _show(runs: dict[str, Evaluation], mode: str, strays: Mapping[int, int]) -> None:
    console = Console()
    name, first = next(iter(runs.items()))
    console.print(_scores(first, f"disturbed: {name}" if name else None))
    if len(runs) > 1:
        table = Table("pictures", header_style="bold")
        table.add_column("mIoU", justify="right")
        for name, result in runs.items():
            table.add_row(name or "undisturbed", f"{result.miou:.3f}")
        console.print(table)
    console.print(
        f"{first.labelled} labelled of {first.frames} frames, {first.keyframes} keyframes, "
        f"{first.ms_per_frame:.1f} ms a frame"
    )
    if first.sparse and mode != "full":
        console.print("Labels are sparse: each was met at every distance from the keyframe; mIoU is over all of these.")
    if first.without_predecessor and mode != "full":
        console.print(f"Labelled frames without a frame before them in time: {first.without_predecessor}.")
    if strays:
        found = ", ".join(f"{label} in {pixels} pixels" for label, pixels in sorted(strays.items()))
        console.print(f"Labels that the data set should not have were ignored: {found}.")


def _scores(result: Evaluation, title: str | None) -> Table:
    table = Table("class", title=title, header_style="bold")
    for heading in ("IoU", "masks"):
        table.add_column(heading, justify="right")
    for name, value in result.per_class.items():
        table.add_row(name, f"{value:.3f}")
    table.add_section()
    table.add_row("mIoU, over all classes", f"{result.miou:.3f}", str(sum(result.labelled_by_distance.values())))
    for distance, value in result.by_distance.items():
        frames = str(result.labelled_by_distance[distance])
        table.add_row(f"  {distance} frames from the keyframe", f"{value:.3f}", frames)
    others = (
        ("mIoU, over classes that occur", result.miou_present),
        ("wIoU", result.wiou),
        ("mVC8", result.mvc8),
        ("mVC16", result.mvc16),
    )
    for name, other in others:
        if other is not None:
            table.add_row(name, f"{other:.3f}")
    return table
