"""`dcfm bench`: how much DCFM saves, everything timed in one run so that the ratios hold on a noisy machine."""

from __future__ import annotations

import importlib.util
import json
import statistics
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from functools import cache
from pathlib import Path
from typing import Any

import click
import torch
from rich.console import Console

from dcfm_ros.cli.bench_machine import device_name, peak_memory_mb
from dcfm_ros.cli.bench_network import Drive, Eager, measure, published
from dcfm_ros.cli.bench_recording import recording_table
from dcfm_ros.cli.bench_streams import measure_streams
from dcfm_ros.cli.bench_tables import budget_line, network_table, pushes_table, stages_table, streams_table
from dcfm_ros.cli.options import stream_option
from dcfm_ros.cli.passes import PassInput, run_pass
from dcfm_ros.cli.sizes import SizeType
from dcfm_ros.datasets.street import StreetConfig, StreetDrive
from dcfm_ros.imaging.frame import Frame
from dcfm_ros.imaging.geometry import network_size
from dcfm_ros.imaging.motion import Align
from dcfm_ros.machine.libraries import versions
from dcfm_ros.model import DCFM, create_model, load_weights, save_weights
from dcfm_ros.recordings.writers import BagWriter
from dcfm_ros.streaming.backends.base import PRECISIONS, Backend
from dcfm_ros.streaming.backends.select import BACKENDS, create_backend
from dcfm_ros.streaming.options import KeyframeMode
from dcfm_ros.streaming.result import STAGES
from dcfm_ros.weights import DEFAULT_WEIGHTS

NETWORKS = ("camvid_lite0", "camvid_resnet18", "cityscapes_resnet18")
_SIZES = {"cityscapes_resnet18": (512, 1024)}
_AT_SPEED = (200, 230)  # frames of the rendered drive
_STREAMS_HZ = 10.0


@click.command()
@click.option(
    "--weights",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help=f"Default: {', '.join(NETWORKS)}; with random weights where none ship.",
)
@click.option(
    "--exported",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    multiple=True,
    help="Also a folder that `dcfm export` made of these weights, on each backend.",
)
@click.option(
    "--input-size",
    "size",
    type=SizeType(),
    help="Size of the network's input. Default: the size that the weights were trained at.",
)
@click.option(
    "--camera",
    type=SizeType(),
    default="720x1280",
    show_default=True,
    help="Size of the camera's pictures, for the times of whole frames; the network sees them in their aspect, with as "
    "many pixels as --input-size has.",
)
@click.option(
    "--backend",
    "backends",
    type=click.Choice((*BACKENDS, "all")),
    multiple=True,
    default=("auto",),
    show_default=True,
    help="Backend that runs the network; may be given several times. all: every one that runs here.",
)
@click.option(
    "--precision",
    type=click.Choice(PRECISIONS),
    multiple=True,
    default=("auto",),
    show_default=True,
    help="Precision that the network computes in; may be given several times.",
)
@stream_option("align")
@click.option(
    "--rounds", default=9, type=click.IntRange(min=1), show_default=True, help="Rounds that the medians are taken over."
)
@click.option(
    "--rate", default=15.0, show_default=True, help="Rate in Hz of the camera that frame times are taken with."
)
@click.option(
    "--budget-ms",
    type=click.FloatRange(0, min_open=True),
    help="Also print the smallest keyframe interval at which the mean frame takes no longer.",
)
@click.option("--streams", default=0, type=click.IntRange(min=0), help="Also so many cameras at 10 Hz on one device.")
@stream_option("keyframe_mode", default="async")
@click.option("--seconds", default=20.0, type=click.FloatRange(0.5), help="Length of the run of --streams, in seconds.")
@click.option("--device", default="auto", show_default=True, help="Device: auto, cpu, cuda, cuda:N or gpu (Intel's).")
@click.option("--num-threads", default=0, help="CPU threads; 0: the backend's own choice.")
@click.option("--node/--no-node", default=True, help="Also measure what the ROS node adds to a frame.")
@click.option("--recording/--no-recording", default=True, help="Also measure `dcfm segment` from bag to files.")
@click.option("--training/--no-training", default=True, help="Also measure what a step of training costs.")
@click.option("--json", "json_file", type=click.Path(dir_okay=False, path_type=Path), help="Write the figures there.")
def command(
    weights: Path | None,
    exported: tuple[Path, ...],
    size: tuple[int, int] | None,
    camera: tuple[int, int],
    backends: tuple[str, ...],
    precision: tuple[str, ...],
    align: Align,
    rounds: int,
    rate: float,
    budget_ms: float | None,
    streams: int,
    keyframe_mode: KeyframeMode,
    seconds: float,
    device: str,
    num_threads: int,
    node: bool,
    recording: bool,
    training: bool,
    json_file: Path | None,
) -> None:
    """Time the published network in PyTorch against DCFM on the backends, and a step of training.

    The published network runs plain, in eager mode, with every frame in full. It and DCFM take turns: the network
    alone, and whole pushes of a camera's pictures.
    """
    console = Console()
    document: dict[str, Any] = {"device": device_name(), "versions": versions(), "rows": [], "streams": []}
    names = [name for name in BACKENDS if name != "auto"] if "all" in backends else list(backends)
    with tempfile.TemporaryDirectory() as scratch:
        for path, named in _cases(Path(scratch), weights):
            wanted = [(path, name, one) for name in names for one in precision]
            if path == (weights or DEFAULT_WEIGHTS):
                wanted += [(folder, name, "auto") for folder in exported for name in names]
            made = list(_made(console, wanted, device, num_threads, required="all" not in backends))
            config = made[0].config
            frames = _street(size or network_size(*config.input_size, config.input_size, config.size_multiple))
            drive = Drive(frames, _street(camera), rate)
            plain, own = _networks_in_eager(path, device)
            measured = [measure(plain, own, backend, named, drive, rounds, align) for backend in made]
            rows = [row for row, _ in measured]
            document["rows"] += [asdict(row) for row in rows]
            console.print(network_table(rows))
            console.print(pushes_table(rows))
            for row, pushes in measured:
                console.print(stages_table(row, pushes))
                if budget_ms is not None:
                    console.print(budget_line(row, pushes, budget_ms))
            if streams:
                found = measure_streams(made[0], frames, streams, _STREAMS_HZ, seconds, align, keyframe_mode)
                document["streams"].append(asdict(found))
                console.print(streams_table(found))
    document["peak_memory_mb"] = peak_memory_mb()
    console.print(f"{document['device']}; {', '.join(f'{name} {v}' for name, v in document['versions'].items())}")
    console.print(f"Peak memory of this process {document['peak_memory_mb']:.0f} MB.")
    if json_file is not None:
        json_file.parent.mkdir(parents=True, exist_ok=True)
        json_file.write_text(json.dumps(document, indent=2) + "\n")
    if node and importlib.util.find_spec("rclpy"):
        console.print(_node_overhead(device, num_threads))
    if recording:
        console.print(recording_table(device, num_threads))
    if training and importlib.util.find_spec("accelerate"):
        from dcfm_ros.cli.bench_training import training_table  # needs what the extra `train` brings

        console.print(training_table(device, num_threads))


