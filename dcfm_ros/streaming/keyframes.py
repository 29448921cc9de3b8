"""Keyframes: the one in use, and the one that is being computed beside the stream."""

from __future__ import annotations

import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

from dcfm_ros.imaging.motion import MotionSince
from dcfm_ros.streaming.backends.base import Backend


@dataclass(frozen=True)
class Keyframe:
    """A common feature and where it is from.

    common: None as long as it is not computed. index: in its stream; number: among all frames of the segmenter.
    motion: follows the picture since it, shallow: its F_in; each only where somebody compares frames with it.
    """

    index: int
    number: int
    stamp_ns: int
    common: Any = None
    motion: MotionSince | None = None
    shallow: Any = None


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
    def motion(self) -> MotionSince | None:
        """Since its frame; see `Keyframe`."""
        return self._keyframe.motion

    @property
    def index(self) -> int:
        """Of the frame in its stream."""
        return self._keyframe.index

    @property
    def number(self) -> int:
        """Of the frame among all."""
        return self._keyframe.number

    @property
    def is_ready(self) -> bool:
        """Whether `take` would answer at once."""
        return self._computed.done()

    def take(self) -> tuple[Keyframe, float]:
        """The keyframe with its feature, and the milliseconds that took; waits, and raises what the backend raised."""
        common, milliseconds = self._computed.result()
        return replace(self._keyframe, common=common), milliseconds
