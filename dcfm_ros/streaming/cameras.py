"""Several cameras on one device: rounds in which each camera has its turn, and keyframes that take turns too."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import NamedTuple

from dcfm_ros.imaging.frame import Frame
from dcfm_ros.streaming.result import Segmentation
from dcfm_ros.streaming.schedules import Schedule
from dcfm_ros.streaming.segmenter import StreamSegmenter


class Round(NamedTuple):
    """The frames of one round, by camera: their results, or the exception that a camera's frame ended in."""

    results: dict[str, list[Segmentation]]
    failures: dict[str, Exception]


class CameraGroup:
    """The streams of several cameras, whose segmenters share one backend.

    Features are each stream's own. A keyframe that is due waits a frame when another camera took one in the same
    round (first keyframes and forced ones never wait), and who has waited longest comes first.

    Raises ValueError when there is no camera, or segmenters have different backends.
    """

    def __init__(self, segmenters: Mapping[str, StreamSegmenter]) -> None:
        if not segmenters:
            raise ValueError("there are no cameras; expected at least one")
        backends = {id(segmenter.backend) for segmenter in segmenters.values()}
        if len(backends) > 1:
            raise ValueError(f"the cameras {', '.join(segmenters)} have {len(backends)} backends; expected one for all")
        self.segmenters = dict(segmenters)
        for segmenter in self.segmenters.values():
            segmenter.schedule = segmenter.schedule.in_turn()

    def follow(self, schedule: Schedule) -> None:
        """Give all cameras another schedule, from their next frames on."""
        for segmenter in self.segmenters.values():
            segmenter.schedule = schedule.in_turn()

    def push(self, frames: Mapping[str, Frame], confidence: Collection[str] = ()) -> Round:
        """The next frame of some cameras, at most one of each. One that fails begins a new stream, alone.

        confidence: the cameras whose confidence is wanted.
        Raises ValueError for a camera that is not of the group.
        """
        if unknown := frames.keys() - self.segmenters.keys():
            raise ValueError(f"there is no camera {min(unknown)!r}; expected one of {', '.join(self.segmenters)}")
        done = Round({}, {})
        taken = 0
        for name in sorted(frames, key=lambda name: -self.segmenters[name].frames_since_keyframe):
            try:
                results = self.segmenters[name].push(
                    frames[name], confidence=name in confidence, keyframes_elsewhere=taken
                )
            except Exception as error:  # whatever it is, the other cameras go on
                done.failures[name] = error
                continue
            done.results[name] = results
            taken += sum(result.is_keyframe for result in results)
        return done
