"""The decisions of a run, read from its outputs, so that they can be followed: which frames, keyframes and swaps."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from dcfm_ros.imaging.frame import Frame, stamp_ns
from dcfm_ros.recordings.recording import RecordingError
from dcfm_ros.streaming.schedules import Replayed
from dcfm_ros.streaming.timing import Timing, read_timing, read_timing_row, timing_texts

_Row = tuple[int, Timing]
"""The stamp (ns) of a frame, and its timing."""


@dataclass(frozen=True)
class Decided:
    """One frame that was processed. keyframe: place in `Decisions.frames` of the one that its mask was made from."""

    stamp_ns: int
    is_keyframe: bool
    keyframe: int
    reason: str
    shares: dict[str, str]


@dataclass(frozen=True)
class Decisions:
    """The decisions of a run, frame by frame, from the first keyframe that was not waited for on."""

    frames: list[Decided]

    @property
    def swaps(self) -> bool:
        """Whether keyframes were computed in the background."""
        return any(frame.is_keyframe and frame.keyframe != place for place, frame in enumerate(self.frames))

    @property
    def has_shares(self) -> bool:
        """Whether it is told what the masks were like."""
        return bool(self.frames[0].shares)

    def schedule(self, first: int) -> Replayed:
        """For a segmenter whose first frame is the one at place `first`."""
        places = range(first, len(self.frames))
        return Replayed(
            {place - first: self.frames[place].is_keyframe for place in places},
            {place - first: self.frames[place].keyframe - first for place in places},
        )

    def begins_stream(self, place: int) -> bool:
        """Whether this keyframe was waited for; among keyframes that are computed beside it, a new stream's first."""
        frame = self.frames[place]
        return frame.is_keyframe and frame.keyframe == place

    def of(self, recording: Iterable[Frame]) -> Iterator[Frame]:
        """The frames of the recording that were processed. Raises RecordingError where it lacks one of them."""
        places = {frame.stamp_ns: place for place, frame in enumerate(self.frames)}
        at = 0
        for frame in recording:
            if at == len(self.frames):
                return
            if frame.stamp_ns == self.frames[at].stamp_ns:
                at += 1
                yield frame
            elif places.get(frame.stamp_ns, -1) > at:
                break
        if at < len(self.frames):
            stamp_s = self.frames[at].stamp_ns / 1e9
            raise RecordingError(
                f"the recording has no frame with the stamp {stamp_s:.9f} s, the next that the run processed which is "
                f"followed; {at} of its {len(self.frames)} are there"
            )


def read_decisions(path: Path, topic: str = "/segmentation/timing") -> Decisions:
    """Read the decisions of a run from a bag with the node's timings, or from a table.

    Tables are `frames.csv` of `dcfm segment` and `timing.csv` of the recorder.

    What comes before the first keyframe is left out: nobody knows what its masks were made from. So it is behind each
    place where the node began anew, and with it the numbers of its frames. A frame that was answered twice counts once.
    Raises RecordingError when there is none, when a keyframe is missing that later masks were made from, and when
    neither can be read.
    """
    rows = _of_table(path) if path.suffix.lower() == ".csv" else _of_bag(path, topic)
    frames: list[Decided] = []
    for run in _runs(rows):
        frames += _decided(path, run, len(frames))
    if not frames:
        raise RecordingError(f"{path} tells of {len(rows)} frames; expected a stream's first keyframe among them")
    return Decisions(frames)


def _runs(rows: Iterable[_Row]) -> list[list[_Row]]:
    """The rows from each beginning of the node on, by the numbers of its frames; none twice."""
    runs: list[list[_Row]] = []
    last = None
    for row in rows:
        number = row[1].index
        if last is None or number < last[1].index or (number == last[1].index and row[0] != last[0]):
            runs.append([])
        elif number == last[1].index:  # of an image that was sent again
            continue
        runs[-1].append(row)
        last = row
    return runs


def _of_bag(path: Path, topic: str) -> Sequence[_Row]:
    from dcfm_ros.recordings.messages import read_messages

    found = []
    for number, (_, message) in enumerate(read_messages(path, topic)):
        try:
            found.append((stamp_ns(message.header), read_timing(message)))
        except ValueError as error:
            raise RecordingError(f"message {number} on {topic} in {path}: {error}") from error
    return found


def _of_table(path: Path) -> Sequence[_Row]:
    try:
        with path.open(newline="") as file:
            return [read_timing_row(row) for row in csv.DictReader(file)]
    except (OSError, ValueError) as error:
        raise RecordingError(f"{path} cannot be read as a table of frames: {error}") from error


def share_texts(timing: Timing) -> dict[str, str]:
    """Each class's part of the picture as the message has it."""
    return {key: text for key, text in timing_texts(timing).items() if key.startswith("share/")}


def _decided(path: Path, run: Sequence[_Row], begin: int) -> Iterator[Decided]:
    """From the run's first keyframe that was waited for on. begin: the place of that in `Decisions.frames`."""
    first = next((place for place, (_, timing) in enumerate(run) if timing.keyframe_index == timing.index), len(run))
    places = {timing.index: place for place, (_, timing) in enumerate(run[first:], begin)}
    for stamp, timing in run[first:]:
        if timing.keyframe_index not in places:
            raise RecordingError(
                f"{path} lacks frame {timing.keyframe_index}, the keyframe that the mask of frame {timing.index} was "
                "made from"
            )
        keyframe = places[timing.keyframe_index]
        yield Decided(stamp, timing.is_keyframe, keyframe, timing.reason, share_texts(timing))
