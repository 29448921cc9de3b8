"""Several processes, or a batch in several parts, train like one process with the whole batch."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import run_recipe
import yaml
from labelled_folders import street_like, write_folder
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from dcfm_ros.model import load_weights

STEPS = 3


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Frames of which some are hardly labelled: a mean over processes is then no mean over pixels by itself."""
    root = tmp_path_factory.mktemp("data")
    frames = street_like(4)
    for index, (_, label) in enumerate(frames):
        label[: 16 * index] = 255
    write_folder(root / "street", frames)
    write_folder(root / "street" / "val", street_like(3))
    path = root / "recipe.yaml"
    values = {
        "model": "camvid_mitb0",
        "data_root": str(root),
        "sources": [{"path": "street", "share": 1, "max_distance": 1, "validate_split": "val"}],
        "steps": STEPS,
        "batch": 4,
        "crop": [64, 64],
        "warmup": 0,
        "class_balance": 0.3,
        "precision": "fp32",
        "batch_norm": "frozen",
        "align": "flow",
        "log_every": 1,
    }
    path.write_text(yaml.safe_dump(values))
    return path


Run = tuple[np.ndarray, Path]
"""The total loss of each step, over all processes, and the held-out mIoU at the end; the weights."""


def trained_by_two(recipe: Path, output: Path) -> Run:
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    command = [sys.executable, *launcher, run_recipe.__file__, str(recipe), f"output={output}"]
    environment = os.environ | {"CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr
    return logged(output), output / "weights.safetensors"


def logged(output: Path) -> np.ndarray:
    events = EventAccumulator(str(output / "tensorboard"))
    events.Reload()
    return np.array([event.value for name in ("loss/total", "held_out/mIoU") for event in events.Scalars(name)])


@pytest.fixture(scope="module")
def alone(recipe: Path, train_here: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Run:
    output = tmp_path_factory.mktemp("alone")
    weights = train_here(recipe, output)
    return logged(output), weights


def assert_alike(run: Run, alone: Run) -> None:
    assert len(run[0]) == STEPS + 1
    np.testing.assert_allclose(run[0][:STEPS], alone[0][:STEPS], atol=1e-4)
    assert run[0][STEPS] == pytest.approx(alone[0][STEPS], abs=2e-3)  # a few pixels on the edge between two classes
    first, second = (load_weights(path).state_dict() for path in (run[1], alone[1]))
    for name, tensor in first.items():
        # AdamW's first steps turn the sign of a vanishing gradient into a whole step, of 1e-3 at most.
        assert (tensor.float() - second[name].float()).abs().mean() < 2e-5, name


@pytest.fixture(scope="module")
def two(recipe: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return trained_by_two(recipe, tmp_path_factory.mktemp("two"))


def test_two_processes_reach_the_losses_and_the_score_of_one(two: Run, alone: Run) -> None:
    assert_alike(two, alone)


def test_several_processes_log_once(two: Run) -> None:
    assert len(list(two[1].parent.glob("tensorboard/*"))) == 1


def test_a_batch_in_two_parts_is_the_whole_batch(
    recipe: Path, train_here: Callable[..., Path], alone: Run, tmp_path: Path
) -> None:
    weights = train_here(recipe, tmp_path, "accumulate=2")
    assert_alike((logged(tmp_path), weights), alone)


def test_a_batch_that_does_not_divide_is_refused(recipe: Path, train_here: Callable[..., Path], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="batch is 4; expected a multiple of 3"):
        train_here(recipe, tmp_path, "accumulate=3")
