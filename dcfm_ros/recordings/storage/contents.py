"""Messages as sensor_msgs has them, whatever they were serialised as."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np
from rosbags.typesys import Stores, get_types_from_msg, get_typestore
from rosbags.typesys.store import Typestore

from dcfm_ros.recordings.storage.raw import Channel, RawMessage

IMAGE = "sensor_msgs/msg/Image"
COMPRESSED_IMAGE = "sensor_msgs/msg/CompressedImage"
CAMERA_INFO = "sensor_msgs/msg/CameraInfo"

_RAW = {IMAGE, "foxglove.RawImage", "foxglove_msgs/msg/RawImage"}
_COMPRESSED = {COMPRESSED_IMAGE, "foxglove.CompressedImage", "foxglove_msgs/msg/CompressedImage"}
_VIDEO = {
    "foxglove.CompressedVideo",
    "foxglove_msgs/msg/CompressedVideo",
    "ffmpeg_image_transport_msgs/msg/FFMPEGPacket",
    "theora_image_transport/msg/Packet",
}
_ENCODINGS = ("cdr", "ros1", "json", "protobuf")
# https://github.com/foxglove/foxglove-sdk/tree/main/schemas: the same in ROS 1 and 2 but for the time's type.
_FOXGLOVE = {
    "foxglove_msgs/msg/RawImage": "{time} timestamp\nstring frame_id\nuint32 width\nuint32 height\nstring encoding\n"
    "uint32 step\nuint8[] data\n",
    "foxglove_msgs/msg/CompressedImage": "{time} timestamp\nstring frame_id\nuint8[] data\nstring format\n",
}


def image_kind(channel: Channel) -> str | None:
    """IMAGE or COMPRESSED_IMAGE, as which `content_of` gives the channel's messages; None for any other message."""
    if channel.encoding not in _ENCODINGS:
        return None
    return IMAGE if channel.kind in _RAW else COMPRESSED_IMAGE if channel.kind in _COMPRESSED else None


def why_not_read(channel: Channel) -> str:
    """Say what the pictures that are not read are, and the way out; empty where the channel has none."""
    if channel.kind in _VIDEO:
        return (
            f"{channel.topic} is {channel.kind}: decode the packets of video first, with `ros2 run image_transport "
            "republish` or FFmpeg"
        )
    if channel.kind in _RAW | _COMPRESSED and channel.encoding not in _ENCODINGS:
        return f"{channel.topic} is {channel.kind} in {channel.encoding}; expected {', '.join(_ENCODINGS)}"
    return ""


def content_of(message: RawMessage) -> Any:
    """The message; an image as IMAGE or COMPRESSED_IMAGE. Types are the well-known ones, whatever the bag says of them.

    Raises nearly anything where the data is damaged, and ValueError for a type that is not known.
    """
    channel = message.channel
    if channel.encoding in ("cdr", "ros1"):
        types = _types(channel.encoding)
        if channel.kind not in types.fielddefs:
            raise ValueError(f"its type {channel.kind} is not known")
        read = types.deserialize_cdr if channel.encoding == "cdr" else types.deserialize_ros1
        content: Any = read(message.data, channel.kind)
        return content if not channel.kind.startswith("foxglove") else _image(image_kind(channel), vars(content))
    if channel.encoding == "json":
        return _image(image_kind(channel), json.loads(message.data))
    return _image(image_kind(channel), _of_protobuf(channel, message.data))


@cache
def _types(encoding: str) -> Typestore:
    types = get_typestore(Stores.ROS2_JAZZY if encoding == "cdr" else Stores.ROS1_NOETIC)
    time = "builtin_interfaces/Time" if encoding == "cdr" else "time"
    for kind, definition in _FOXGLOVE.items():
        types.register(get_types_from_msg(definition.format(time=time), kind))
    return types


def _image(kind: str | None, fields: Mapping[str, Any]) -> Any:
    """From the fields of one of Foxglove's messages."""
    types = _types("cdr").types
    header = types["std_msgs/msg/Header"](stamp=_time(fields.get("timestamp")), frame_id=fields.get("frame_id", ""))
    data = fields["data"]
    data = np.frombuffer(base64.b64decode(data) if isinstance(data, str) else data, np.uint8)
    if kind == COMPRESSED_IMAGE:
        return types[COMPRESSED_IMAGE](header=header, format=fields["format"], data=data)
    sizes = {name: int(fields[name]) for name in ("height", "width", "step")}
    return types[IMAGE](header=header, encoding=fields["encoding"], is_bigendian=0, data=data, **sizes)


def _time(stamp: Any) -> Any:
    """JSON says sec and nsec, protobuf seconds and nanos, ROS sec and nanosec; none is no stamp."""
    fields = stamp if isinstance(stamp, Mapping) else {}
    seconds, rest = (
        next((int(found) for name in names if (found := fields.get(name, getattr(stamp, name, None))) is not None), 0)
        for names in (("sec", "seconds"), ("nsec", "nanosec", "nanos"))
    )
    return _types("cdr").types["builtin_interfaces/msg/Time"](sec=seconds, nanosec=rest)


def _of_protobuf(channel: Channel, data: bytes) -> Mapping[str, Any]:
    message = _protobuf_class(channel)()
    message.ParseFromString(data)
    return {field.name: getattr(message, field.name) for field in message.DESCRIPTOR.fields}


@cache
def _protobuf_class(channel: Channel) -> Any:
    """Return the class of the messages that the channel's own definition describes."""
    try:
        from google.protobuf import duration_pb2, timestamp_pb2
        from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet
        from google.protobuf.descriptor_pool import DescriptorPool
        from google.protobuf.message_factory import GetMessageClass
    except ImportError as error:
        raise ValueError(f"{channel.topic} is {channel.kind} in protobuf; pip install 'dcfm_ros[foxglove]'") from error
    own = {file.name: file for file in FileDescriptorSet.FromString(channel.definition).file}
    known = [module.DESCRIPTOR for module in (duration_pb2, timestamp_pb2)]  # a definition need not repeat these
    files = {file.name: FileDescriptorProto.FromString(file.serialized_pb) for file in known} | own
    pool = DescriptorPool()

    def add(name: str) -> None:
        """A file after those that it depends on, whatever their order."""
        if (file := files.pop(name, None)) is not None:
            for other in file.dependency:
                add(other)
            pool.Add(file)

    for name in own:
        add(name)
    try:
        return GetMessageClass(pool.FindMessageTypeByName(channel.kind))
    except KeyError as error:
        raise ValueError(f"its type {channel.kind} is not described in the file") from error
