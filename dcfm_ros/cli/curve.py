"""`dcfm curve DATASET`: what longer keyframe intervals cost in accuracy and save in time, for several networks."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import click
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from dcfm_ros.cli.bench_machine import device_name
from dcfm_ros.cli.labelled import dataset_options, make_room, only_frames, opened
from dcfm_ros.cli.options import backend_options, stream_option
from dcfm_ros.datasets.dataset import Dataset
from dcfm_ros.evaluation.runs import evaluate, steps
from dcfm_ros.files import write_whole
from dcfm_ros.imaging.motion import Align
from dcfm_ros.machine.libraries import versions
from dcfm_ros.streaming import StreamOptions, StreamSegmenter
from dcfm_ros.streaming.backends.base import Backend
from dcfm_ros.streaming.backends.select import create_backend
from dcfm_ros.streaming.options import Mode
from dcfm_ros.weights import DEFAULT_WEIGHTS

_LONGEST = 1000


@dataclass(frozen=True)
class Point:
    """One network at one keyframe interval.

    miou, miou_present: between 0 and 1, see `Evaluation`. keyframe_ms, other_ms: medians of whole pushes of the data
    set's frames in the same run; other_ms is None at an interval of 1. mean_ms: what they make of the mean push.
    """

    weights: str
    config: str
    backend: str
    interval: int
    miou: float
    miou_present: float
    keyframe_ms: float
    other_ms: float | None
    mean_ms: float


def _intervals(context: click.Context, parameter: click.Parameter, value: str) -> list[int]:
    parts = [part.strip() for part in value.split(",")]
    if not all(part.isdecimal() and 1 <= int(part) <= _LONGEST for part in parts):
        raise click.BadParameter(f"{value!r} is no list of intervals; expected frames, 1 to {_LONGEST}, like 1,3,5,10")
    return sorted({int(part) for part in parts})


@click.command()
@click.argument("root", metavar="DATASET", type=click.Path(exists=True, file_okay=False, path_type=Path))
@dataset_options
@click.option(
    "--weights",
    "files",
    type=click.Path(exists=True, path_type=Path),
    multiple=True,
    help="A file or an exported folder; may be given several times. Default: those that ship.",
)
@click.option(
    "--intervals",
    default="1,3,5,10",
    show_default=True,
    callback=_intervals,
    metavar="FRAMES[,FRAMES...]",
    help="From one keyframe to the next; 1: every frame in full.",
)
@stream_option("align")
@backend_options
@click.option(
    "--json",
    "json_file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write the points there; folders are made.",
)
def command(
    root: Path,
    kind: str | None,
    split: str | None,
    only: str,
    files: tuple[Path, ...],
    intervals: list[int],
    align: Align,
    backend: str,
    precision: str,
    device: str,
    num_threads: int,
    json_file: Path | None,
) -> None:
    """Show mIoU on the labels of DATASET against the milliseconds of the mean frame, at several keyframe intervals.

    Scores are those of `dcfm evaluate`. Networks take turns, interval by interval, so that their times are of one run;
    a time is of the whole call, a frame of DATASET's size in and ids of that size out.
    """
    files = tuple(dict.fromkeys(files)) or (DEFAULT_WEIGHTS,)
    networks = [create_backend(path, backend, device, num_threads, precision) for path in files]
    if json_file is not None:
        make_room(json_file)
    data = [only_frames(opened(root, kind, split, StreamSegmenter(one).labels)[0], only) for one in networks]
    found: dict[Path, list[Point]] = {path: [] for path in files}
    with Progress(transient=True) as progress:
        for interval in intervals:
            mode: Mode = "full" if interval == 1 else "causal"
            options = StreamOptions(mode=mode, align=align, keyframe_interval=interval)
            for path, network, dataset in zip(files, networks, data, strict=True):
                task = progress.add_task(f"{path.name}, K={interval}", total=steps(dataset, options))
                advance = partial(progress.advance, task)
                found[path].append(_point(path, network, dataset, options, advance))
    points = [point for of_network in found.values() for point in of_network]
    Console().print(_table(points, align))
    if json_file is not None:
        document = {
            "dataset": str(root),
            "only": only,
            "align": align,
            "device": device_name(),
            "versions": versions(),
            "points": [asdict(point) for point in points],
        }
        write_whole(json_file, json.dumps(document, indent=2) + "\n")


def _point(path: Path, network: Backend, dataset: Dataset, options: StreamOptions, advance: partial[None]) -> Point:
    scores, interval = evaluate(network, dataset, options, advance=advance), options.keyframe_interval
    if interval > 1 and scores.other_ms is None:
        raise ValueError(
            f"no frame of {dataset.root} that is used follows another; expected clips, in which features can be reused"
        )
    assert scores.keyframe_ms is not None
    return Point(
        weights=str(path),
        config=network.config.name,
        backend=network.description,
        interval=interval,
        miou=scores.miou,
        miou_present=scores.miou_present,
        keyframe_ms=scores.keyframe_ms,
        other_ms=scores.other_ms,
        mean_ms=(scores.keyframe_ms + (interval - 1) * (scores.other_ms or 0)) / interval,
    )


def _table(points: Sequence[Point], align: Align) -> Table:
    """A row for each point; what it loses is against the same network's shortest interval."""
    table = Table(box=None, header_style="bold", padding=(0, 1, 0, 0))
    table.add_column("network", overflow="fold")
    shortest = points[0].interval
    for column in ("K", "mIoU", f"points lost to K={shortest}", "keyframe ms", "other ms", "mean ms"):
        table.add_column(column, justify="right")
    for point in points:
        if point.interval == shortest:
            first = point
        table.add_row(
            f"{point.config} ({Path(point.weights).name})" if point is first else "",
            str(point.interval),
            f"{point.miou:.3f}",
            "" if point is first else f"{100 * (first.miou - point.miou):.1f}",
            f"{point.keyframe_ms:.1f}",
            "" if point.other_ms is None else f"{point.other_ms:.1f}",
            f"{point.mean_ms:.1f}",
        )
    table.caption = f"align={align}; " + "; ".join(sorted({point.backend for point in points}))
    return table
