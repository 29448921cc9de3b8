"""`dcfm bench`: how much DCFM saves, everything timed in one run so that the ratios hold on a noisy machine."""

from __future__ import annotations

import importlib.util
import json
import statistics
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
import torch
from rich.console import Console
from rich.table import Table

from dcfm_ros.cli.bench_machine import device_name, measured_energy, peak_memory_mb, versions
from dcfm_ros.cli.bench_network import Eager, Row, Times, measure
from dcfm_ros.cli.bench_recording import recording_table
from dcfm_ros.cli.bench_streams import Streams, measure_streams
from dcfm_ros.cli.options import SizeType
from dcfm_ros.cli.passes import Source, run_pass
from dcfm_ros.datasets.street import StreetConfig, StreetDrive
from dcfm_ros.imaging.frame import Frame
from dcfm_ros.imaging.motion import ALIGNMENTS, Align
from dcfm_ros.model import create_model, save_weights
from dcfm_ros.recordings.writers import BagWriter
from dcfm_ros.streaming.backends.base import PRECISIONS, Backend
from dcfm_ros.streaming.backends.select import BACKENDS, create_backend
from dcfm_ros.streaming.result import STAGES
from dcfm_ros.streaming.segmenter import KEYFRAME_MODES, KeyframeMode
from dcfm_ros.weights import DEFAULT_WEIGHTS

RANDOM = "cityscapes_resnet18"
_SIZES = {RANDOM: (512, 1024)}
_AT_SPEED = (200, 245)  # frames of the rendered drive
_STREAMS_HZ = 10.0


@click.command()
@click.option(
    "--weights",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help=f"Default: those that ship, and random ones of {RANDOM}.",
)
@click.option(
    "--exported",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    multiple=True,
    help="Also a folder that `dcfm export` made of these weights, on each backend.",
)
@click.option("--size", type=SizeType(), help="Of the network's input. Default: what the weights were trained at.")
@click.option(
    "--backend",
    "backends",
    type=click.Choice((*BACKENDS, "all")),
    multiple=True,
    default=("auto",),
    show_default=True,
    help="May be given several times; all: every one that runs here.",
)
@click.option("--precision", type=click.Choice(PRECISIONS), multiple=True, default=("auto",), show_default=True)
@click.option("--align", type=click.Choice(ALIGNMENTS), default="flow", show_default=True)
@click.option("--rounds", default=9, type=click.IntRange(min=1), show_default=True, help="Medians are over so many.")
@click.option("--rate", default=15.0, show_default=True, help="Hz, of the camera that frame times are taken with.")
@click.option("--streams", default=0, type=click.IntRange(min=0), help="Also so many cameras at 10 Hz on one device.")
@click.option("--keyframe-mode", type=click.Choice(KEYFRAME_MODES), default="async", help="Of these cameras.")
@click.option("--batch/--no-batch", default=False, help="Of these cameras: shallow features of a round in one pass.")
@click.option("--seconds", default=20.0, type=click.FloatRange(0.5), help="Of these cameras.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:N.")
@click.option("--threads", default=0, help="CPU threads; 0: the backend's own choice.")
@click.option("--node/--no-node", default=True, help="Also measure what the ROS node adds to a frame.")
@click.option("--recording/--no-recording", default=True, help="Also measure `dcfm segment` from bag to files.")
@click.option("--training/--no-training", default=True, help="Also measure what a step of training costs.")
@click.option("--json", "json_file", type=click.Path(dir_okay=False, path_type=Path), help="Write the figures there.")
def command(
    weights: Path | None,
    exported: tuple[Path, ...],
    size: tuple[int, int] | None,
    backends: tuple[str, ...],
    precision: tuple[str, ...],
    align: Align,
    rounds: int,
    rate: float,
    streams: int,
    keyframe_mode: KeyframeMode,
    batch: bool,
    seconds: float,
    device: str,
    threads: int,
    node: bool,
    recording: bool,
    training: bool,
    json_file: Path | None,
) -> None:
    """Time every frame in full, in PyTorch eager, against DCFM on the backends, in turns; and a step of training."""
    console = Console()
    document: dict[str, Any] = {"device": device_name(), "versions": versions(), "rows": [], "streams": []}
    names = [name for name in BACKENDS if name != "auto"] if "all" in backends else list(backends)
    with tempfile.TemporaryDirectory() as scratch, measured_energy() as energy:
        for path in [weights] if weights else _cases(Path(scratch)):
            wanted = [(path, name, one) for name in names for one in precision]
            if path == (weights or DEFAULT_WEIGHTS):
                wanted += [(folder, name, "auto") for folder in exported for name in names]
            made = list(_made(console, wanted, device, threads, required="all" not in backends))
            at = size or _SIZES.get(path.stem) or made[0].config.input_size
            frames = _street(at)
            torch_device = torch.device("cuda" if device != "cpu" and torch.cuda.is_available() else "cpu")
            eager = Eager(path, torch_device)
            rows = [measure(eager, backend, frames, rounds, rate, align) for backend in made]
            document["rows"] += [asdict(row) for row, _ in rows]
            console.print(_rows_table([row for row, _ in rows]))
            for row, times in rows:
                console.print(_stages_table(row, times))
            if streams:
                measured = measure_streams(made[0], frames, streams, _STREAMS_HZ, seconds, align, keyframe_mode, batch)
                document["streams"].append(asdict(measured))
                console.print(_streams_table(measured))
    document |= {"peak_memory_mb": peak_memory_mb(), "energy": asdict(energy)}
    console.print(f"{document['device']}; {', '.join(f'{name} {v}' for name, v in document['versions'].items())}")
    told = f"{energy.joules:.0f} J in all ({energy.source})" if energy.joules is not None else "energy is not told here"
    console.print(f"Peak memory of this process {document['peak_memory_mb']:.0f} MB; {told}.")
    if json_file is not None:
        json_file.parent.mkdir(parents=True, exist_ok=True)
        json_file.write_text(json.dumps(document, indent=2) + "\n")
    if node and importlib.util.find_spec("rclpy"):
        console.print(_node_overhead(device, threads))
    if recording:
        console.print(recording_table(device, threads))
    if training and importlib.util.find_spec("accelerate"):
        from dcfm_ros.cli.bench_training import training_table  # needs what the extra `train` brings

        console.print(training_table(device, threads))


