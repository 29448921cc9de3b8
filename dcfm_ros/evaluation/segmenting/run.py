"""A recording through the segmenter into files, with reading, the network and writing beside each other."""

from __future__ import annotations

import csv
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import cv2

from dcfm_ros.evaluation.segmenting.decisions import Decisions
from dcfm_ros.evaluation.segmenting.outputs import Kind, Outputs, Segmented
from dcfm_ros.imaging.frame import Frame
from dcfm_ros.imaging.labels import LabelSet
from dcfm_ros.recordings.background import read_ahead
from dcfm_ros.recordings.recording import Recording, RecordingError
from dcfm_ros.recordings.writers import unfinished
from dcfm_ros.streaming import Schedule, Segmentation, StreamSegmenter
from dcfm_ros.streaming.backends.base import Backend
from dcfm_ros.streaming.segmenter import Mode
from dcfm_ros.streaming.timing import Timing, read_timing_row, shares_of, timing_of, timing_texts


@dataclass
class Summary:
    """What a run did. went_on_at: the frame from which on the network ran. network_s: of the segmenter alone.

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
    stream: partial[StreamSegmenter],
    schedule: Schedule | None = None,
    mode: Mode = "causal",
    decisions: Decisions | None = None,
    resume: bool = False,
    on_frame: Callable[[], None] = lambda: None,
    is_stopped: Callable[[], bool] = lambda: False,
) -> Summary:
    """Write what `kinds` says into `folder`; see `Outputs`.

    stream: makes a segmenter from a backend, a schedule and a mode. decisions: of a run to follow, instead of the
    schedule. resume: go on from the keyframe before the first frame that has no mask or no row; earlier masks are kept,
    and the overlay and the bag are written again, from these masks. is_stopped: asked before each frame; when it
    answers yes, the files are finished with what has been done.

    Raises RecordingError as the recording does, when a run cannot go on, and when a file cannot be written; what is
    done by then stays, and can be gone on from.
    """
    done = _done(folder, kinds) if resume else []
    first = _first_to_run([timing for _, timing in done], mode, stream, decisions)
    segmenter = _segmenter(backend, stream, schedule, mode, decisions, first)
    if first:
        segmenter.restart(done[first].reason if first < len(done) else "")
    run = _Run(segmenter, decisions, done[:first])
    began = time.perf_counter()
    outputs = Outputs(folder, kinds, segmenter.labels, recording.rate_hz, recording.frame_id)
    try:
        with closing(read_ahead(decisions.of(recording) if decisions else recording)) as frames:
            run.feed(frames, folder, outputs, on_frame, is_stopped)
    finally:
        segmenter.close()
        outputs.close()
    if run.summary.is_complete and "csv" not in kinds:
        (folder / "frames.csv").unlink()
    run.summary.seconds = time.perf_counter() - began
    return run.summary
