"""Keyframes of a stream: the one in use, and the one that is being computed in the background."""

from __future__ import annotations

import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any

from dcfm_ros.streaming.backends.base import Backend
from dcfm_ros.streaming.options import StreamOptions
from dcfm_ros.streaming.result import timed
from dcfm_ros.streaming.schedules import Schedule
from dcfm_ros.streaming.since_keyframe import SinceKeyframe


@dataclass(frozen=True)
class Keyframe:
    """A common feature and where it is from.

    common: None as long as it is not computed. index: in its stream; number: among all frames of the segmenter.
    since: compares later frames with it.
    """

    index: int
    number: int
    stamp_ns: int
    common: Any = None
    since: SinceKeyframe = field(default_factory=SinceKeyframe)


class KeyframeWorker:
    """Computes common features of one backend beside its streams: a thread of its own, one keyframe at a time.

    Several segmenters of the backend may share it; then a keyframe of one camera waits until another's is done.
    """

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="keyframe")
        self._running: Future[tuple[Any, float]] | None = None

    @property
    def is_busy(self) -> bool:
        """Whether a keyframe is being computed."""
        return self._running is not None and not self._running.done()

    def start(self, keyframe: Keyframe, shallow: Any) -> ComingKeyframe:
        """Begin with the common feature of the frame that `shallow` is of."""
        self._running = self._executor.submit(self._encode, shallow)
        return ComingKeyframe(keyframe, self._running)

    def wait(self) -> None:
        """Return when nothing is being computed; a failure is its stream's business."""
        if self._running is not None:
            self._running.exception()

    def close(self) -> None:
        """End the thread; waits for what it computes."""
        self._executor.shutdown()

    def _encode(self, shallow: Any) -> tuple[Any, float]:
        began = time.perf_counter()
        with self._backend.background():
            common = self._backend.encode_common(shallow)
        return common, (time.perf_counter() - began) * 1e3


class ComingKeyframe:
    """A keyframe whose common feature is on its way."""

    def __init__(self, keyframe: Keyframe, computed: Future[tuple[Any, float]]) -> None:
        self._keyframe = keyframe
        self._computed = computed

    @property
    def since(self) -> SinceKeyframe:
        """Compares later frames with it."""
        return self._keyframe.since

    @property
    def index(self) -> int:
        """The index of the frame in its stream."""
        return self._keyframe.index

    @property
    def number(self) -> int:
        """The number of the frame among all."""
        return self._keyframe.number

    @property
    def is_ready(self) -> bool:
        """Whether `take` would answer at once."""
        return self._computed.done()

    def take(self) -> tuple[Keyframe, float]:
        """The keyframe with its feature, and the milliseconds that took; waits, and raises what the backend raised."""
        common, milliseconds = self._computed.result()
        return replace(self._keyframe, common=common), milliseconds


class Keyframes:
    """The keyframe of a stream that is in use and, where keyframes are asynchronous, the one that is on its way.

    in_use: None before the first; coming: None where none is being computed. worker: see `StreamSegmenter`.
    """

    def __init__(self, backend: Backend, options: StreamOptions, worker: KeyframeWorker | None) -> None:
        is_async = options.keyframe_mode == "async"
        self._backend = backend
        self._swap_after = options.swap_after
        self._owns_worker = is_async and worker is None
        self._worker = (worker or KeyframeWorker(backend)) if is_async else None
        self.in_use: Keyframe | None = None
        self.coming: ComingKeyframe | None = None

    def forget(self) -> None:
        """Begin anew; what is being computed is left to the worker."""
        self.in_use = self.coming = None

    @property
    def last_index(self) -> int | None:
        """Place in the stream of the last keyframe that was begun; None before the first."""
        last = self.coming or self.in_use
        return None if last is None else last.index

    def swap(self, index: int, number: int, schedule: Schedule) -> float:
        """Take the keyframe on its way into use if its time has come with this frame.

        Returns the milliseconds that it took in the background, 0 where none came into use; raises what the backend
        raised there.
        """
        coming = self.coming
        if coming is None or not self._is_due(coming, index, number, schedule):
            return 0.0
        self.coming = None
        self.in_use, milliseconds = coming.take()
        return milliseconds

    def must_wait(self, number: int, schedule: Schedule) -> bool:
        """Whether a due keyframe has to wait, as the worker is at one of another stream, or at one that was forgotten.

        A replay waits here instead: it takes the same keyframes however long they take.
        """
        if self.in_use is None or self._worker is None or not self._worker.is_busy:
            return False
        if self._swap_after or schedule.keyframe_in_use(number) is not None:
            self._worker.wait()
            return False
        return True

    def begin(self, keyframe: Keyframe, shallow: Any, stage_ms: dict[str, float]) -> None:
        """Compute its common feature: at once for a stream's first and in synchronous mode, else in the background."""
        if self._worker is not None and self.in_use is not None:
            self.coming = self._worker.start(keyframe, shallow)
            return
        with timed(stage_ms, "common"):
            common = self._backend.encode_common(shallow)
        self.in_use = replace(keyframe, common=common)

    def warm_up(self, shallow: Any) -> None:
        """Run the background's part once, where there is one."""
        if self._worker is not None:
            self._worker.start(Keyframe(0, 0, 0), shallow).take()

    def close(self) -> None:
        """End the worker's thread, where it is this stream's own."""
        if self._owns_worker and self._worker is not None:
            self._worker.close()

    def _is_due(self, coming: ComingKeyframe, index: int, number: int, schedule: Schedule) -> bool:
        in_use = schedule.keyframe_in_use(number)
        if in_use is not None:
            return in_use == coming.number
        return index - coming.index >= self._swap_after if self._swap_after else coming.is_ready
