"""A recording through the segmenter into files, with reading, the network and writing beside each other."""

from __future__ import annotations

import csv
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import takewhile
from pathlib import Path

import cv2

from dcfm_ros.imaging.frame import Frame
from dcfm_ros.imaging.labels import LabelSet
from dcfm_ros.offline.decisions import Decisions, share_texts
from dcfm_ros.offline.outputs import Kind, Outputs, Segmented
from dcfm_ros.recordings.background import read_ahead
from dcfm_ros.recordings.recording import Recording, RecordingError
from dcfm_ros.recordings.writers import unfinished
from dcfm_ros.streaming import Segmentation, StreamOptions, StreamSegmenter
from dcfm_ros.streaming.backends.base import Backend
from dcfm_ros.streaming.timing import Timing, read_timing_row, shares_of, timing_of


@dataclass
class Summary:
    """The result of a run. went_on_at: the frame from which on the network ran. network_s: of the segmenter alone.

    differing: frames whose class shares are not those of the run that is followed; None where it tells none.
    """

    frames: int = 0
    keyframes: int = 0
    went_on_at: int = 0
    seconds: float = 0.0
    network_s: float = 0.0
    differing: int | None = None
    is_complete: bool = False


def segment(
    recording: Recording,
    folder: Path,
    kinds: Collection[Kind],
    backend: Backend,
    options: StreamOptions,
    decisions: Decisions | None = None,
    resume: bool = False,
    on_frame: Callable[[], None] = lambda: None,
    is_stopped: Callable[[], bool] = lambda: False,
) -> Summary:
    """Write what `kinds` says into `folder`; see `Outputs`.

    options: how the stream is segmented. decisions: of a run to follow, instead of the schedule. resume: go on from the
    keyframe before the first frame that has no mask or no row; earlier masks are kept, and the overlay and the bag are
    written again, from these masks. is_stopped: asked before each frame; when it answers yes, the files are finished
    with what has been done.

    Raises RecordingError as the recording does, when a run cannot go on, and when a file cannot be written; what is
    done by then stays, and can be resumed.
    """
    done = _done(folder) if resume else []
    if decisions:
        options = replace(options, keyframe_mode="async" if decisions.swaps else "sync")
    first = _first_to_run([timing for _, timing in done], options)
    segmenter = StreamSegmenter(backend, options, decisions.schedule(first) if decisions else None)
    if first:
        segmenter.restart(done[first][1].reason if first < len(done) else options.mode)

    summary = Summary(went_on_at=first, differing=0 if decisions and decisions.has_shares else None)
    began = time.perf_counter()
    outputs = Outputs(folder, kinds, segmenter.labels, recording.rate_hz, recording.frame_id)
    try:
        with closing(read_ahead(decisions.of(recording) if decisions else recording)) as frames:
            for item in _items(frames, segmenter, done[:first], folder, decisions, summary, is_stopped):
                outputs.write(item)
                _count(summary, item.timing, decisions)
                on_frame()
    finally:
        segmenter.close()
        outputs.close()
    if summary.is_complete and "csv" not in kinds:
        (folder / "frames.csv").unlink()
    summary.seconds = time.perf_counter() - began
    return summary


def _items(
    frames: Iterator[Frame],
    segmenter: StreamSegmenter,
    done: Sequence[tuple[int, Timing]],
    folder: Path,
    decisions: Decisions | None,
    summary: Summary,
    is_stopped: Callable[[], bool],
) -> Iterator[Segmented]:
    """Yield what is done as it lies in the folder, then what the segmenter makes of the rest."""
    for place, frame in enumerate(frames):
        if is_stopped():
            return
        if place < len(done):
            yield _from_disk(place, frame, *done[place], folder, segmenter.labels)
            continue
        if decisions and decisions.swaps and place and decisions.begins_stream(place):
            segmenter.restart(decisions.frames[place].reason)
        for result in segmenter.push(frame):
            yield _from_network(result, len(done), segmenter.labels, summary)
    for result in segmenter.flush():
        yield _from_network(result, len(done), segmenter.labels, summary)
    summary.is_complete = True


def _from_network(result: Segmentation, offset: int, labels: LabelSet, summary: Summary) -> Segmented:
    summary.network_s += result.total_ms / 1e3
    result = replace(result, index=result.index + offset, keyframe_index=result.keyframe_index + offset)
    return Segmented(result.frame, result.mask, timing_of(result, result.total_ms, labels))


def _from_disk(place: int, frame: Frame, stamp_ns: int, timing: Timing, folder: Path, labels: LabelSet) -> Segmented:
    mask = cv2.imread(str(_mask(folder, place)), cv2.IMREAD_UNCHANGED)
    if stamp_ns != frame.stamp_ns or mask is None or mask.shape != (frame.height, frame.width):
        raise RecordingError(
            f"frame {place} of the recording has the stamp {frame.stamp_ns} and {frame.width}x{frame.height} pixels; "
            f"expected {stamp_ns} ns, as in the run that is continued, and the size of {_mask(folder, place)}"
        )
    return Segmented(frame, mask, replace(timing, shares=shares_of(mask, labels)), is_new=False)


def _done(folder: Path) -> list[tuple[int, Timing]]:
    """Stamp and timing of the first frames, up to the first that has no row or no mask."""
    table = folder / "frames.csv"
    rows = max(_rows(table), _rows(unfinished(table)), key=len)
    return list(takewhile(lambda row: _mask(folder, row[1].index).is_file(), rows))


def _rows(table: Path) -> list[tuple[int, Timing]]:
    """As many as are whole; none where there is no table."""
    rows: list[tuple[int, Timing]] = []
    if table.is_file():
        with table.open(newline="") as file:
            for row in csv.DictReader(file):
                try:
                    rows.append(read_timing_row(row))
                except ValueError:
                    break
    return rows


def _mask(folder: Path, place: int) -> Path:
    return folder / "masks" / f"{place:06d}.png"


def _first_to_run(done: Sequence[Timing], options: StreamOptions) -> int:
    """Return the frame from where on the network gives the same again: the keyframe before what is missing.

    With keyframes in the background that would have to be one that came into use before the next was due, which not all
    schedules let happen; these begin at the beginning.
    """
    if options.keyframe_mode == "async":
        return 0
    if options.mode == "full":
        return len(done)
    return max((timing.index for timing in done if timing.is_keyframe), default=0)


def _count(summary: Summary, timing: Timing, decisions: Decisions | None) -> None:
    summary.frames += 1
    summary.keyframes += timing.is_keyframe
    if summary.differing is not None and decisions is not None:
        summary.differing += share_texts(timing) != decisions.frames[timing.index].shares
