"""A recording of which no frame can be read ends with 1, and a fleet does not count it as done, nor a second time."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def segment(*arguments: object) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, "-m", "dcfm_ros.cli.main", "segment", *map(str, arguments)]
    return subprocess.run(words, capture_output=True, text=True, check=False)


def test_no_frame_is_no_success(tmp_path: Path) -> None:
    garbage = tmp_path / "fleet" / "garbage"
    garbage.mkdir(parents=True)
    for number in range(3):
        (garbage / f"{number:06d}.png").write_bytes(b"nothing that is a picture")
    ran = segment(garbage, "--output", tmp_path / "out")
    assert ran.returncode == 1
    assert "no frame of garbage can be read" in ran.stderr
    for _ in range(2):
        ran = segment(tmp_path / "fleet", "--output", tmp_path / "all", "--jobs", 1)
        assert ran.returncode == 1
        assert "1 of 1 recordings failed" in ran.stderr
