"""`dcfm train` as a person uses it: Ctrl-C ends it quietly, and it goes on where it was."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import torch
import yaml
from labelled_folders import street_like, write_folder


def wait_for(path: Path, process: subprocess.Popen[str], seconds: float = 180) -> None:
    deadline = time.monotonic() + seconds
    while not path.exists() and time.monotonic() < deadline:
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    assert path.exists(), f"no {path.name} within {seconds:.0f} s"


def test_ctrl_c_ends_a_run_quietly_and_resumably(tmp_path: Path) -> None:
    write_folder(tmp_path / "street", street_like(3))
    values = {
        "model": "camvid_mitb0",
        "data_root": str(tmp_path),
        "output": str(tmp_path / "run"),
        "sources": [{"path": "street", "share": 1, "max_distance": 1}],
        "steps": 1_000_000,
        "batch": 1,
        "crop": [64, 64],
        "workers": 1,
        "checkpoint_every": 1,
    }
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(values))
    command = [sys.executable, "-m", "dcfm_ros.cli.main", "train", str(tmp_path / "recipe.yaml")]
    environment = os.environ | {"ACCELERATE_USE_CPU": "true"}
    pipe = subprocess.PIPE
    # A session of its own: a terminal sends SIGINT to every process of the group, the workers included.
    with subprocess.Popen(
        command, env=environment, stdout=pipe, stderr=pipe, text=True, start_new_session=True
    ) as process:
        try:
            wait_for(tmp_path / "run" / "checkpoint.pt", process)
        except BaseException:
            process.kill()
            raise
        os.killpg(process.pid, signal.SIGINT)
        said, errors = process.communicate(timeout=30)
    assert process.returncode == 130, errors
    assert "Traceback" not in said + errors
    assert "stopped; the same command continues" in " ".join(said.split())
    assert torch.load(tmp_path / "run" / "checkpoint.pt", weights_only=True)["step"] >= 1
