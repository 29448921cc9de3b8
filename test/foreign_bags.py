"""Bags that others than this package and rosbag2 write, made on the spot from frames."""

from __future__ import annotations

import base64
import json
import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorProto, FileDescriptorSet
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass
from mcap.writer import Writer
from rosbags.rosbag1 import Writer as Ros1Writer
from rosbags.typesys import Stores, get_typestore

from dcfm_ros.imaging.frame import Frame

IMAGE = "sensor_msgs/msg/Image"
ROS1, ROS2 = get_typestore(Stores.ROS1_NOETIC), get_typestore(Stores.ROS2_JAZZY)


def image_of(frame: Frame, types: Any = ROS2) -> Any:
    """A sensor_msgs/Image of BGR."""
    stamp = types.types["builtin_interfaces/msg/Time"](*divmod(frame.stamp_ns, 10**9))
    sequence = {"seq": 0} if types is ROS1 else {}
    return types.types[IMAGE](
        header=types.types["std_msgs/msg/Header"](stamp=stamp, frame_id="camera", **sequence),
        height=frame.height,
        width=frame.width,
        encoding="bgr8",
        is_bigendian=0,
        step=3 * frame.width,
        data=frame.pixels.reshape(-1),
    )


def write_mcap(
    path: Path, frames: Sequence[Frame], beside: str = "", profile: str = "ros2", ros: int = 2, **options: Any
) -> Path:
    """On /cam, received at their stamps. beside: the encoding of another channel, with as many messages."""
    types = ROS2 if ros == 2 else ROS1
    with path.open("wb") as stream:
        file = Writer(stream, chunk_size=20_000, **options)
        file.start(profile, library="")
        definition = types.generate_msgdef(IMAGE, ros_version=ros)[0].encode()
        name, encoding = (IMAGE, "cdr") if ros == 2 else ("sensor_msgs/Image", "ros1")
        schema = file.register_schema(name, f"ros{ros}msg", definition)
        channel = file.register_channel("/cam", encoding, schema)
        if beside:
            other = file.register_channel("/fleet", beside, file.register_schema("Status", beside, b"{}"))
        for frame in frames:
            message = image_of(frame, types)
            data = types.serialize_cdr(message, IMAGE) if ros == 2 else types.serialize_ros1(message, IMAGE)
            file.add_message(channel, frame.stamp_ns, bytes(data), frame.stamp_ns)
            if beside:
                file.add_message(other, frame.stamp_ns, b"{}", frame.stamp_ns)
        file.finish()
    return path


def write_ros1(path: Path, frames: Sequence[Frame], with_scan: bool = False) -> Path:
    """On /cam. with_scan: a topic beside it whose definition is empty."""
    with Ros1Writer(path) as bag:
        bag.chunk_threshold = 10_000
        camera = bag.add_connection("/cam", IMAGE, typestore=ROS1)
        if with_scan:
            scan = bag.add_connection("/scan", "rslidar_msgs/msg/rslidarScan", msgdef="", md5sum="0123456789abcdef" * 2)
        for frame in frames:
            bag.write(camera, frame.stamp_ns, ROS1.serialize_ros1(image_of(frame, ROS1), IMAGE))
            if with_scan:
                bag.write(scan, frame.stamp_ns, bytes(16))
    return path


def leave_in_wal(file: Path, folder: Path, kept: int) -> Path:
    """A copy of a .db3 in `folder`, made while all but `kept` messages lie in the -wal beside it."""
    database = sqlite3.connect(file, isolation_level=None)
    rows = database.execute("SELECT topic_id, timestamp, data FROM messages ORDER BY id").fetchall()
    database.execute("DELETE FROM messages WHERE id > ?", (kept,))
    database.execute("VACUUM")
    database.execute("PRAGMA journal_mode=WAL")
    database.execute("PRAGMA wal_autocheckpoint=0")
    database.executemany("INSERT INTO messages (topic_id, timestamp, data) VALUES (?, ?, ?)", rows[kept:])
    folder.mkdir(exist_ok=True)
    for name in (file.name, f"{file.name}-wal"):
        (folder / name).write_bytes(file.with_name(name).read_bytes())
    database.close()
    return folder / file.name


