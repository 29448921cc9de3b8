"""ROS bags as recordings, through `rosbags`: no ROS installation is needed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from rosbags.highlevel import AnyReader
from rosbags.typesys import Stores, get_typestore
from rosbags.typesys.store import Typestore

from dcfm_ros.imaging.compressed import decode_compressed
from dcfm_ros.imaging.encodings import decode_frame
from dcfm_ros.imaging.frame import Frame
from dcfm_ros.recordings.recording import Damaged, Recorded, Recording, RecordingError, nominal_rate
from dcfm_ros.recordings.salvage.bag import salvaged

IMAGE = "sensor_msgs/msg/Image"
COMPRESSED_IMAGE = "sensor_msgs/msg/CompressedImage"
IMAGES = (IMAGE, COMPRESSED_IMAGE)
CAMERA_INFO = "sensor_msgs/msg/CameraInfo"

_MESSAGES_FOR_RATE = 101


class BagRecording(Recording):
    """One image topic of a rosbag2 folder, of a single .db3 or .mcap file, or of a ROS 1 .bag file.

    topic: a topic of sensor_msgs/msg/Image or sensor_msgs/msg/CompressedImage (JPEG, PNG); may be left out where the
        bag has messages on only one. CompressedImage keeps its `format` as the frame's encoding.

    Frames come in the order of receipt. A stamp is the message's header.stamp, or the time of receipt where that is
    zero. `rate_hz` is measured on the first hundred messages, so that a long bag need not be read for it.
    Where damage is skipped, `rosbags` reads as far as it can, and the rest is read file by file (`recordings.salvage`).

    Raises RecordingError when the bag cannot be read, when the topic is not there, is of another type or is one of
    several, and while iterating for a message that cannot be decoded or when fewer come than the bag announces.
    """

    def __init__(self, path: Path, topic: str | None = None, damaged: Damaged = "raise") -> None:
        super().__init__(path.stem if path.is_file() else path.resolve().name, damaged)
        self._path = path
        self._open = ExitStack()
        self._reader = self._opened()
        counts = self._counts()
        try:
            self.topic = _choose_topic(path, counts, topic)
        except RecordingError:
            self.close()
            raise
        self._images = _messages_of(counts, self.topic, IMAGES)
        self._infos = _messages_of(counts, camera_info_topic(self.topic), (CAMERA_INFO,))

    @cached_property
    def rate_hz(self) -> float:
        messages = islice(self._messages(self._images), _MESSAGES_FOR_RATE)
        return nominal_rate([message.stamp_ns for message in messages])

    @cached_property
    def frame_id(self) -> str:
        first = next(self._messages(self._images), None)
        return first.content.header.frame_id if first else super().frame_id

    def __len__(self) -> int:
        return self._images.announced

    def __iter__(self) -> Iterator[Frame]:
        return (recorded.frame for recorded in self.recorded())

    def recorded(self) -> Iterator[Recorded]:
        for message in self._messages(self._images):
            try:
                frame = _decode(message)
            except (ValueError, TypeError, AttributeError) as error:  # the last where the type's definition is damaged
                self._lose(f"{self._where(self._images, message.number)} cannot be decoded: {error}", error)
                continue
            yield Recorded(frame, message.content, message.received_ns)

    def camera_infos(self) -> Iterator[tuple[int, Any]]:
        return ((message.received_ns, message.content) for message in self._messages(self._infos))

    def close(self) -> None:
        self._open.close()

    def _opened(self) -> AnyReader | None:
        """The library's reader; None where it refuses the bag, and that is no error."""
        try:
            # Bags older than Iron's carry no definitions; these two messages have been the same in all of ROS 2.
            return self._open.enter_context(AnyReader([self._path], default_typestore=get_typestore(Stores.ROS2_JAZZY)))
        except Exception as error:  # a damaged file surfaces as nearly any type: struct, index, assertion, sqlite, ...
            self._lose(f"{self._path} cannot be read as a bag: {_reason(error)}", error)
            return None

    def _counts(self) -> Counter[tuple[str, str]]:
        """Messages by topic and type: as the bag tells, or as they can be read."""
        counts: Counter[tuple[str, str]] = Counter()
        if self._reader is None:
            counts.update((raw.topic, raw.kind) for raw in salvaged(self._path, self._lose))
        else:
            for connection in self._reader.connections:
                counts[connection.topic, connection.msgtype] += connection.msgcount
        return counts

    def _messages(self, wanted: _Messages) -> Iterator[_Message]:
        index = -1
        for index, (kind, received_ns, data) in enumerate(self._raw_messages(wanted)):
            try:
                content: Any = self._deserialize(data, kind)
                stamp_ns = _stamp(content) or received_ns
            except Exception as error:  # as when opening
                self._lose(f"{self._where(wanted, index)} cannot be read: {_reason(error)}", error)
                continue
            yield _Message(index, kind, stamp_ns, received_ns, content)
        if index + 1 < wanted.announced:
            self._lose(f"{self._path} holds {index + 1} messages on {wanted.topic}; expected {wanted.announced}")

    def _raw_messages(self, wanted: _Messages) -> Iterator[tuple[str, int, bytes]]:
        """Type, time of receipt and bytes."""
        if not wanted.announced:
            return  # to the library, no connections are all of them
        read: Counter[int] = Counter()
        if self._reader is not None:
            # One topic may have several connections: bags that were split, publishers with other QoS.
            ours = [c for c in self._reader.connections if c.topic == wanted.topic and c.msgtype in wanted.kinds]
            messages = self._reader.messages(connections=ours)
            try:
                for connection, received_ns, data in messages:
                    read[received_ns] += 1
                    yield connection.msgtype, received_ns, data
                if read.total() >= wanted.announced or self._damaged == "raise":
                    return
            except Exception as error:  # as when opening
                self._lose(f"{self._where(wanted, read.total())} cannot be read: {_reason(error)}", error)
        for raw in salvaged(self._path, self._lose):
            if raw.topic != wanted.topic or raw.kind not in wanted.kinds:
                continue
            if read[raw.received_ns]:
                read[raw.received_ns] -= 1
            else:
                yield raw.kind, raw.received_ns, raw.data

    def _deserialize(self, data: bytes, kind: str) -> Any:
        if self._reader is not None and self._damaged == "raise":
            return self._reader.deserialize(data, kind)
        if self._path.suffix.lower() == ".bag":
            return self._types.deserialize_ros1(data, kind)
        return self._types.deserialize_cdr(data, kind)

    @cached_property
    def _types(self) -> Typestore:
        """What the messages are like where what the bag says of it may be damaged too."""
        return get_typestore(Stores.ROS1_NOETIC if self._path.suffix.lower() == ".bag" else Stores.ROS2_JAZZY)

    def _where(self, wanted: _Messages, index: int) -> str:
        return f"message {index} on {wanted.topic} in {self._path}"


