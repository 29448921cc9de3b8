"""Several cameras on one device: rounds in which each camera has its turn, and keyframes that take turns too."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

import numpy as np

from dcfm_ros.imaging.frame import Frame
from dcfm_ros.streaming.result import Segmentation
from dcfm_ros.streaming.schedules import InTurn, Recorded, Schedule
from dcfm_ros.streaming.segmenter import StreamSegmenter


class Round(NamedTuple):
    """What came of the frames of one round, by camera: results, or the exception that a camera's frame ended in."""

    results: dict[str, list[Segmentation]]
    failures: dict[str, Exception]


class CameraGroup:
    """The streams of several cameras, whose segmenters share one backend.

    Features are each stream's own. A keyframe that is due waits a frame when another camera took one in the same
    round (`keyframes_a_round`; first keyframes and forced ones never wait), and who has waited longest comes first.
    batch: compute the shallow features of frames of one size together; that may change their last bits.

    Raises ValueError when there is no camera, or segmenters have different backends.
    """

    def __init__(
        self, segmenters: Mapping[str, StreamSegmenter], batch: bool = False, keyframes_a_round: int = 1
    ) -> None:
        if not segmenters:
            raise ValueError("there are no cameras; expected at least one")
        backends = {id(segmenter.backend) for segmenter in segmenters.values()}
        if len(backends) > 1:
            raise ValueError(f"the cameras {', '.join(segmenters)} have {len(backends)} backends; expected one for all")
        self.segmenters = dict(segmenters)
        self._backend = next(iter(segmenters.values())).backend
        self._batch = batch
        self._keyframes_a_round = keyframes_a_round
        for segmenter in self.segmenters.values():
            segmenter.schedule = self._in_turn(segmenter.schedule)

    def follow(self, schedule: Schedule) -> None:
        """Give all cameras another schedule, from their next frames on."""
        for segmenter in self.segmenters.values():
            segmenter.schedule = self._in_turn(schedule)

    def push(self, frames: Mapping[str, Frame], confidence: Collection[str] = ()) -> Round:
        """The next frame of some cameras, at most one of each. One that fails begins a new stream, alone.

        confidence: the cameras whose confidence is wanted.
        Raises ValueError for a camera that is not of the group.
        """
        if unknown := frames.keys() - self.segmenters.keys():
            raise ValueError(f"there is no camera {min(unknown)!r}; expected one of {', '.join(self.segmenters)}")
        shallow = self._together(frames) if self._batch else {}
        done = Round({}, {})
        taken = 0
        for name in sorted(frames, key=lambda name: -self.segmenters[name].frames_since_keyframe):
            encoded = None if name not in shallow else lambda image, name=name: shallow[name]
            try:
                results = self.segmenters[name].push(
                    frames[name], confidence=name in confidence, keyframes_elsewhere=taken, shallow=encoded
                )
            except Exception as error:  # whatever it is, the other cameras go on
                done.failures[name] = error
                continue
            done.results[name] = results
            taken += sum(result.is_keyframe for result in results)
        return done

    def _in_turn(self, schedule: Schedule) -> Schedule:
        if isinstance(schedule, Recorded):  # whose turns were taken when it was recorded
            return schedule
        return InTurn(schedule, self._keyframes_a_round)

    def _together(self, frames: Mapping[str, Frame]) -> dict[str, Any]:
        """Shallow features, the images of one size in one pass."""
        by_size: dict[tuple[int, ...], dict[str, np.ndarray]] = {}
        for name, frame in frames.items():
            image = self.segmenters[name].prepare(frame)
            by_size.setdefault(image.shape, {})[name] = image
        features: dict[str, Any] = {}
        for images in by_size.values():
            features |= zip(images, self._backend.encode_shallow_batch(list(images.values())), strict=True)
        return features


class NewestFrames:
    """One frame of each camera waits, the newest; whoever takes gets all that wait: every camera has equal turns.

    Callbacks of any thread may put. dropped: how many frames of each camera were overtaken by a newer one.
    """

    def __init__(self) -> None:
        self._waiting: dict[str, Frame] = {}
        self._changed = threading.Condition()
        self.dropped: Counter[str] = Counter()

    def put(self, camera: str, frame: Frame) -> None:
        """The camera's newest frame."""
        with self._changed:
            self.dropped[camera] += camera in self._waiting
            self._waiting[camera] = frame
            self._changed.notify()

    def take(self, timeout_s: float | None = None) -> dict[str, Frame]:
        """All that wait, and at least one unless the time is over first."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting, timeout_s)
            taken, self._waiting = self._waiting, {}
        return taken
