"""The run of a recorded drive, from the node's own topics in a bag: nothing is computed again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from dcfm_ros.evaluation.report.frames import RECORDED, Flicker, FrameRecord
from dcfm_ros.evaluation.report.in_step import LiveResult, Measured
from dcfm_ros.evaluation.report.moments import worst_moments
from dcfm_ros.imaging.frame import Frame, stamp_ns
from dcfm_ros.imaging.geometry import mask_to_size
from dcfm_ros.imaging.labels import LABEL_SETS, LabelSet, labels_for
from dcfm_ros.recordings import RecordingError, open_recording
from dcfm_ros.recordings.messages import read_messages, topics_of
from dcfm_ros.streaming.result import STAGES, Segmentation
from dcfm_ros.streaming.timing import Timing, read_timing

GAP = 1.5
"""Masks further apart than this many times their usual distance have a gap between them: a frame was lost, or late."""

_REAL_TIME_NS = 10**18  # 2001

_NODE = "/segmentation"
_STATUS = "diagnostic_msgs/msg/DiagnosticArray"
_PICTURES = ("mask", "confidence", "color", "overlay")  # of a node, which may lie beside those of its camera
_IMAGES = ("sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage")


@dataclass(frozen=True)
class Drive:
    """measured: a single run. labels: the classes. drive: what `metrics.json` says of the drive."""

    measured: Measured
    labels: LabelSet
    drive: dict[str, Any]


def read_drive(path: Path, node: str = _NODE, image_topic: str | None = None) -> Drive:
    """Read `<node>/timing` and, where they were recorded, `<node>/mask`, `<node>/labels` and the camera's images.

    node: what the node's topics begin with, the camera's name included where there are several. image_topic: where
    the images came from; default: see `camera_topic`. Images that were recorded and have no timing of their stamp were
    dropped, or came before the node was there or after it ended.
    Raises RecordingError when there are no timings, when they are of other classes each, when several topics could
    hold the images, and as reading the bag does.
    """
    topics = topics_of(path)
    if f"{node}/timing" not in topics:
        raise RecordingError(f"{path} has no {node}/timing; expected what the node publishes among {_listed(topics)}")
    timings = list(_timings(path, f"{node}/timing"))
    names = tuple(timings[0][1].shares)
    if stray := next((timing for _, timing in timings if tuple(timing.shares) != names), None):
        raise RecordingError(f"{path} tells other classes apart from frame {stray.index} on; expected one network's")
    flickers, size = _flickers(path, f"{node}/mask") if f"{node}/mask" in topics else ({}, None)
    records = [_record(number, *timing, flickers) for number, timing in enumerate(timings)]
    camera = camera_topic(path, node, image_topic)
    images = None if camera is None else _image_stamps(path, camera)
    measured = Measured({RECORDED: records}, RECORDED, None, None, [], size)
    drive = {"mask_topic": f"{node}/mask", "image_topic": camera} | _drive([stamp for stamp, _ in timings], images)
    drive["moments"] = worst_moments(records, drive["gaps"])
    return Drive(measured, _labels(path, topics, node, names), drive)


class RecordedMasks:
    """What a node published on `<node>/mask` and `<node>/timing`, met in step with the images of the same bag.

    names: of its classes, as the timings have them.
    """

    def __init__(self, path: Path, node: str) -> None:
        self._timings = dict(_timings(path, f"{node}/timing"))
        self.names = tuple(next(iter(self._timings.values())).shares) if self._timings else ()
        self._masks = iter(open_recording(path, f"{node}/mask"))
        self._next = next(self._masks, None)

    def result_of(self, frame: Frame) -> LiveResult | None:
        """The mask and the timing of the frame's stamp; a mask of another size is brought to the frame's."""
        while self._next is not None and self._next.stamp_ns < frame.stamp_ns:
            self._next = next(self._masks, None)
        timing = self._timings.get(frame.stamp_ns)
        if self._next is None or self._next.stamp_ns != frame.stamp_ns or timing is None:
            return None
        result = Segmentation(
            frame=frame,
            index=timing.index,
            mask=mask_to_size(self._next.pixels, (frame.height, frame.width)),
            confidence=None,
            is_keyframe=timing.is_keyframe,
            reason=timing.reason,
            keyframe_index=timing.keyframe_index,
            keyframe_age_frames=timing.age_frames,
            keyframe_age_s=timing.age_s,
            stage_ms=_stages(timing),
        )
        return LiveResult(result, timing.latency_ms)


def has_masks(path: Path, node: str) -> bool:
    """Whether a bag lies at `path` that holds what a node published: masks and timings."""
    try:
        topics = topics_of(path)
    except RecordingError:
        return False
    return {f"{node}/mask", f"{node}/timing"} <= topics.keys()


def camera_topic(path: Path, node: str, wanted: str | None = None) -> str | None:
    """The only camera's topic of a bag, or the only one with the last word of the node's name in it.

    None where there is no image. wanted: the one that is taken instead. Raises RecordingError where it cannot be told
    and none is wanted.
    """
    kinds = topics_of(path)
    timings = [topic for topic, kind in kinds.items() if kind == _STATUS and topic.endswith("/timing")]
    published = {topic.removesuffix("timing") + name for topic in timings for name in _PICTURES}
    images = [topic for topic, kind in kinds.items() if kind in _IMAGES and not topic.startswith(f"{_NODE}/")]
    cameras = [topic for topic in images if topic.removesuffix("/compressed") not in published]
    word = node.rpartition("/")[2]  # a camera's name, unless it is the node's
    named = [topic for topic in cameras if f"/{word}" != _NODE and word in topic.split("/")]
    if wanted is None and len(cameras) > 1 and len(named) != 1:
        raise RecordingError(f"{path} has several image topics; expected --topic to name one of {_listed(cameras)}")
    return wanted or next(iter(named or cameras), None)


def _timings(path: Path, topic: str) -> Iterator[tuple[int, Timing]]:
    for number, (received_ns, message) in enumerate(read_messages(path, topic)):
        try:
            yield stamp_ns(message.header) or received_ns, read_timing(message)
        except ValueError as error:
            raise RecordingError(f"message {number} on {topic} in {path}: {error}") from error


def _flickers(path: Path, topic: str) -> tuple[dict[int, float | None], tuple[int, int] | None]:
    """Flicker by the mask's stamp, and the masks' size."""
    found: dict[int, float | None] = {}
    flicker, size = Flicker(), None
    with open_recording(path, topic) as masks:
        for frame in masks:
            size = size or (frame.height, frame.width)
            found[frame.stamp_ns] = flicker.update(frame.pixels)
    return found, size


def _record(number: int, stamp_ns: int, timing: Timing, flickers: dict[int, float | None]) -> FrameRecord:
    return FrameRecord(
        number=number,
        stream=0,
        stamp_ns=stamp_ns,
        is_keyframe=timing.is_keyframe,
        reason=timing.reason,
        distance=timing.age_frames,
        stage_ms=_stages(timing),
        latency_ms=timing.latency_ms,
        shares=np.array(list(timing.shares.values())),
        flicker=flickers.get(stamp_ns),
    )


def _image_stamps(path: Path, topic: str) -> list[int]:
    return [stamp_ns(message.header) or received_ns for received_ns, message in read_messages(path, topic)]


def _stages(timing: Timing) -> dict[str, float]:
    return {stage: getattr(timing, f"{stage}_ms") for stage in STAGES}


def _labels(path: Path, topics: dict[str, str], node: str, names: tuple[str, ...]) -> LabelSet:
    """As the node published them, else known ones of the same names, else in colours that merely differ."""
    if f"{node}/labels" in topics:
        _, message = next(read_messages(path, f"{node}/labels"))
        return LabelSet.from_json(message.data)
    known = next((labels for labels in LABEL_SETS.values() if labels.names == names), None)
    return known or labels_for(len(names), "", names)


def _drive(stamps: Sequence[int], images: Sequence[int] | None) -> dict[str, Any]:
    apart = [later - earlier for earlier, later in pairwise(stamps)]
    usual = median(apart) if apart else 0
    seconds = (max(stamps) - min(stamps)) / 1e9
    met = set(stamps)
    return {
        "begins": _begins(min(stamps)),
        "seconds": seconds,
        "rate_hz": (len(stamps) - 1) / seconds if seconds else 0.0,
        "images": None if images is None else len(images),
        "dropped": None if images is None else sum(stamp not in met for stamp in images),
        "gaps": [{"after_frame": at, "seconds": ns / 1e9} for at, ns in enumerate(apart) if ns > GAP * usual],
    }


def _begins(stamp_ns: int) -> str | None:
    """The time of day; None where stamps count from another moment, as a simulator's do."""
    if stamp_ns < _REAL_TIME_NS:
        return None
    return datetime.fromtimestamp(stamp_ns / 1e9, timezone.utc).strftime("%Y-%m-%d %H:%M:%S UTC")


def _listed(topics: Sequence[str] | dict[str, str]) -> str:
    return ", ".join(sorted(topics)) or "none"
