"""The run of a recorded drive, from the node's own topics in a bag: nothing is computed again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from dcfm_ros.evaluation.report.frames import RECORDED, Flicker, FrameRecord
from dcfm_ros.evaluation.report.in_step import Measured
from dcfm_ros.imaging.frame import stamp_ns
from dcfm_ros.imaging.labels import LABEL_SETS, LabelSet, labels_for
from dcfm_ros.recordings import RecordingError, open_recording
from dcfm_ros.recordings.messages import read_messages, topics_of
from dcfm_ros.streaming.result import STAGES
from dcfm_ros.streaming.timing import Timing, read_timing

GAP = 1.5
"""Masks further apart than this many times their usual distance have a gap between them: a frame was lost, or late."""

_IMAGES = ("sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage")


@dataclass(frozen=True)
class Drive:
    """measured: a single run. labels: the classes. drive: what `metrics.json` says of the drive."""

    measured: Measured
    labels: LabelSet
    drive: dict[str, Any]


def read_drive(path: Path, node: str = "/segmentation", image_topic: str | None = None) -> Drive:
    """Read `<node>/timing` and, where they were recorded, `<node>/mask`, `<node>/labels` and the camera's images.

    node: what the node's topics begin with, the camera's name included where there are several. image_topic: where
    the images came from; default: the bag's only image topic that is not the node's. Images that were recorded and
    have no timing of their stamp were dropped, or came before the node was there or after it ended.
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
    images = _image_stamps(path, topics, node, image_topic)
    measured = Measured({RECORDED: records}, RECORDED, None, None, [], size)
    return Drive(measured, _labels(path, topics, node, names), _drive([stamp for stamp, _ in timings], images))


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
        stage_ms={stage: getattr(timing, f"{stage}_ms") for stage in STAGES},
        latency_ms=timing.latency_ms,
        shares=np.array(list(timing.shares.values())),
        flicker=flickers.get(stamp_ns),
    )


def _image_stamps(path: Path, topics: dict[str, str], node: str, wanted: str | None) -> list[int] | None:
    """None where the bag has no images of the camera."""
    own = [topic for topic, kind in topics.items() if kind in _IMAGES and not topic.startswith(f"{node}/")]
    if wanted is None and len(own) > 1:
        raise RecordingError(f"{path} has several image topics; expected --topic to name one of {_listed(own)}")
    if wanted is None and not own:
        return None
    return [stamp_ns(message.header) or received_ns for received_ns, message in read_messages(path, wanted or own[0])]


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
        "seconds": seconds,
        "rate_hz": (len(stamps) - 1) / seconds if seconds else 0.0,
        "images": None if images is None else len(images),
        "dropped": None if images is None else sum(stamp not in met for stamp in images),
        "gaps": [{"after_frame": at, "seconds": ns / 1e9} for at, ns in enumerate(apart) if ns > GAP * usual],
    }


def _listed(topics: Sequence[str] | dict[str, str]) -> str:
    return ", ".join(sorted(topics)) or "none"
