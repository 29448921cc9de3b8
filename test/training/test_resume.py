"""A run that is killed goes on as if it had not been: the same losses in the log, each step once, the same weights."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import run_recipe
import torch
import yaml
from labelled_folders import street_like, write_folder
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

STEPS = 5


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("data")
    write_folder(root / "street", street_like(4))
    path = root / "recipe.yaml"
    values = {
        "model": "camvid_mitb0",
        "data_root": str(root),
        "sources": [{"path": "street", "share": 1, "max_distance": 1, "hold_out": "f003"}],
        "steps": STEPS,
        "batch": 2,
        "crop": [64, 64],
        "log_every": 1,
        "validate_every": 3,
        "checkpoint_every": 2,
    }
    path.write_text(yaml.safe_dump(values))
    return path


def started(recipe: Path, output: Path, **environment: str) -> subprocess.Popen[str]:
    command = [sys.executable, run_recipe.__file__, str(recipe), f"output={output}"]
    threads = str(torch.get_num_threads())
    environment = {**os.environ, "ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": threads, **environment}
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def logged(output: Path, name: str = "loss/total") -> list[tuple[int, float]]:
    """Step and value, as TensorBoard shows them."""
    events = EventAccumulator(str(output / "tensorboard"))
    events.Reload()
    return [(event.step, event.value) for event in events.Scalars(name)]


def test_a_run_that_is_killed_ends_like_one_that_never_was(
    recipe: Path, train_here: Callable[..., Path], tmp_path: Path
) -> None:
    unbroken, broken = tmp_path / "unbroken", tmp_path / "broken"
    with started(recipe, broken, KILLED_IN_STEP="4") as process:
        train_here(recipe, unbroken)
        _, errors = process.communicate(timeout=120)
    assert process.returncode == -signal.SIGKILL, errors
    expected = logged(unbroken)
    assert [step for step, _ in expected] == list(range(1, STEPS + 1))
    assert logged(broken) == expected[:3]  # a step more than the checkpoint knows of

    checkpoint = (broken / "checkpoint.pt").read_bytes()
    for name in ("checkpoint.pt.partial", "weights.safetensors.partial"):  # as left by one killed while it writes
        (broken / name).write_bytes(checkpoint[: len(checkpoint) // 2])
    # As if it had been killed and started again within a second, which the log's name is told apart by.
    (log,) = (broken / "tensorboard").glob("events.out.tfevents.*")
    log.rename(log.with_name(f"events.out.tfevents.{int(time.time()) + 3}.z.9.9"))
    train_here(recipe, broken)
    assert logged(broken) == expected
    assert [step for step, _ in logged(broken, "held_out/mIoU")] == [3, STEPS]
    assert logged(broken, "held_out/mIoU") == logged(unbroken, "held_out/mIoU")
    assert (broken / "weights.safetensors").read_bytes() == (unbroken / "weights.safetensors").read_bytes()
