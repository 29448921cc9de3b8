"""ROS bags as recordings, through `rosbags`: no ROS installation is needed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from dcfm_ros.imaging.compressed import decode_compressed
from dcfm_ros.imaging.encodings import decode_frame
from dcfm_ros.imaging.frame import Frame
from dcfm_ros.recordings import foxglove
from dcfm_ros.recordings.bag_messages import BagMessages, reason
from dcfm_ros.recordings.recording import Damaged, Recorded, Recording, RecordingError, nominal_rate

IMAGE = "sensor_msgs/msg/Image"
COMPRESSED_IMAGE = "sensor_msgs/msg/CompressedImage"
CAMERA_INFO = "sensor_msgs/msg/CameraInfo"

_COMPRESSED = (COMPRESSED_IMAGE, *foxglove.COMPRESSED_IMAGES)
_IMAGES = (IMAGE, *foxglove.RAW_IMAGES, *_COMPRESSED)
_EXPECTED = f"{IMAGE}, {COMPRESSED_IMAGE}, or Foxglove's RawImage or CompressedImage"
_MESSAGES_FOR_RATE = 101


class BagRecording(Recording):
    """One image topic of a rosbag2 folder, of a folder of ROS 1 bags, or of a single file of either.

    topic: a topic of sensor_msgs/msg/Image, sensor_msgs/msg/CompressedImage (JPEG, PNG) or Foxglove's RawImage or
        CompressedImage; may be left out where the bag has messages on only one. CompressedImage keeps its `format` as
        the frame's encoding.

    Frames come in the order of receipt. A stamp is the message's header.stamp, or the time of receipt where that is
    zero. `rate_hz` is measured on the first hundred messages, so that a long bag need not be read for it.

    Raises RecordingError when the bag cannot be read, when the topic is not there, is of another type or is one of
    several, and while iterating for a message that cannot be decoded or when fewer come than the bag announces.
    """

    def __init__(self, path: Path, topic: str | None = None, damaged: Damaged = "raise") -> None:
        super().__init__(path.stem if path.is_file() else path.resolve().name, damaged)
        self._path = path
        self._bag = BagMessages(path, self._lose, damaged)
        try:
            self.topic = _choose_topic(path, self._bag.counts, topic)
        except RecordingError:
            self.close()
            raise

    @cached_property
    def rate_hz(self) -> float:
        messages = islice(self._messages(self.topic, _IMAGES), _MESSAGES_FOR_RATE)
        return nominal_rate([message.stamp_ns for message in messages])

    @cached_property
    def frame_id(self) -> str:
        first = next(self._messages(self.topic, _IMAGES), None)
        return first.content.header.frame_id if first else super().frame_id

    def __len__(self) -> int:
        return sum(self._bag.counts[self.topic, kind] for kind in _IMAGES)

    def __iter__(self) -> Iterator[Frame]:
        return (recorded.frame for recorded in self.recorded())

    def recorded(self) -> Iterator[Recorded]:
        has_any = False
        for message in self._messages(self.topic, _IMAGES):
            try:
                frame = _decode(message)
            except (ValueError, TypeError, AttributeError) as error:  # the last where the type's definition is damaged
                self._lose(f"{self._where(self.topic, message.number)} cannot be decoded: {error}", error)
                continue
            has_any = True
            yield Recorded(frame, message.content, message.received_ns)
        if not has_any:
            self._raise_without_frames()

    def camera_infos(self) -> Iterator[tuple[int, Any]]:
        infos = self._messages(camera_info_topic(self.topic), (CAMERA_INFO,))
        return ((message.received_ns, message.content) for message in infos)

    def close(self) -> None:
        self._bag.close()

    def _messages(self, topic: str, kinds: tuple[str, ...]) -> Iterator[_Message]:
        for number, raw in enumerate(self._bag.of(topic, kinds)):
            try:
                content = self._bag.content(raw)
                stamp_ns = _stamp(content) or raw.received_ns
            except Exception as error:  # a damaged message surfaces as nearly any type
                self._lose(f"{self._where(topic, number)} cannot be read: {reason(error)}", error)
                continue
            yield _Message(number, raw.kind, stamp_ns, raw.received_ns, content)

    def _where(self, topic: str, index: int) -> str:
        return f"message {index} on {topic} in {self._path}"


def camera_info_topic(image_topic: str) -> str:
    """Where a camera has its calibration: beside its images, whatever image_transport adds for their compression."""
    parent, slash, _ = image_topic.removesuffix("/compressed").rpartition("/")
    return f"{parent}{slash}camera_info"


class _Message(NamedTuple):
    """A deserialised message, and which of its topic it is."""

    number: int
    kind: str
    stamp_ns: int
    received_ns: int
    content: Any


def _choose_topic(path: Path, counts: Counter[tuple[str, str]], wanted: str | None) -> str:
    filled = sorted({topic for (topic, kind), count in counts.items() if kind in _IMAGES and count > 0})
    if wanted in filled:
        return wanted
    listed = ", ".join(filled) or "none"
    if wanted is not None:
        kinds = sorted({kind for topic, kind in counts if topic == wanted})
        if not kinds:
            raise RecordingError(f"{path} has no topic {wanted!r}; its image topics: {listed}")
        if not set(_IMAGES).intersection(kinds):
            raise RecordingError(f"{wanted} in {path} is {', '.join(kinds)}; expected {_way_out(kinds)}")
        raise RecordingError(f"{wanted} in {path} has no messages; image topics that have: {listed}")
    if not filled:
        videos = sorted({topic for (topic, kind), count in counts.items() if kind in foxglove.VIDEOS and count})
        kinds = [kind for topic, kind in counts if topic in videos]
        there = f" but {kinds[0]} on {', '.join(videos)}" if videos else ""
        raise RecordingError(f"{path} has no images{there}; expected a topic of {_way_out(kinds)}")
    if len(filled) > 1:
        raise RecordingError(f"{path} has several image topics, choose one: {listed}")
    return filled[0]


def _way_out(kinds: list[str]) -> str:
    """What is expected instead of these types."""
    if set(kinds) & set(foxglove.VIDEOS):
        return f"{_EXPECTED}: decode the packets of video first, with `ros2 run image_transport republish` or FFmpeg"
    return _EXPECTED


def _stamp(message: Any) -> int:
    stamp = message.header.stamp
    return int(stamp.sec) * 1_000_000_000 + int(stamp.nanosec)


def _decode(message: _Message) -> Frame:
    content = message.content
    if message.kind in _COMPRESSED:
        return decode_compressed(content.data, content.format, message.stamp_ns)
    return decode_frame(
        content.data,
        height=content.height,
        width=content.width,
        encoding=content.encoding,
        step=content.step,
        is_bigendian=bool(content.is_bigendian),
        stamp_ns=message.stamp_ns,
    )