def foxglove_json(frame: Frame, kind: str) -> bytes:
    return json.dumps(_foxglove(frame, kind, lambda data: base64.b64encode(data).decode(), ("sec", "nsec"))).encode()


def foxglove_protobuf(frame: Frame, kind: str) -> tuple[bytes, bytes]:
    """The file's definition, and a message; field numbers are Foxglove's."""
    files = _protobuf_files()
    pool = DescriptorPool()
    for file in files.file:
        pool.Add(file)
    message = GetMessageClass(pool.FindMessageTypeByName(f"foxglove.{kind}"))()
    for name, value in _foxglove(frame, kind, bytes, ("seconds", "nanos")).items():
        if isinstance(value, dict):
            for part, number in value.items():
                setattr(message.timestamp, part, number)
        else:
            setattr(message, name, value)
    return files.SerializeToString(), message.SerializeToString()


def write_foxglove(path: Path, frames: Sequence[Frame], kind: str, encoding: str) -> Path:
    """RawImage, CompressedImage or CompressedVideo on /cam, as json or protobuf."""
    with path.open("wb") as stream:
        file = Writer(stream)
        file.start("", library="")
        channel = None
        for frame in frames:
            definition, data = b"{}", b""
            if encoding == "json":
                data = foxglove_json(frame, kind)
            elif kind != "CompressedVideo":
                definition, data = foxglove_protobuf(frame, kind)
            if channel is None:
                schema_encoding = "jsonschema" if encoding == "json" else encoding
                schema = file.register_schema(f"foxglove.{kind}", schema_encoding, definition)
                channel = file.register_channel("/cam", encoding, schema)
            file.add_message(channel, frame.stamp_ns, data, frame.stamp_ns)
        file.finish()
    return path


def _foxglove(frame: Frame, kind: str, coded: Callable[[bytes], Any], names: tuple[str, str]) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "timestamp": dict(zip(names, divmod(frame.stamp_ns, 10**9), strict=True)),
        "frame_id": "camera",
    }
    if kind == "RawImage":
        fields |= {"width": frame.width, "height": frame.height, "encoding": "bgr8", "step": 3 * frame.width}
        return fields | {"data": coded(np.ascontiguousarray(frame.pixels).tobytes())}
    return fields | {"format": "png", "data": coded(cv2.imencode(".png", frame.pixels)[1].tobytes())}


def _protobuf_files() -> FileDescriptorSet:
    time = FileDescriptorProto(name="time.proto", package="google.protobuf", syntax="proto3")
    message = time.message_type.add(name="Timestamp")
    _add(message, "seconds", 1, FieldDescriptorProto.TYPE_INT64)
    _add(message, "nanos", 2, FieldDescriptorProto.TYPE_INT32)
    images = FileDescriptorProto(name="images.proto", package="foxglove", syntax="proto3", dependency=["time.proto"])
    text, number, data = (
        FieldDescriptorProto.TYPE_STRING,
        FieldDescriptorProto.TYPE_FIXED32,
        FieldDescriptorProto.TYPE_BYTES,
    )
    kinds = {
        "RawImage": {
            "width": (2, number),
            "height": (3, number),
            "encoding": (4, text),
            "step": (5, number),
            "data": (6, data),
            "frame_id": (7, text),
        },
        "CompressedImage": {"data": (2, data), "format": (3, text), "frame_id": (4, text)},
    }
    for name, fields in kinds.items():
        message = images.message_type.add(name=name)
        field = _add(message, "timestamp", 1, FieldDescriptorProto.TYPE_MESSAGE)
        field.type_name = ".google.protobuf.Timestamp"
        for field_name, (place, kind) in fields.items():
            _add(message, field_name, place, kind)
    return FileDescriptorSet(file=[time, images])


def _add(message: Any, name: str, number: int, kind: Any) -> Any:
    return message.field.add(name=name, number=number, type=kind, label=FieldDescriptorProto.LABEL_OPTIONAL)
