"""`python -m soak.recording`: `dcfm segment` over a long bag must not take more memory the longer it goes on."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from itertools import cycle, islice
from pathlib import Path

import click

from dcfm_ros.datasets.street import StreetConfig, StreetDrive
from dcfm_ros.model import DCFM, model_config, save_weights
from dcfm_ros.processes import start
from dcfm_ros.recordings.writers import BagWriter

_SIZE = (120, 160)
_MOST_MB = 1610  # 1.5 GiB
_MOST_MB_PER_1000_FRAMES = 2.0
"""Above what it has after a quarter of the bag. A leak of one mask a frame alone would be 19 MB."""


@click.command()
@click.option("--frames", type=click.IntRange(min=100), default=20_000, show_default=True)
def soak_recording(frames: int) -> None:
    """Segment a generated bag and watch the process; exit code 1, with a sentence, when its memory is not flat."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        save_weights(DCFM(replace(model_config("camvid_resnet18"), input_size=(64, 96))), folder / "tiny.safetensors")
        _write_bag(folder / "bag", frames)
        command = [sys.executable, "-m", "dcfm_ros.cli.main", "segment", str(folder / "bag")]
        options = ["--output", str(folder / "out"), "--weights", str(folder / "tiny.safetensors")]
        began = time.monotonic()
        with (folder / "log").open("w") as log:
            process = start([*command, *options], stdout=log, stderr=subprocess.STDOUT)
            memory = _watched(process, folder / "out" / "masks")
        seconds = time.monotonic() - began
        masks = len(list((folder / "out" / "masks").glob("*.png")))
        said = (folder / "log").read_text().strip()
    peak = max(mb for _, mb in memory)
    growth = _growth(memory, frames)
    click.echo(
        f"{masks} of {frames} frames in {seconds:.0f} s, {frames / seconds:.0f} a second; {peak:.0f} MB at most, "
        f"{growth:+.2f} MB for each 1,000 frames after the first quarter"
    )
    if process.returncode or masks != frames:
        sys.exit(f"dcfm segment ended with {process.returncode} after {masks} of {frames} frames: {said[-500:]}")
    if peak > _MOST_MB:
        sys.exit(f"it took {peak:.0f} MB; expected at most {_MOST_MB}")
    if growth > _MOST_MB_PER_1000_FRAMES:
        sys.exit(f"it grew by {growth:.2f} MB for each 1,000 frames; expected at most {_MOST_MB_PER_1000_FRAMES}")


def _write_bag(path: Path, frames: int) -> None:
    """A rendered drive over and over, its stamps going on."""
    drive = list(StreetDrive(StreetConfig(frames=50, height=_SIZE[0], width=_SIZE[1])))
    with BagWriter(path, "/camera/image_raw", storage="mcap") as bag:
        for index, frame in enumerate(islice(cycle(drive), frames)):
            bag.write(replace(frame, stamp_ns=1_000_000_000 + index * 100_000_000))


def _watched(process: subprocess.Popen[bytes], masks: Path) -> list[tuple[int, float]]:
    """How many masks there were and the process's resident MB, once a second until it ends."""
    seen = []
    while process.poll() is None:
        time.sleep(1)
        try:
            status = dict(line.split(":", 1) for line in Path(f"/proc/{process.pid}/status").read_text().splitlines())
            resident = int(status["VmRSS"].split()[0]) * 1024 / 1e6
        except (OSError, KeyError):  # it ended between the two looks
            break
        seen.append((len(list(masks.glob("*.png"))) if masks.exists() else 0, resident))
    process.wait()
    return seen


def _growth(memory: list[tuple[int, float]], frames: int) -> float:
    """MB for each 1,000 frames, as a line through all after the first quarter."""
    later = [(done, mb) for done, mb in memory if done >= frames / 4]
    mean_done = sum(done for done, _ in later) / len(later)
    mean_mb = sum(mb for _, mb in later) / len(later)
    spread = sum((done - mean_done) ** 2 for done, _ in later)
    return 1000 * sum((done - mean_done) * (mb - mean_mb) for done, mb in later) / spread


if __name__ == "__main__":
    soak_recording()
