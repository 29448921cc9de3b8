"""Several processes, or a batch in several parts, train like one process with the whole batch."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
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


def trained(recipe: Path, output: Path, *overrides: str, processes: int = 1) -> tuple[np.ndarray, Path]:
    """The total loss of each step, over all processes, and the held-out mIoU at the end; the weights."""
    launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"] if processes > 1 else []
    script = str(Path(__file__).with_name("run_recipe.py"))
    command = [sys.executable, *launcher, script, str(recipe), f"output={output}", *overrides]
    environment = os.environ | {"CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr
    events = EventAccumulator(str(output / "tensorboard"))
    events.Reload()
    logged = [event.value for name in ("loss/total", "held_out/mIoU") for event in events.Scalars(name)]
    return np.array(logged), output / "weights.safetensors"


@pytest.fixture(scope="module")
def alone(recipe: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[np.ndarray, Path]:
    return trained(recipe, tmp_path_factory.mktemp("alone"))


def assert_alike(run: tuple[np.ndarray, Path], alone: tuple[np.ndarray, Path]) -> None:
    assert len(run[0]) == STEPS + 1
    np.testing.assert_allclose(run[0][:STEPS], alone[0][:STEPS], atol=1e-4)
    assert run[0][STEPS] == pytest.approx(alone[0][STEPS], abs=2e-3)  # a few pixels on the edge between two classes
    first, second = (load_weights(path).state_dict() for path in (run[1], alone[1]))
    for name, tensor in first.items():
        # AdamW's first steps turn the sign of a vanishing gradient into a whole step, of 1e-3 at most.
        assert (tensor.float() - second[name].float()).abs().mean() < 2e-5, name


@pytest.fixture(scope="module")
def two(recipe: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[np.ndarray, Path]:
    return trained(recipe, tmp_path_factory.mktemp("two"), processes=2)


def test_two_processes_reach_the_losses_and_the_score_of_one(
    two: tuple[np.ndarray, Path], alone: tuple[np.ndarray, Path]
) -> None:
    assert_alike(two, alone)


def test_several_processes_log_once(two: tuple[np.ndarray, Path]) -> None:
    assert len(list(two[1].parent.glob("tensorboard/*"))) == 1


def test_a_batch_in_two_parts_is_the_whole_batch(recipe: Path, alone: tuple[np.ndarray, Path], tmp_path: Path) -> None:
    assert_alike(trained(recipe, tmp_path / "parts", "accumulate=2"), alone)


def test_a_batch_that_does_not_divide_is_refused(recipe: Path, tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="batch is 4; expected a multiple of 3"):
        trained(recipe, tmp_path / "three", "accumulate=3")
