"""Some robots' bags, small ones, and what `dcfm segment` makes of each of them alone."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

from report_inputs import picture

from dcfm_ros.imaging.frame import Frame
from dcfm_ros.recordings.writers import BagWriter

Call = Callable[..., CompletedProcess[str]]
NAMES = ("robot1/a", "b")
START_NS, STEP_NS = 1_700_000_000_000_000_000, 50_000_000


def write_fleet(root: Path, frames: int) -> Path:
    """A bag at each of NAMES, each of another stretch of the street."""
    for number, name in enumerate(NAMES):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        with BagWriter(root / name, "/camera") as bag:
            for index in range(frames):
                bag.write(Frame(picture((7 * number + index) % 100), "rgb", START_NS + index * STEP_NS))
    return root


def segmented_alone(called: Call, fleet: Path, output: Path, options: list[str]) -> dict[str, dict[str, bytes]]:
    """The masks of each bag."""
    for name in NAMES:
        done = called("segment", str(fleet / name), "--output", str(output / name), *options)
        assert done.returncode == 0, done.stderr
    return {name: masks(output / name) for name in NAMES}


def masks(folder: Path) -> dict[str, bytes]:
    """The files by their names; whatever else lies there as well."""
    return {path.name: path.read_bytes() for path in sorted((folder / "masks").iterdir())}


def stamps(folder: Path) -> list[str]:
    with (folder / "frames.csv").open(newline="") as file:
        return [row["stamp"] for row in csv.DictReader(file)]
