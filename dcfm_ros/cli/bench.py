"""`dcfm bench`: how much DCFM saves, everything timed in one run so that the ratios hold on a noisy machine."""

from __future__ import annotations

import statistics
from collections.abc import Callable

import click
import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from dcfm_ros.imaging.frame import Frame
from dcfm_ros.model import create_model
from dcfm_ros.streaming import FixedInterval, Segmentation, StreamSegmenter
from dcfm_ros.streaming.backends.torch_backend import TorchBackend

CASES = (("camvid_resnet18", (360, 480)), ("cityscapes_resnet18", (512, 1024)))


@click.command()
@click.option("--rounds", default=7, show_default=True, help="Repetitions; the median of each kind counts.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:N.")
@click.option("--threads", default=0, help="CPU threads; 0: torch's own choice.")
def command(rounds: int, device: str, threads: int) -> None:
    """Time the network on every frame in full against DCFM's keyframes and other frames."""
    table = Table(title="median ms per frame, and as a ratio to the full network", header_style="bold")
    for column in ("model", "input", "full", "keyframe", "other frame", "K=5 average", "K=10 average"):
        table.add_column(column, justify="left" if column in ("model", "input") else "right")
    description = ""
    for name, size in CASES:
        torch.manual_seed(0)
        backend = TorchBackend(create_model(name), device, threads)
        description = backend.description
        times = _measure(backend, size, rounds)
        full = times["full"]
        average = {k: (times["keyframe"] + (k - 1) * times["other"]) / k for k in (5, 10)}
        cells = [times["keyframe"], times["other"], average[5], average[10]]
        table.add_row(
            name,
            f"{size[0]}x{size[1]}",
            f"{full:.1f}  1.00",
            *(f"{value:.1f}  {value / full:.2f}" for value in cells),
        )
    console = Console()
    console.print(table)
    console.print(description)


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
    push: Callable[[Frame], list[Segmentation]] = segmenter.push
    return push(frame)[0]