def _cases(folder: Path) -> Iterator[Path]:
    """The weights that ship, and random ones of a network for larger pictures."""
    yield DEFAULT_WEIGHTS
    torch.manual_seed(0)
    model = create_model(RANDOM)
    with torch.no_grad():  # random weights give nearly equal logits, whose order any rounding changes
        model.head[-1].get_parameter("weight").mul_(50)
    save_weights(model, folder / f"{RANDOM}.safetensors")
    yield folder / f"{RANDOM}.safetensors"


def _made(
    console: Console, wanted: Sequence[tuple[Path, str, str]], device: str, threads: int, required: bool
) -> Iterator[Backend]:
    """The backends of these weights, names and precisions; where they are not all `required`, those that do not run
    here are told and left out.
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


def _street(size: tuple[int, int]) -> list[Frame]:
    """Consecutive frames of a rendered drive at speed, of this size."""
    drive = StreetDrive(StreetConfig(seed=0, frames=300, height=size[0], width=size[1]))
    return [drive.frame(index) for index in range(*_AT_SPEED)]


def _rows_table(rows: Sequence[Row]) -> Table:
    """Times as ratios to the plain full network of the same run."""
    first = rows[0]
    title = f"{first.config}, {first.size[0]}x{first.size[1]}"
    table = Table(box=None, header_style="bold", title=title, padding=(0, 1, 0, 0))
    table.add_column("", no_wrap=True)
    for heading in ("full ms", "other ms", "full", "other", "K=5", "K=10", "async", "sync", "agrees"):
        table.add_column(heading, justify="right", no_wrap=True)
    eager_ms = statistics.median(row.full_eager_ms for row in rows)
    table.add_row("eager", f"{eager_ms:.1f}", "", "1.00", "", "1.0x", "1.0x", "", "", "")
    for row in rows:
        table.add_row(
            f"{row.backend} {row.precision}",
            f"{row.full_ms:.1f}",
            f"{row.other_ms:.1f}",
            f"{row.full_ms / row.full_eager_ms:.2f}",
            f"{row.other_ms / row.full_eager_ms:.3f}",
            f"{row.k5_speedup:.1f}x",
            f"{row.k10_speedup:.1f}x",
            f"{row.p99_over_p50:.1f}",
            f"{row.sync_p99_over_p50:.1f}",
            f"{row.mask_agreement:.2%}",
        )
    table.caption = (
        "eager: the plain network in PyTorch, every frame in full. other: frames that reuse a keyframe's features, "
        f"align={first.align}. async, sync: p99/p50 of frame times at K=5 and {first.rate_hz:g} Hz. agrees: with "
        "eager's masks, in full."
    )
    return table


def _stages_table(row: Row, times: Times) -> Table:
    table = Table(box=None, header_style="bold", title=f"{row.backend} {row.precision}, K=5 at {row.rate_hz:g} Hz, ms")
    for column in ("frame", "stage"):
        table.add_column(column)
    for column in ("p50", "p95", "p99"):
        table.add_column(column, justify="right")
    for kind, stage, *values in times.percentiles():
        table.add_row(kind, stage, *(f"{value:.1f}" for value in values))
    return table


def _streams_table(streams: Streams) -> Table:
    how = f"{streams.keyframe_mode} keyframes{', in batches' if streams.batch else ''}"
    title = f"{streams.cameras} cameras at {streams.rate_hz:g} Hz, K=5, {how}"
    table = Table(box=None, header_style="bold", title=title)
    for column in ("camera", "processed", "dropped"):
        table.add_column(column, justify="right")
    for camera, (processed, dropped) in enumerate(zip(streams.processed, streams.dropped, strict=True)):
        table.add_row(str(camera), str(processed), str(dropped))
    p50, p95, p99 = streams.latency_ms
    table.caption = (
        f"from arrival to mask: p50 {p50:.0f}, p95 {p95:.0f}, p99 {p99:.0f} ms; "
        f"most keyframes of a round: {streams.most_keyframes}"
    )
    return table


def _node_overhead(device: str, threads: int) -> str:
    """What a frame spends in the node beside the segmenter's stages: callback entry to publication, mask only."""
    with tempfile.TemporaryDirectory() as folder:
        bag, frames = Path(folder) / "drive", 60
        with BagWriter(bag, "/camera/image_raw") as writer:
            for frame in StreetDrive(StreetConfig(frames=frames, height=720, width=1280)):
                writer.write(frame)
        result = run_pass(
            Source(bag, 15.0, frames),
            Path(folder) / "timing",
            "node at 1280x720",
            {"device": device, "num_threads": threads},
            lossless=True,
            pictures=False,
        )
    added = [float(row["latency_ms"]) - sum(float(row[f"{stage}_ms"]) for stage in STAGES) for row in result.frames]
    p95 = statistics.quantiles(added, n=20)[-1]
    return f"The node adds {statistics.median(added):.2f} ms (p95 {p95:.2f}) to a frame of 1280x720, {frames} frames."