def _cases(folder: Path, weights: Path | None) -> Iterator[tuple[Path, str]]:
    """Yield weights files, each with what rows call it.

    The one that was asked for, or the one of each of NETWORKS that ships, and random ones where none does.
    """
    if weights is not None:
        yield weights, weights.name
        return
    for name in NETWORKS:
        if name == DEFAULT_WEIGHTS.stem:
            yield DEFAULT_WEIGHTS, DEFAULT_WEIGHTS.name
            continue
        torch.manual_seed(0)
        model = create_model(name)
        model.config = replace(model.config, input_size=_SIZES.get(name, model.config.input_size))
        with torch.no_grad():  # random weights give nearly equal logits, whose order any rounding changes
            model.head[-1].get_parameter("weight").mul_(50)
        save_weights(model, folder / f"{name}.safetensors")
        yield folder / f"{name}.safetensors", "random"


def _networks_in_eager(weights: Path, device: str) -> tuple[Eager, Eager]:
    """The published network that these weights are measured against, and their own; the same where they are its."""
    on = torch.device("cuda" if device != "cpu" and torch.cuda.is_available() else "cpu")
    own = Eager(load_weights(weights), on)
    config = published(own.model.config)
    return own if config == own.model.config else Eager(DCFM(config), on), own


def _made(
    console: Console, wanted: Sequence[tuple[Path, str, str]], device: str, threads: int, required: bool
) -> Iterator[Backend]:
    """Yield the backends of these weights, names and precisions.

    Where they are not all `required`, those that do not run here are named on the console and left out.
    """
    found = 0
    for weights, name, precision in wanted:
        try:
            backend = create_backend(weights, name, device, threads, precision)
        except ValueError as error:
            if required:
                raise
            console.print(f"[dim]{name} {precision}: {error}[/dim]")
            continue
        found += 1
        console.print(backend.description)
        yield backend
    if not found:
        raise ValueError(f"no backend of {', '.join(name for _, name, _ in wanted)} runs on device {device!r}")


@cache
def _street(size: tuple[int, int]) -> list[Frame]:
    """Consecutive frames of a rendered drive at speed, of this size."""
    drive = StreetDrive(StreetConfig(seed=0, frames=300, height=size[0], width=size[1]))
    return [drive.frame(index) for index in range(*_AT_SPEED)]


def _node_overhead(device: str, threads: int) -> str:
    """Say what a frame spends in the node outside the segmenter's stages: callback entry to publication, mask only."""
    with tempfile.TemporaryDirectory() as folder:
        bag, frames = Path(folder) / "drive", 60
        with BagWriter(bag, "/camera/image_raw") as writer:
            for frame in StreetDrive(StreetConfig(frames=frames, height=720, width=1280)):
                writer.write(frame)
        result = run_pass(
            PassInput(bag, 15.0, frames),
            Path(folder) / "timing",
            "node at 1280x720",
            {"device": device, "num_threads": threads},
            lossless=True,
            pictures=False,
        )
    added = [float(row["latency_ms"]) - sum(float(row[f"{stage}_ms"]) for stage in STAGES) for row in result.frames]
    p95 = statistics.quantiles(added, n=20)[-1]
    return f"The node adds {statistics.median(added):.2f} ms (p95 {p95:.2f}) to a frame of 1280x720, {frames} frames."
