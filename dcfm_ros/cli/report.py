"""`dcfm report INPUT`: what a recording's masks are like and what they cost, as a page, numbers and tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource
from rich.console import Console
from rich.progress import Progress

from dcfm_ros.cli.bench_machine import device_name
from dcfm_ros.cli.fleet import over_a_fleet
from dcfm_ros.cli.options import backend_options, stream_options
from dcfm_ros.datasets.dataset import DatasetError
from dcfm_ros.datasets.open import FOLDER, KINDS, kind_of, open_dataset
from dcfm_ros.evaluation.report.document import document
from dcfm_ros.evaluation.report.frames import FULL, RECORDED
from dcfm_ros.evaluation.report.in_step import Measured, run_in_step
from dcfm_ros.evaluation.report.index import INDEX, Entry, write_index
from dcfm_ros.evaluation.report.inputs import DatasetInput, Input, RecordingInput
from dcfm_ros.evaluation.report.recorded import RecordedMasks, camera_topic, has_masks, read_drive
from dcfm_ros.evaluation.report.summary import summary, warnings
from dcfm_ros.evaluation.report.writing import REPORT, write_report
from dcfm_ros.evaluation.runs import check_classes
from dcfm_ros.files import files_under, sha256_of
from dcfm_ros.imaging.labels import LabelSet
from dcfm_ros.machine.libraries import versions
from dcfm_ros.offline.fleet import Outcome
from dcfm_ros.recordings import open_recording
from dcfm_ros.recordings.open import files_of
from dcfm_ros.streaming import FixedInterval, StreamOptions, StreamSegmenter
from dcfm_ros.streaming.backends.base import Backend
from dcfm_ros.streaming.backends.select import create_backend
from dcfm_ros.weights import DEFAULT_WEIGHTS

_FOLDER = click.Path(file_okay=False, path_type=Path)


def _intervals(context: click.Context, parameter: click.Parameter, value: str) -> list[int]:
    parts = [part.strip() for part in value.split(",")]
    if not all(part.isdecimal() and 1 <= int(part) <= 1000 for part in parts):
        raise click.BadParameter(f"{value!r} is no list of intervals; expected numbers from 1 to 1000, like 1,2,5,10")
    return sorted({int(part) for part in parts})


def _refusal(values: Mapping[str, Any]) -> str:
    return "--labels are the labels of one recording; expected none" if values["labels"] else ""


def _write_index(output: Path, outcomes: Sequence[Outcome]) -> None:
    """Write the index of all recordings that have a report: those of a former run stay."""
    entries = [Entry(outcome.job.name, outcome.reason) for outcome in outcomes if outcome.state != "interrupted"]
    output.mkdir(parents=True, exist_ok=True)
    write_index(output, entries)
    Console().print(f"Wrote {output / INDEX}", highlight=False)


@click.command()
@click.argument("path", metavar="INPUT", type=click.Path(exists=True, path_type=Path))
@click.option("--output", default="report", show_default=True, type=_FOLDER, help="Made where it is missing.")
@click.option(
    "--labels",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Labels: 8-bit PNGs of class ids, named after the image, the frame's index or its stamp in ns; some may lack.",
)
@click.option("--topic", help="The image topic of a bag. Default: the only one, or that with --node's camera in it.")
@click.option("--split", help="Split of a data set: train, val or test.")
@click.option(
    "--intervals",
    default="1,2,5,10",
    show_default=True,
    callback=_intervals,
    help="More keyframe intervals to run, to compare --keyframe-interval with; 1 is the full network.",
)
@click.option("--recorded", is_flag=True, help="Read what the robot's node recorded in the bag; no network is run.")
@click.option(
    "--node",
    default="/segmentation",
    show_default=True,
    help="Prefix of the topics of the robot's node, in a bag that holds its masks.",
)
@click.option("--weights", type=click.Path(exists=True), help="A file or an exported folder. Default: those that ship.")
@stream_options(modes=("causal", "bidirectional"))
@backend_options
@over_a_fleet(_refusal, finish=_write_index)
def command(
    path: Path,
    output: Path,
    labels: Path | None,
    topic: str | None,
    split: str | None,
    intervals: list[int],
    recorded: bool,
    node: str,
    weights: str | None,
    options: StreamOptions,
    backend: str,
    precision: str,
    device: str,
    num_threads: int,
) -> None:
    """Segment INPUT, and write report.html, metrics.json, frames.csv, classes.csv and runs.csv into --output.

    INPUT is a bag, a video, a folder of images, or a data set as `dcfm evaluate` takes it. The stream with
    --keyframe-interval (or --schedule) is what most of the report is about. On each frame it takes turns with a stream
    for each of --intervals and with the full network, so that all figures come from the same frames and minutes.
    Labels are not needed: masks are compared with those of the full network, and with labels where there are any.
    Where a bag holds the masks and timings of the robot's node, these are compared with the full network's as well.

    With --recorded no network is run: the report shows the latency, keyframes, dropped images, class shares and flicker
    that the robot's node had on the drive.

    With --jobs or --ray, INPUT is a folder that holds recordings at any depth: each gets a report in a folder of its
    own in --output, which gets an index.html and an index.csv of all. A second run passes over those that are done.
    Exit code: 1 where one failed.
    """
    if recorded:
        _check_options()
        _report_drive(path, output, node, topic)
        return
    if options.keyframe_mode == "async":
        raise click.UsageError(
            "--keyframe-mode async cannot be reported, as the runs of a report take turns frame by frame; expected "
            "--keyframe-mode sync (`dcfm bench` measures async)"
        )
    robot = node.rstrip("/")
    has_live = has_masks(path, robot)
    if not has_live and _is_given("node"):
        raise click.UsageError(
            f"{path} is no bag that holds {robot}/mask and {robot}/timing; expected it to, or no --node"
        )
    if has_live:
        topic = camera_topic(path, robot, topic)
    network = create_backend(weights or "", backend, device, num_threads, precision)
    classes = StreamSegmenter(network).labels
    live, said = _live(path, robot, classes) if has_live else (None, [])
    kind, source = _open(path, labels, topic, split, network, classes)
    shown, streams = _streams(network, options, intervals)
    output.mkdir(parents=True, exist_ok=True)
    weights = str(weights or DEFAULT_WEIGHTS)
    facts = {
        "input": {
            "name": path.resolve().name,
            "path": str(path),
            "kind": kind,
            "topic": topic,
            "split": split,
            "frames": len(source),
            "gaps": source.gaps,
            "sha256": sha256_of(source.files),
            "labels": None if labels is None else str(labels),
            "labels_sha256": sha256_of(source.label_files) if source.label_files else None,
        },
        "ran": {
            "weights": weights,
            "weights_sha256": sha256_of(files_under(Path(weights))),
            "backend": network.description,
            **options.to_json(),
        },
        "made_with": {"device": device_name(), "versions": versions()},
        "drive": None,
        "live": None if live is None else {"mask_topic": f"{robot}/mask"},
        "warnings": said,
    }
    with Progress(transient=True) as progress:
        task = progress.add_task("segmenting", total=len(source))
        measured = run_in_step(network, source, streams, shown, live, partial(progress.advance, task))
    _finish(output, measured, facts, classes)


def _check_options() -> None:
    """Raises UsageError for an option that --recorded would ignore."""
    of_drives = {"path", "output", "topic", "recorded", "node"}
    given = (option for option in click.get_current_context().params if _is_given(option))
    if stray := next((option for option in given if option not in of_drives), None):
        raise click.UsageError(
            f"--{stray.replace('_', '-')} has no effect with --recorded, which runs no network; expected one of them"
        )


def _is_given(option: str) -> bool:
    return click.get_current_context().get_parameter_source(option) is ParameterSource.COMMANDLINE


def _live(path: Path, node: str, classes: LabelSet) -> tuple[RecordedMasks | None, list[str]]:
    """What the robot published, or a warning why it cannot be compared."""
    live = RecordedMasks(path, node)
    if live.names == classes.names:
        return live, []
    return None, [
        f"The masks on {node}/mask are not compared with this run: they have the classes {', '.join(live.names)}, and "
        f"the weights have {', '.join(classes.names)}."
    ]


def _report_drive(path: Path, output: Path, node: str, topic: str | None) -> None:
    drive = read_drive(path, node.rstrip("/"), topic)
    output.mkdir(parents=True, exist_ok=True)
    facts = {
        "input": {
            "name": path.resolve().name,
            "path": str(path),
            "kind": "recorded drive",
            "topic": topic,
            "frames": len(drive.measured.runs[RECORDED]),
            "sha256": sha256_of(files_of(path)),
            "labels_sha256": None,
        },
        "ran": {"node": node.rstrip("/")},
        "made_with": {"versions": versions()},
        "drive": drive.drive,
    }
    _finish(output, drive.measured, facts, drive.labels)


def _finish(output: Path, measured: Measured, facts: dict[str, Any], classes: LabelSet) -> None:
    """Write the report and say what is in it."""
    metrics = document(measured, classes.names, facts)
    write_report(output, measured, metrics, classes)
    console = Console()
    for sentence in (*warnings(metrics), *summary(metrics)):
        console.print(sentence, highlight=False)
    console.print(f"Wrote {output / REPORT}", highlight=False)


def _open(
    path: Path, labels: Path | None, topic: str | None, split: str | None, network: Backend, classes: LabelSet
) -> tuple[str, Input]:
    """Return which kind of input lies at `path`, and its frames."""
    kind = None if labels is not None or topic is not None else _kind_of_dataset(path, split or "")
    if kind is None:
        if split is not None:
            raise click.UsageError(f"--split names a part of a data set, and {path} is none; expected no --split")
        return "recording", RecordingInput(open_recording(path, topic), path, labels, classes)
    dataset = open_dataset(kind, path, split or ("" if kind == FOLDER else "val"), classes)
    check_classes(network, dataset)
    return kind, DatasetInput(dataset)


def _kind_of_dataset(path: Path, split: str) -> str | None:
    """None where it is a recording, as a folder of images without labels is."""
    if not path.is_dir():
        return None
    try:
        kind = kind_of(path, split)
    except DatasetError:
        return None
    return kind if kind in KINDS or (path / split / "labels").is_dir() else None


def _streams(network: Backend, options: StreamOptions, intervals: list[int]) -> tuple[str, dict[str, StreamSegmenter]]:
    """The name of the run that is shown, and the segmenter of each run; an interval of 1 is the full network itself."""
    wanted = set(intervals)
    if options.fixed_interval is not None:
        wanted.add(options.fixed_interval)
    streams = {f"K={k}": StreamSegmenter(network, options, FixedInterval(k)) for k in sorted(wanted - {1})}
    if options.fixed_interval is not None:
        return FULL if options.fixed_interval == 1 else f"K={options.fixed_interval}", streams
    shown = StreamSegmenter(network, options)
    name = type(shown.schedule).__name__
    return name, streams | {name: shown}
