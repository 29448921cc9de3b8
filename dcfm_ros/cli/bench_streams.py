"""Several cameras on one device: each sends frames at its rate, and the newest of each is segmented in rounds."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from dcfm_ros.cli.bench_network import forth_and_back, percentiles
from dcfm_ros.imaging.frame import Frame
from dcfm_ros.imaging.motion import Align
from dcfm_ros.node.worker import Worker
from dcfm_ros.streaming import Segmentation, StreamOptions, StreamSegmenter
from dcfm_ros.streaming.backends.base import Backend
from dcfm_ros.streaming.cameras import CameraGroup
from dcfm_ros.streaming.keyframes import KeyframeWorker
from dcfm_ros.streaming.options import KeyframeMode


@dataclass(frozen=True)
class Streams:
    """The figures of a run of several cameras on one device.

    latency_ms: p50, p95 and p99 from a frame's arrival to its mask, over all cameras. processed, dropped: frames of
    each camera. most_keyframes: of one round, after the first.
    """

    cameras: int
    rate_hz: float
    seconds: float
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
) -> Streams:
    """Run so many cameras for so long, K=5, behind the queue that the node has.

    frames: what they all see, each from another place on. Raises what the backend raises.
    """
    names = [f"camera {number}" for number in range(cameras)]
    keyframe_worker = KeyframeWorker(backend) if keyframe_mode == "async" else None
    # An overloaded device may need seconds for the first keyframes, and they are no gap.
    options = StreamOptions(align=align, keyframe_mode=keyframe_mode, keyframe_interval=5, max_stamp_gap_s=3600)
    group = CameraGroup({name: StreamSegmenter(backend, options, worker=keyframe_worker) for name in names})
    group.segmenters[names[0]].warm_up(frames[0].height, frames[0].width)
    first = replace(frames[0], stamp_ns=time.monotonic_ns())
    group.push(dict.fromkeys(names, first))  # first keyframes, which all fall on one round

    latencies: list[float] = []
    failures: list[Exception] = []
    most_keyframes = 0

    def work(taken: Mapping[str, Frame]) -> dict[str, Segmentation | Exception]:
        nonlocal most_keyframes
        done = group.push(taken)
        results = {name: result for name, (result,) in done.results.items()}
        now = time.monotonic_ns()
        latencies.extend((now - result.frame.stamp_ns) / 1e6 for result in results.values())
        most_keyframes = max(most_keyframes, sum(result.is_keyframe for result in results.values()))
        return results | done.failures

    worker = Worker(names, work, lambda results: None, lambda name, error: failures.append(error))
    worker.start(lambda: worker.accept(True))
    worker.wait_until_set_up(10)
    _send(worker, names, frames, rate_hz, seconds)
    worker.accept(False)  # once what was taken is done
    worker.stop()
    if keyframe_worker is not None:
        keyframe_worker.close()
    if failures:
        raise failures[0]
    counts = worker.counts
    return Streams(
        cameras,
        rate_hz,
        seconds,
        keyframe_mode,
        [counts[name].processed for name in names],
        [counts[name].dropped for name in names],
        percentiles(latencies),
        most_keyframes,
    )


def _send(
    worker: Worker[Frame, Segmentation], names: Sequence[str], frames: Sequence[Frame], rate_hz: float, seconds: float
) -> None:
    """All cameras at once, as synchronised ones do, stamped with the time of the steady clock."""
    began = time.monotonic()
    for number in range(int(seconds * rate_hz)):
        time.sleep(max(0.0, began + number / rate_hz - time.monotonic()))
        for camera, name in enumerate(names):
            frame = forth_and_back(frames, number + 7 * camera, rate_hz)
            worker.submit(name, replace(frame, stamp_ns=time.monotonic_ns()))
