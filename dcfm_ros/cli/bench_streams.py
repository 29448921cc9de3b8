"""Several cameras on one device: each sends frames at its rate, and the newest of each is segmented in rounds."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

from dcfm_ros.cli.bench_network import forth_and_back, percentiles
from dcfm_ros.imaging.frame import Frame
from dcfm_ros.imaging.motion import Align
from dcfm_ros.streaming import FixedInterval, StreamSegmenter
from dcfm_ros.streaming.backends.base import Backend
from dcfm_ros.streaming.cameras import CameraGroup, NewestFrames
from dcfm_ros.streaming.keyframes import KeyframeWorker
from dcfm_ros.streaming.segmenter import KeyframeMode


@dataclass(frozen=True)
class Streams:
    """latency_ms: p50, p95 and p99 from a frame's arrival to its mask, over all cameras. processed, dropped: frames of
    each camera. most_keyframes: of one round, after the first.
    """

    cameras: int
    rate_hz: float
    seconds: float
    batch: bool
    keyframe_mode: KeyframeMode
    processed: list[int]
    dropped: list[int]
    latency_ms: tuple[float, float, float]
    most_keyframes: int


def measure_streams(
    backend: Backend,
    frames: Sequence[Frame],
    cameras: int,
    rate_hz: float,
    seconds: float,
    align: Align,
    keyframe_mode: KeyframeMode,
    batch: bool = False,
) -> Streams:
    """Run so many cameras for so long, K=5. frames: what they all see, each from another place on."""
    names = [f"camera {number}" for number in range(cameras)]
    worker = KeyframeWorker(backend) if keyframe_mode == "async" else None
    stream = partial(
        StreamSegmenter,
        backend,
        FixedInterval(5),
        max_stamp_gap_s=3600,  # an overloaded device may need seconds for the first keyframes
        align=align,
        keyframe_mode=keyframe_mode,
        worker=worker,
    )
    group = CameraGroup({name: stream() for name in names}, batch)
    group.segmenters[names[0]].warm_up(frames[0].height, frames[0].width)
    first = replace(frames[0], stamp_ns=time.monotonic_ns())
    group.push(dict.fromkeys(names, first))  # first keyframes, which all fall on one round

    slots, processed, latencies, most_keyframes = NewestFrames(), Counter[str](), [], 0
    sender = threading.Thread(target=_send, args=(slots, names, frames, rate_hz, seconds))
    sender.start()
    while taken := slots.take(timeout_s=2 / rate_hz + 1):
        results = [result for (result,) in group.push(taken).results.values()]
        now = time.monotonic_ns()
        processed.update(list(taken))
        latencies += [(now - result.frame.stamp_ns) / 1e6 for result in results]
        most_keyframes = max(most_keyframes, sum(result.is_keyframe for result in results))
    sender.join()
    if worker is not None:
        worker.close()
    return Streams(
        cameras,
        rate_hz,
        seconds,
        batch,
        keyframe_mode,
        [processed[name] for name in names],
        [slots.dropped[name] for name in names],
        percentiles(latencies),
        most_keyframes,
    )


def _send(slots: NewestFrames, names: Sequence[str], frames: Sequence[Frame], rate_hz: float, seconds: float) -> None:
    """All cameras at once, as synchronised ones do, stamped with the time of the steady clock."""
    began = time.monotonic()
    for number in range(int(seconds * rate_hz)):
        time.sleep(max(0.0, began + number / rate_hz - time.monotonic()))
        for camera, name in enumerate(names):
            frame = forth_and_back(frames, number + 7 * camera, rate_hz)
            slots.put(name, replace(frame, stamp_ns=time.monotonic_ns()))
