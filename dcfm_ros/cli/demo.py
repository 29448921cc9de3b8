"""`dcfm demo [INPUT]`: a drive through the real node: lossless, in real time, and with the full network."""

from __future__ import annotations

import shutil
import statistics
from dataclasses import replace
from pathlib import Path

import click
from rich.console import Console
from rich.progress import track
from rich.table import Table

# What the demo starts imports it: what lacks is told before anything is rendered.
import dcfm_ros.node.segmentation_node  # noqa: F401
from dcfm_ros.cli.options import stream_option
from dcfm_ros.cli.passes import PassError, PassInput, PassResult, run_pass
from dcfm_ros.datasets.street import StreetConfig, StreetDrive
from dcfm_ros.recordings import open_recording
from dcfm_ros.recordings.writers import BagWriter, MaskWriter
from dcfm_ros.streaming.backends.select import check_weights

FULL_NETWORK_FRAMES = 60
"""How many frames the full network is timed on: enough for a median, and it is the slow pass."""


@click.command()
@click.argument("source", metavar="[INPUT]", required=False, type=click.Path(exists=True, path_type=Path))
@click.option(
    "--output",
    default="demo_output",
    show_default=True,
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder that results are written to; what an earlier demo left there is removed.",
)
@click.option("--topic", help="The image topic of a bag that has several.")
@click.option("--weights", type=click.Path(exists=True, path_type=Path), help="A file or an exported folder.")
@stream_option("keyframe_interval")
@click.option("--seed", default=0, show_default=True, help="Seed of the drive that is rendered when there is no INPUT.")
@click.option("--frames", type=click.IntRange(min=1), help="Use only the first N frames.")
def command(
    source: Path | None,
    output: Path,
    topic: str | None,
    weights: Path | None,
    keyframe_interval: int,
    seed: int,
    frames: int | None,
) -> None:
    """Segment INPUT: a rosbag2 folder, a video or a folder of images. Without INPUT a drive is rendered.

    Leaves OUTPUT/overlay.mp4, OUTPUT/masks/000000.png (class ids, one for every frame) and OUTPUT/timing.csv.
    """
    check_weights(weights or "")
    _empty(output)
    path = source or _render(output / "drive", output / "drive_labels", seed, frames)
    with open_recording(path, topic) as recording:
        total = min(frames or len(recording), len(recording))
        drive = PassInput(path, recording.rate_hz, total, topic)
    parameters: dict[str, object] = {"keyframe_interval": keyframe_interval}
    if weights is not None:
        parameters["weights"] = weights.resolve()

    passes = {"lossless": run_pass(drive, output, "lossless", parameters, lossless=True, pictures=True)}
    if missing := [i for i in range(total) if not (output / "masks" / f"{i:06d}.png").is_file()]:
        raise PassError(f"the lossless pass left {len(missing)} of {total} frames without a mask, first {missing[0]}")
    passes["real time"] = run_pass(
        drive, output / "real_time", "in real time", parameters, lossless=False, pictures=False
    )
    some = replace(drive, frames=min(total, FULL_NETWORK_FRAMES))
    passes["full network"] = run_pass(
        some, output / "full_network", "full network", parameters | {"mode": "full"}, lossless=True, pictures=False
    )
    console = Console()
    console.print(_table(passes, drive))
    console.print(f"{output}/overlay.mp4, {output}/masks/, {output}/timing.csv")


def _empty(output: Path) -> None:
    """Remove what an earlier demo left, and nothing else."""
    for name in ("masks", "drive", "drive_labels", "real_time", "full_network"):
        shutil.rmtree(output / name, ignore_errors=True)
    for name in ("overlay.mp4", "timing.csv", "counts.json"):
        (output / name).unlink(missing_ok=True)


def _render(bag: Path, labels: Path, seed: int, frames: int | None) -> Path:
    """A rendered drive as a bag, with its exact labels beside it."""
    config = StreetConfig(seed=seed, frames=frames or StreetConfig.frames)
    drive = StreetDrive(config)
    bag.parent.mkdir(parents=True, exist_ok=True)
    with BagWriter(bag, "/camera/image_raw") as images, MaskWriter(labels) as masks:
        pairs = track(drive.labelled(), "rendering a drive", total=len(drive))
        for index, (frame, label) in enumerate(pairs):
            images.write(frame)
            masks.write(index, label)
    return bag


def _table(passes: dict[str, PassResult], drive: PassInput) -> Table:
    table = Table(header_style="bold")
    table.add_column("")
    for name in passes:
        table.add_column(name, justify="right")
    for count in ("received", "processed", "dropped", "rejected", "failed"):
        table.add_row(count, *(result.counts.get(count, "?") for result in passes.values()))
    keyframes = (str(len(result.milliseconds("latency_ms", True))) for result in passes.values())
    table.add_row("keyframes", *keyframes, end_section=True)
    for kind, is_keyframe in (("keyframe", True), ("other frame", False)):
        latencies = [result.milliseconds("latency_ms", is_keyframe) for result in passes.values()]
        table.add_row(f"{kind}, median ms", *(_cell(values, 50) for values in latencies))
        table.add_row(f"{kind}, p95 ms", *(_cell(values, 95) for values in latencies), end_section=True)
    means = [_mean(result) for result in passes.values()]
    table.add_row("all frames, mean ms", *(f"{value:.1f}" for value in means))
    in_full = len(passes["full network"].frames)
    table.caption = (
        f"{drive.frames} frames at {drive.rate_hz:.4g} Hz; full network: the first {in_full}.\n"
        "ms from receipt to the mask's publication"
    )
    return table


def _cell(values: list[float], percent: int) -> str:
    if len(values) < 2:
        return f"{values[0]:.1f}" if values else "-"
    return f"{statistics.quantiles(values, n=100, method='inclusive')[percent - 1]:.1f}"


def _mean(result: PassResult) -> float:
    values = [float(row["latency_ms"]) for row in result.frames]
    return statistics.fmean(values) if values else 0.0
