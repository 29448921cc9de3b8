"""The cost of a step of training: the trainer's own figures, from a short run of `dcfm train` on a rendered drive."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from rich.table import Table
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from dcfm_ros.processes import start
from dcfm_ros.training.recipe import Recipe, SourceRecipe

_WORKERS = (0, 2)
_STEPS = 4  # of a log entry: the first one warms up, the second counts


def training_table(device: str, threads: int) -> Table:
    """A row for each number of workers, of the default recipe's network, batch and crop.

    device: "cpu", or anything else for the accelerator where there is one. threads: on the CPU; 0 is torch's choice.
    Raises RuntimeError, with what it said, when a run fails.
    """
    default = Recipe(sources=(SourceRecipe("drive", 1.0),))
    size = f"{default.crop[0]}x{default.crop[1]}"
    table = Table(header_style="bold", title=f"training {default.model}, {default.batch} pairs of {size}")
    for column in ("workers", "images/s", "waits for data", "its peak memory"):
        table.add_column(column, justify="right")
    environment = dict(os.environ)
    if device == "cpu":
        environment["ACCELERATE_USE_CPU"] = "true"
    if threads:
        environment["OMP_NUM_THREADS"] = str(threads)
    with tempfile.TemporaryDirectory() as folder:
        _dcfm(environment, "render", f"{folder}/drive", "--frames", "24")
        for workers in _WORKERS:
            rate, waits, memory = _measured(Path(folder), workers, environment)
            table.add_row(str(workers), f"{rate:.2f}", f"{waits:.1%}", f"{memory:.0f} MB")
    return table


def _measured(folder: Path, workers: int, environment: dict[str, str]) -> tuple[float, float, float]:
    """Images a second, the share of the time that is spent waiting for data, and MB, of the last log entry.

    A process of its own, so that the memory is that of training alone.
    """
    output = folder / f"workers_{workers}"
    recipe = {
        "data_root": str(folder),
        "output": str(output),
        "sources": [{"path": "drive", "share": 1, "max_distance": 1}],
        "steps": 2 * _STEPS,
        "log_every": _STEPS,
        "workers": workers,
    }
    path = folder / "recipe.yaml"
    path.write_text(json.dumps(recipe))
    _dcfm(environment, "train", str(path))
    events = EventAccumulator(str(output / "tensorboard"))
    events.Reload()
    names = ("images_per_s", "data_wait_share", "peak_memory_mb")
    rate, waits, memory = (events.Scalars(f"speed/{name}")[-1].value for name in names)
    return rate, waits, memory


def _dcfm(environment: dict[str, str], *arguments: str) -> None:
    command = [sys.executable, "-m", "dcfm_ros.cli.main", *arguments]
    with start(command, environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        said, _ = process.communicate()
    if process.returncode:
        raise RuntimeError(f"dcfm {' '.join(arguments)} failed: {said}")