def camera_info_topic(image_topic: str) -> str:
    """Where a camera has its calibration: beside its images, whatever image_transport adds for their compression."""
    parent, slash, _ = image_topic.removesuffix("/compressed").rpartition("/")
    return f"{parent}{slash}camera_info"


class _Messages(NamedTuple):
    """The messages of one topic that are of some types, and how many of them the bag tells of."""

    topic: str
    kinds: tuple[str, ...]
    announced: int


class _Message(NamedTuple):
    """A deserialised message, and which of its topic it is."""

    number: int
    kind: str
    stamp_ns: int
    received_ns: int
    content: Any


def _messages_of(counts: Counter[tuple[str, str]], topic: str, kinds: tuple[str, ...]) -> _Messages:
    return _Messages(topic, kinds, sum(counts[topic, kind] for kind in kinds))


def _choose_topic(path: Path, counts: Counter[tuple[str, str]], wanted: str | None) -> str:
    filled = sorted({topic for (topic, kind), count in counts.items() if kind in IMAGES and count > 0})
    if wanted in filled:
        return wanted
    listed = ", ".join(filled) or "none"
    if wanted is not None:
        kinds = sorted({kind for topic, kind in counts if topic == wanted})
        if not kinds:
            raise RecordingError(f"{path} has no topic {wanted!r}; its image topics: {listed}")
        if not set(IMAGES).intersection(kinds):
            raise RecordingError(f"{wanted} in {path} is {', '.join(kinds)}; expected {' or '.join(IMAGES)}")
        raise RecordingError(f"{wanted} in {path} has no messages; image topics that have: {listed}")
    if not filled:
        raise RecordingError(f"{path} has no images; expected a topic of {' or '.join(IMAGES)}")
    if len(filled) > 1:
        raise RecordingError(f"{path} has several image topics, choose one: {listed}")
    return filled[0]


def _stamp(message: Any) -> int:
    stamp = message.header.stamp
    return int(stamp.sec) * 1_000_000_000 + int(stamp.nanosec)


def _decode(message: _Message) -> Frame:
    content = message.content
    if message.kind == COMPRESSED_IMAGE:
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


def _reason(error: Exception) -> str:
    return str(error) or type(error).__name__
