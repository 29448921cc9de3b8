"""ROS bags as recordings, through `rosbags`: no ROS installation is needed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any

from rosbags.highlevel import AnyReader
from rosbags.interfaces import Connection
from rosbags.typesys import Stores, get_typestore

from dcfm_ros.imaging.compressed import decode_compressed
from dcfm_ros.imaging.encodings import decode_frame
from dcfm_ros.imaging.frame import Frame
from dcfm_ros.recordings.recording import Recording, RecordingError, nominal_rate

IMAGE = "sensor_msgs/msg/Image"
COMPRESSED_IMAGE = "sensor_msgs/msg/CompressedImage"

_MESSAGES_FOR_RATE = 101


class BagRecording(Recording):
    """One image topic of a rosbag2 folder, of a single .db3 or .mcap file, or of a ROS 1 .bag file.

    topic: a topic of sensor_msgs/msg/Image or sensor_msgs/msg/CompressedImage (JPEG, PNG); may be left out where the
        bag has messages on only one. CompressedImage becomes BGR or grey, with its `format` as the frame's encoding.

    Frames come in the order of receipt. A stamp is the message's header.stamp, or the time of receipt where that is
    zero. `rate_hz` is measured on the first hundred messages, so that a long bag need not be read for it.

    Raises RecordingError when the bag cannot be read, when the topic is not there, is of another type or is one of
    several, and while iterating for a message that cannot be decoded or when fewer come than the bag announces.
    """

    def __init__(self, path: Path, topic: str | None = None) -> None:
        self.name = path.stem if path.is_file() else path.resolve().name
        self._path = path
        self._open = ExitStack()
        try:
            # Bags older than Iron's carry no definitions; these two messages have been the same in all of ROS 2.
            reader = AnyReader([path], default_typestore=get_typestore(Stores.ROS2_JAZZY))
            self._reader = self._open.enter_context(reader)
        except Exception as error:  # a damaged file surfaces as nearly any type: struct, index, assertion, sqlite, ...
            raise RecordingError(f"{path} cannot be read as a bag: {_reason(error)}") from error
        try:
            self.topic = _choose_topic(path, self._reader.connections, topic)
        except RecordingError:
            self.close()
            raise
        # One topic may have several connections: bags that were split, publishers with other QoS.
        self._connections = [c for c in self._reader.connections if c.topic == self.topic and _is_image(c)]
        self._announced = sum(connection.msgcount for connection in self._connections)

    @cached_property
    def rate_hz(self) -> float:
        return nominal_rate([stamp for _, stamp, _ in islice(self._messages(), _MESSAGES_FOR_RATE)])

    def __len__(self) -> int:
        return self._announced

    def __iter__(self) -> Iterator[Frame]:
        for index, (message_type, stamp, message) in enumerate(self._messages()):
            try:
                frame = _decode(message_type, stamp, message)
            except ValueError as error:
                raise RecordingError(f"{self._where(index)} cannot be decoded: {error}") from error
            yield frame

    def close(self) -> None:
        self._open.close()

    def _messages(self) -> Iterator[tuple[str, int, Any]]:
        """Type, stamp (ns) and deserialised message, one after the other."""
        count = 0
        raw_messages = self._reader.messages(connections=self._connections)
        while True:
            try:
                raw = next(raw_messages, None)
                if raw is None:
                    break
                connection, received_ns, data = raw
                message: Any = self._reader.deserialize(data, connection.msgtype)
            except Exception as error:  # as when opening
                raise RecordingError(f"{self._where(count)} cannot be read: {_reason(error)}") from error
            count += 1
            yield connection.msgtype, _stamp(message) or received_ns, message
        if count < self._announced:
            raise RecordingError(f"{self._path} holds {count} messages on {self.topic}; expected {self._announced}")

    def _where(self, index: int) -> str:
        return f"message {index} on {self.topic} in {self._path}"


def _choose_topic(path: Path, connections: Sequence[Connection], wanted: str | None) -> str:
    filled = sorted({c.topic for c in connections if _is_image(c) and c.msgcount > 0})
    if wanted in filled:
        return wanted
    listed = ", ".join(filled) or "none"
    if wanted is not None:
        types = sorted({c.msgtype for c in connections if c.topic == wanted})
        if not types:
            raise RecordingError(f"{path} has no topic {wanted!r}; its image topics: {listed}")
        if not {IMAGE, COMPRESSED_IMAGE}.intersection(types):
            raise RecordingError(f"{wanted} in {path} is {', '.join(types)}; expected {IMAGE} or {COMPRESSED_IMAGE}")
        raise RecordingError(f"{wanted} in {path} has no messages; image topics that have: {listed}")
    if not filled:
        raise RecordingError(f"{path} has no images; expected a topic of {IMAGE} or {COMPRESSED_IMAGE}")
    if len(filled) > 1:
        raise RecordingError(f"{path} has several image topics, choose one: {listed}")
    return filled[0]


def _is_image(connection: Connection) -> bool:
    return connection.msgtype in (IMAGE, COMPRESSED_IMAGE)


def _stamp(message: Any) -> int:
    stamp = message.header.stamp
    return int(stamp.sec) * 1_000_000_000 + int(stamp.nanosec)


def _decode(message_type: str, stamp_ns: int, message: Any) -> Frame:
    if message_type == COMPRESSED_IMAGE:
        return decode_compressed(message.data, message.format, stamp_ns)
    return decode_frame(
        message.data,
        height=message.height,
        width=message.width,
        encoding=message.encoding,
        step=message.step,
        is_bigendian=bool(message.is_bigendian),
        stamp_ns=stamp_ns,
    )


def _reason(error: Exception) -> str:
    return str(error) or type(error).__name__
