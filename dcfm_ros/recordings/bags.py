"""ROS bags as recordings: no ROS installation is needed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from dcfm_ros.imaging.compressed import decode_compressed
from dcfm_ros.imaging.encodings import decode_frame
from dcfm_ros.imaging.frame import Frame, stamp_ns
from dcfm_ros.recordings.recording import Damaged, RecordedFrame, Recording, RecordingError, nominal_rate
from dcfm_ros.recordings.storage.bag import Bag
from dcfm_ros.recordings.storage.contents import (
    CAMERA_INFO,
    COMPRESSED_IMAGE,
    IMAGE,
    content_of,
    image_kind,
    why_not_read,
)
from dcfm_ros.recordings.storage.raw import Channel

_MESSAGES_FOR_RATE = 101
_EXPECTED = f"{IMAGE}, {COMPRESSED_IMAGE}, or Foxglove's RawImage or CompressedImage"


class BagRecording(Recording):
    """One image topic of a rosbag2 folder, of a single .db3 or .mcap file, or of ROS 1 .bag files.

    topic: of sensor_msgs' or Foxglove's images, raw or compressed (JPEG, PNG), in CDR, ROS 1's serialisation, JSON or
        protobuf; may be left out where the bag has messages on only one. A compressed image keeps its `format` as the
        frame's encoding. Whatever else lies in the bag does not matter.

    Frames come in the order of receipt. A stamp is the message's header.stamp, or the time of receipt where that is
    zero. `rate_hz` is measured on the first hundred messages, so that a long bag need not be read for it.

    Raises RecordingError when the bag cannot be read, when the topic is not there, is of another type or is one of
    several, and while iterating for a message that cannot be decoded or when fewer come than the bag announces.
    """

    def __init__(self, path: Path, topic: str | None = None, damaged: Damaged = "raise") -> None:
        super().__init__(path.stem if path.is_file() else path.resolve().name, damaged)
        self._path = path
        self._is_closed = False
        with ExitStack() as undo:
            try:
                self._bag = Bag(path, self._lose)
                undo.callback(self._bag.close)
                counts = self._bag.counts()
            except RecordingError as error:
                raise _unreadable(path, error) from error
            self.topic = _choose_topic(path, counts, topic)
            undo.pop_all()
        told = self._bag.announced[self.topic]
        self._count = max(told, sum(n for c, n in counts.items() if c.topic == self.topic and image_kind(c)))

    @cached_property
    def rate_hz(self) -> float:
        return nominal_rate([message.stamp_ns for message in islice(self._images(), _MESSAGES_FOR_RATE)])

    @cached_property
    def frame_id(self) -> str:
        first = next(self._images(), None)
        return first.content.header.frame_id if first else super().frame_id

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Frame]:
        return (recorded.frame for recorded in self.recorded())

    def recorded(self) -> Iterator[RecordedFrame]:
        has_any = False
        for message in self._images():
            try:
                frame = _decode(message)
            except (ValueError, TypeError, AttributeError) as error:  # the last of data that is damaged
                self._lose(f"{self._where(message.number)} cannot be decoded: {error}", error)
                continue
            has_any = True
            yield RecordedFrame(frame, message.content, message.received_ns)
        if not has_any:
            self._raise_without_frames()

    def camera_infos(self) -> Iterator[tuple[int, Any]]:
        topic = camera_info_topic(self.topic)
        for message in self._bag.messages(lambda channel: channel.topic == topic and channel.kind == CAMERA_INFO):
            try:
                content = content_of(message)
            except Exception as error:  # as when opening
                self._lose(f"a message on {topic} in {self._path} cannot be read: {_reason(error)}", error)
                continue
            yield message.received_ns, content

    def close(self) -> None:
        self._is_closed = True
        self._bag.close()

    def _images(self) -> Iterator[_Message]:
        if self._is_closed:
            raise RecordingError(f"{self._path} is closed; expected it open")
        index = -1
        wanted = self._bag.messages(lambda channel: channel.topic == self.topic and image_kind(channel) is not None)
        for index, raw in enumerate(wanted):
            try:
                content = content_of(raw)
                stamp = stamp_ns(content.header) or raw.received_ns
            except Exception as error:  # a damaged message surfaces as nearly any type: struct, index, assertion, ...
                self._lose(f"{self._where(index)} cannot be read: {_reason(error)}", error)
                continue
            yield _Message(index, stamp, raw.received_ns, content)
        if index + 1 < self._count:
            self._lose(f"{self._path} holds {index + 1} messages on {self.topic}; expected {self._count}")

    def _where(self, index: int) -> str:
        return f"message {index} on {self.topic} in {self._path}"


def camera_info_topic(image_topic: str) -> str:
    """Where a camera has its calibration: beside its images, whatever image_transport adds for their compression."""
    parent, slash, _ = image_topic.removesuffix("/compressed").rpartition("/")
    return f"{parent}{slash}camera_info"


class _Message(NamedTuple):
    """A deserialised message, and which of its topic it is."""

    number: int
    stamp_ns: int
    received_ns: int
    content: Any


def _choose_topic(path: Path, counts: Counter[Channel], wanted: str | None) -> str:
    filled = sorted({channel.topic for channel, count in counts.items() if image_kind(channel) and count > 0})
    if wanted in filled:
        return wanted
    listed = ", ".join(filled) or "none"
    refused = sorted({f"; {why}" for c in counts if wanted in (None, c.topic) and (why := why_not_read(c))})
    if wanted is not None:
        channels = [channel for channel in counts if channel.topic == wanted]
        if not channels:
            raise RecordingError(f"{path} has no topic {wanted!r}; its image topics: {listed}")
        if not any(map(image_kind, channels)):
            kinds = ", ".join(sorted({channel.kind for channel in channels}))
            raise RecordingError(f"{wanted} in {path} is {kinds}; expected {_EXPECTED}{''.join(refused)}")
        raise RecordingError(f"{wanted} in {path} has no messages; image topics that have: {listed}")
    if not filled:
        raise RecordingError(f"{path} has no images; expected a topic of {_EXPECTED}{''.join(refused)}")
    if len(filled) > 1:
        raise RecordingError(f"{path} has several image topics, choose one: {listed}")
    return filled[0]


def _decode(message: _Message) -> Frame:
    content = message.content
    if content.__msgtype__ == COMPRESSED_IMAGE:
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


def _unreadable(path: Path, error: Exception) -> RecordingError:
    said = str(error)
    return RecordingError(said if "cannot be read as a bag" in said else f"{path} cannot be read as a bag: {said}")


def _reason(error: Exception) -> str:
    return str(error) or type(error).__name__
