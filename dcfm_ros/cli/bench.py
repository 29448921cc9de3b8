"""`dcfm bench`: how much DCFM saves, everything timed in one run so that the ratios hold on a noisy machine."""

from __future__ import annotations

import importlib.util
import statistics
import tempfile
from pathlib import Path

import click
import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from dcfm_ros.cli.passes import Source, run_pass
from dcfm_ros.datasets.street import StreetConfig, StreetDrive
from dcfm_ros.imaging.frame import Frame
from dcfm_ros.model import create_model
from dcfm_ros.recordings.writers import BagWriter
from dcfm_ros.streaming import FixedInterval, Segmentation, StreamSegmenter
from dcfm_ros.streaming.backends.torch_backend import TorchBackend

CASES = (("camvid_resnet18", (360, 480)), ("cityscapes_resnet18", (512, 1024)))


@click.command()
@click.option(
    "--rounds",
    default=9,
    type=click.IntRange(min=1),
    show_default=True,
    help="Repetitions; the median of each kind counts.",
)
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:N.")
@click.option("--threads", default=0, help="CPU threads; 0: torch's own choice.")
@click.option("--node/--no-node", default=True, help="Also measure what the ROS node adds to a frame.")
@click.option("--training/--no-training", default=True, help="Also measure what a step of training costs.")
def command(rounds: int, device: str, threads: int, node: bool, training: bool) -> None:
    """Time the network on every frame in full against DCFM's keyframes and other frames, and a step of training."""
    console = Console()
    table = Table(header_style="bold")
    for column in ("model", "input", "frame", "median ms", "ratio"):
        table.add_column(column, justify="right" if column in ("median ms", "ratio") else "left")
    for name, size in CASES:
        torch.manual_seed(0)
        backend = TorchBackend(create_model(name), device, threads)
        for kind, milliseconds, ratio in _rows(_measure(backend, size, rounds)):
            table.add_row(name, f"{size[0]}x{size[1]}", kind, f"{milliseconds:.1f}", f"{ratio:.2f}")
        table.add_section()
    console.print(table)
    console.print(backend.description)
    if node and importlib.util.find_spec("rclpy"):
        console.print(_node_overhead(device, threads))
    if training and importlib.util.find_spec("accelerate"):
        from dcfm_ros.cli.bench_training import training_table  # needs what the extra `train` brings

        console.print(training_table(device, threads))


def _rows(times: dict[str, float]) -> list[tuple[str, float, float]]:
    full, keyframe, other = times["full"], times["keyframe"], times["other"]
    values = {"full network": full, "keyframe": keyframe, "other frame": other}
    values |= {f"K={k} average": (keyframe + (k - 1) * other) / k for k in (5, 10)}
    return [(kind, value, value / full) for kind, value in values.items()]


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
    stages = ("prepare_ms", "shallow_ms", "common_ms", "decide_ms")
    added = [float(row["latency_ms"]) - sum(float(row[stage]) for stage in stages) for row in result.frames]
    p95 = statistics.quantiles(added, n=20)[-1]
    return f"The node adds {statistics.median(added):.2f} ms (p95 {p95:.2f}) to a frame of 1280x720, {frames} frames."


def _measure(backend: TorchBackend, size: tuple[int, int], rounds: int) -> dict[str, float]:
    """Median milliseconds of each kind of frame; the kinds take turns, so that all see the same machine."""
    rng = np.random.default_rng(0)
    frames = [Frame(rng.integers(0, 256, (*size, 3), np.uint8), stamp_ns=1 + i) for i in range(4)]
    full = StreamSegmenter(backend, mode="full", input_size=size)
    causal = StreamSegmenter(backend, FixedInterval(3), input_size=size)
    times: dict[str, list[float]] = {"full": [], "keyframe": [], "other": []}
    for round_number in range(rounds + 1):
        results = {"full": _push(full, frames[0]), "keyframe": _push(causal, frames[1])}
        others = [_push(causal, frame) for frame in frames[2:]]
        assert results["keyframe"].is_keyframe
        assert not any(other.is_keyframe for other in others)
        if round_number:  # the first round warms up
            times["full"].append(results["full"].total_ms)
            times["keyframe"].append(results["keyframe"].total_ms)
            times["other"].extend(other.total_ms for other in others)
        causal.restart("next round")
    return {kind: statistics.median(values) for kind, values in times.items()}


def _push(segmenter: StreamSegmenter, frame: Frame) -> Segmentation:
    return segmenter.push(frame)[0]
