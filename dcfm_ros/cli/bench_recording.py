"""The cost of reading and writing in `dcfm segment`: a bag of camera images end to end, against the network alone."""

from __future__ import annotations

import statistics
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from rich.table import Table

from dcfm_ros.datasets.street import StreetConfig, StreetDrive
from dcfm_ros.imaging.frame import Frame
from dcfm_ros.offline.outputs import KINDS, Kind
from dcfm_ros.offline.segmenting import segment
from dcfm_ros.recordings import open_recording
from dcfm_ros.recordings.writers import BagWriter
from dcfm_ros.streaming import StreamOptions, StreamSegmenter
from dcfm_ros.streaming.backends.base import Backend
from dcfm_ros.streaming.backends.select import create_backend

_SIZE = (720, 1280)
_FRAMES = 60
_ROUNDS = 3
_SAVED: tuple[tuple[Kind, ...], ...] = (("masks", "csv"), KINDS)


@dataclass(frozen=True)
class _Times:
    """Wall and processor milliseconds of a frame."""

    wall: float
    processor: float


def recording_table(device: str, threads: int) -> Table:
    """A row for each of what may be saved. Runs take turns, and ratios are of a round: the machine has other work too.

    Processor time tells what a busy machine's wall clock does not.
    """
    backend = create_backend(device=device, num_threads=threads)
    table = Table(header_style="bold", title=f"dcfm segment, {_FRAMES} images of {_SIZE[1]}x{_SIZE[0]}")
    for column in ("saved", "of the network's own rate", "processor ms a frame"):
        table.add_column(column, justify="right")
    with tempfile.TemporaryDirectory() as scratch:
        bag, frames = (
            Path(scratch) / "bag",
            list(StreetDrive(StreetConfig(frames=_FRAMES, height=_SIZE[0], width=_SIZE[1]))),
        )
        with BagWriter(bag, "/camera/image_raw", storage="mcap") as writer:
            for frame in frames:
                writer.write(frame)
        _alone(backend, frames)
        rounds = [
            [
                _alone(backend, frames),
                *(_to_end(backend, bag, Path(scratch, f"{number}_{len(kinds)}"), kinds) for kinds in _SAVED),
            ]
            for number in range(_ROUNDS)
        ]
    for place, saved in enumerate(("nothing: the network alone", *map(",".join, _SAVED))):
        rate = statistics.median(times[0].wall / times[place].wall for times in rounds)
        table.add_row(saved, f"{rate:.0%}", f"{statistics.median(times[place].processor for times in rounds):.1f}")
    return table


def _alone(backend: Backend, frames: list[Frame]) -> _Times:
    segmenter = StreamSegmenter(backend)
    clock = _Clock()
    for frame in frames:
        segmenter.push(frame)
    return clock.of(len(frames))


def _to_end(backend: Backend, bag: Path, folder: Path, kinds: tuple[Kind, ...]) -> _Times:
    clock = _Clock()
    with open_recording(bag) as recording:
        summary = segment(recording, folder, kinds, backend, StreamOptions())
    return clock.of(summary.frames)


class _Clock:
    def __init__(self) -> None:
        self._wall, self._processor = time.perf_counter(), time.process_time()

    def of(self, frames: int) -> _Times:
        """Since it was made, for each frame."""
        wall, processor = time.perf_counter() - self._wall, time.process_time() - self._processor
        return _Times(wall / frames * 1e3, processor / frames * 1e3)
