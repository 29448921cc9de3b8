"""`dcfm segment INPUT`: masks, an overlay, a bag and a table of a recording, without ROS."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

import click
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from dcfm_ros import __version__
from dcfm_ros.cli.fleet import over_a_fleet
from dcfm_ros.cli.options import backend_options, check_repeatable, stream_options
from dcfm_ros.files import files_under, sha256_of, write_whole
from dcfm_ros.machine.libraries import versions
from dcfm_ros.offline import run_file
from dcfm_ros.offline.decisions import read_decisions
from dcfm_ros.offline.outputs import KINDS, Kind
from dcfm_ros.offline.segmenting import Summary, segment
from dcfm_ros.recordings import open_recording
from dcfm_ros.streaming import StreamOptions, StreamSegmenter
from dcfm_ros.streaming.backends.select import create_backend
from dcfm_ros.weights import DEFAULT_WEIGHTS

_SHOWN_LOSSES = 10


def _kinds(context: click.Context, parameter: click.Parameter, value: str) -> list[Kind]:
    wanted = value.split(",")
    if unknown := [name for name in wanted if name not in KINDS]:
        raise click.BadParameter(f"there is no {unknown[0]!r}; expected some of {', '.join(KINDS)}")
    return [kind for kind in KINDS if kind in wanted]


def _refusal(values: Mapping[str, Any]) -> str:
    if values["followed"]:
        return "--decisions are the decisions of one recording; expected none"
    return (
        ""
        if "masks" in values["kinds"]
        else "Interrupted runs are continued from their masks; expected masks in --save"
    )


@click.command()
@click.argument("path", metavar="INPUT", type=click.Path(exists=True, path_type=Path))
@click.option(
    "--output",
    required=True,
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder that masks and the rest are written to.",
)
@click.option("--topic", help="The image topic of a bag that has several.")
@click.option("--rate", type=click.FloatRange(min=0, min_open=True), help="Frames per second of a folder or video.")
@click.option("--weights", type=click.Path(exists=True), help="A file or an exported folder. Default: those that ship.")
@stream_options()
@backend_options
@click.option(
    "--save",
    "kinds",
    callback=_kinds,
    default=",".join(KINDS),
    show_default=True,
    help="Files to write, separated by commas.",
)
@click.option(
    "--decisions",
    "followed",
    type=click.Path(exists=True, path_type=Path),
    help="A bag with the node's timing, or a frames.csv: process the frames and take the keyframes of that run.",
)
@click.option(
    "--timing-topic",
    default="/segmentation/timing",
    show_default=True,
    help="Topic of the timing in a bag of --decisions.",
)
@click.option(
    "--resume", is_flag=True, help="Continue the run in --output, at the keyframe before its first missing mask."
)
@over_a_fleet(_refusal, begun=run_file.NAME)
def command(
    path: Path,
    output: Path,
    topic: str | None,
    rate: float | None,
    weights: str | None,
    options: StreamOptions,
    backend: str,
    precision: str,
    device: str,
    num_threads: int,
    kinds: list[Kind],
    followed: Path | None,
    timing_topic: str,
    resume: bool,
) -> None:
    """Segment INPUT (a bag, a video, a folder of images) as the node would, and lose no frame.

    Leaves OUTPUT/masks/000000.png (class ids), OUTPUT/overlay.mp4, OUTPUT/bag (a rosbag2 with the node's topics
    /segmentation/mask, color, overlay/compressed, timing and labels, at the images' stamps), OUTPUT/frames.csv,
    labels.json and run.json. Of a damaged INPUT everything that can be read is read, and the losses are listed at the
    end. After Ctrl-C the files hold what was done so far; --resume then keeps the masks, and writes the overlay and the
    bag again from them.

    With --jobs or --ray, INPUT is a folder that holds recordings at any depth, and each leaves all this in a folder of
    its own in OUTPUT. A second run passes over those that are done and continues with the others. Each job gets its
    part of the CPU's cores, or --num-threads. Exit code: 1 where one failed.
    """
    if not followed:
        check_repeatable(options)
    if resume and "masks" not in kinds:
        raise click.UsageError("--resume continues from the masks of the run; expected masks in --save")
    network = create_backend(weights or "", backend, device, num_threads, precision)
    decisions = read_decisions(followed, timing_topic) if followed else None
    made_of = {
        "input": {"name": path.resolve().name, "topic": topic, "rate": rate, "fingerprint": run_file.fingerprint(path)},
        "weights": {"name": network.config.name, "sha256": sha256_of(files_under(Path(weights or DEFAULT_WEIGHTS)))},
        "backend": network.description,
        "options": options.to_json() | {"save": kinds},
        "decisions": None if followed is None else run_file.fingerprint(followed),
        "versions": {"dcfm_ros": __version__} | versions(),
    }
    with open_recording(path, topic, rate, damaged="skip") as recording:
        run_file.begin(output, made_of, resume)
        write_whole(output / "labels.json", StreamSegmenter(network).labels.to_json() + "\n")
        total = len(decisions.frames) if decisions else len(recording)
        with _interruptible() as is_stopped, _progress() as progress:
            task = progress.add_task("segmenting", total=total)
            advance = partial(progress.advance, task)
            summary = segment(recording, output, kinds, network, options, decisions, resume, advance, is_stopped)
        losses = recording.losses
    run_file.finish(output, vars(summary) | {"losses": losses})
    _tell(summary, losses, output, can_go_on="masks" in kinds)
    if not summary.is_complete:
        sys.exit(130)


@contextmanager
def _interruptible() -> Iterator[Callable[[], bool]]:
    """Whether Ctrl-C was pressed; pressed again, it interrupts as ever."""
    pressed: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        pressed.append(number)
        signal.signal(signal.SIGINT, before)

    before: Any = signal.signal(signal.SIGINT, note)
    try:
        yield lambda: bool(pressed)
    finally:
        signal.signal(signal.SIGINT, before)


def _progress() -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, transient=True)


def _tell(summary: Summary, losses: Sequence[str], output: Path, can_go_on: bool) -> None:
    rate = (summary.frames - summary.went_on_at) / summary.seconds if summary.seconds else 0.0
    what = f"{summary.frames} frames, {summary.keyframes} keyframes, {rate:.1f} frames a second"
    if not summary.is_complete:
        what = f"interrupted after {what}{'; --resume continues' if can_go_on else ''}"
    click.echo(f"{output}: {what}")
    if summary.differing:
        click.echo(
            f"{summary.differing} of the {summary.frames} masks have other class shares than those of the run that was "
            "followed: are weights, backend and options the same?"
        )
    if losses:
        click.echo("What could not be read:")
    for loss in losses[:_SHOWN_LOSSES]:
        click.echo(f"  {loss}")
    if len(losses) > _SHOWN_LOSSES:
        click.echo(f"  and {len(losses) - _SHOWN_LOSSES} more; all are in {output / 'run.json'}")
