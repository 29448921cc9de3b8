"""A run that is killed goes on as if it had not been: the same losses in the log, each step once, the same weights."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import yaml
from labelled_folders import street_like, write_folder
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

STEPS = 8


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
        "validate_every": 5,
        "checkpoint_every": 3,
    }
    path.write_text(yaml.safe_dump(values))
    return path


def run(recipe: Path, output: Path, **environment: str) -> int:
    script = str(Path(__file__).with_name("run_recipe.py"))
    command = [sys.executable, script, str(recipe), f"output={output}"]
    environment = {**os.environ, "ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1", **environment}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode in (0, -signal.SIGKILL), done.stderr
    return done.returncode


def logged(output: Path, name: str = "loss/total") -> list[tuple[int, float]]:
    """Step and value, as TensorBoard shows them."""
    events = EventAccumulator(str(output / "tensorboard"))
    events.Reload()
    return [(event.step, event.value) for event in events.Scalars(name)]


def test_a_run_that_is_killed_ends_like_one_that_never_was(recipe: Path, tmp_path: Path) -> None:
    unbroken, broken = tmp_path / "unbroken", tmp_path / "broken"
    with ThreadPoolExecutor() as pool:
        whole = pool.submit(run, recipe, unbroken)
        assert run(recipe, broken, KILLED_IN_STEP="6") == -signal.SIGKILL
        assert whole.result() == 0
    expected = logged(unbroken)
    assert [step for step, _ in expected] == list(range(1, STEPS + 1))
    assert logged(broken) == expected[:5]  # two steps more than the checkpoint knows of

    checkpoint = (broken / "checkpoint.pt").read_bytes()
    for name in ("checkpoint.partial", "weights.safetensors.partial"):  # as left by one killed while it writes
        (broken / name).write_bytes(checkpoint[: len(checkpoint) // 2])
    assert run(recipe, broken) == 0
    assert logged(broken) == expected
    assert logged(broken, "held_out/mIoU") == logged(unbroken, "held_out/mIoU")
    assert (broken / "weights.safetensors").read_bytes() == (unbroken / "weights.safetensors").read_bytes()
