"""Messages of several topics written into a rosbag2 folder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote

import numpy as np
from rosbags.interfaces import Connection, Qos, QosDurability, QosHistory, QosLiveliness, QosReliability, QosTime
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer
from rosbags.rosbag2.errors import WriterError
from rosbags.typesys import Stores, get_typestore

from dcfm_ros.imaging.encodings import ENCODING_OF_ORDER
from dcfm_ros.imaging.frame import ChannelOrder
from dcfm_ros.recordings.recording import RecordingError, written

Storage = Literal["sqlite3", "mcap"]

_INFINITE = QosTime(9_223_372_036, 854_775_807)


class _UriPath(type(Path())):  # type: ignore[misc]
    """A path that is quoted where it is put into a text."""

    def __format__(self, spec: str) -> str:
        return quote(str(self))


class MessageBag:
    """A new rosbag2 folder. Each topic has one type, and the time of receipt is the stamp.

    Of format version 8, the last whose QoS the releases from Humble on can all read.

    path: a folder that must not exist yet. compress: zstd, in the chunks of mcap, which every reader of mcap knows.
    Raises RecordingError when the folder cannot be made, and from whatever writes when that cannot be written.
    """

    def __init__(self, path: Path, storage: Storage, compress: bool = False) -> None:
        self._types: Any = get_typestore(Stores.ROS2_JAZZY)
        self._connections: dict[str, Connection] = {}
        self._path = path
        try:
            self._bag = Writer(path, version=8, storage_plugin=StoragePlugin[storage.upper()])
            # For SQLite the library puts the path into a URI as it is, where "#", "?" and "%" mean something.
            self._bag.path = _UriPath(path)
            self._bag.set_compression(
                CompressionMode.STORAGE if compress else CompressionMode.NONE, CompressionFormat.ZSTD
            )
            self._bag.open()
        except (WriterError, OSError) as error:
            raise RecordingError(f"{path} cannot be written as a bag: {error}") from error

    def add_topic(self, topic: str, kind: str, latched: bool = False) -> None:
        """Offered reliably. kind: of the message, "sensor_msgs/msg/Image". latched: for readers that come late too."""
        durability = QosDurability.TRANSIENT_LOCAL if latched else QosDurability.VOLATILE
        qos = Qos(
            QosHistory.KEEP_LAST,
            1 if latched else 5,
            QosReliability.RELIABLE,
            durability,
            _INFINITE,
            _INFINITE,
            QosLiveliness.AUTOMATIC,
            _INFINITE,
            False,
        )
        self._connections[topic] = self._bag.add_connection(
            topic, kind, typestore=self._types, offered_qos_profiles=[qos]
        )

    def write_image(self, topic: str, stamp_ns: int, frame_id: str, pixels: np.ndarray, order: ChannelOrder) -> None:
        """A sensor_msgs/msg/Image of (H, W) or (H, W, C) uint8 pixels, with step == width * channels."""
        message = self._made(
            "sensor_msgs/msg/Image",
            header=self._header(stamp_ns, frame_id),
            height=pixels.shape[0],
            width=pixels.shape[1],
            encoding=ENCODING_OF_ORDER[order],
            is_bigendian=0,
            step=pixels[0].size,
            data=np.ascontiguousarray(pixels).reshape(-1),
        )
        self._write(topic, stamp_ns, message)

    def write_jpeg(self, topic: str, stamp_ns: int, frame_id: str, data: bytes) -> None:
        """A sensor_msgs/msg/CompressedImage of a JPEG of an RGB picture, named as image_transport names it."""
        message = self._made(
            "sensor_msgs/msg/CompressedImage",
            header=self._header(stamp_ns, frame_id),
            format="rgb8; jpeg compressed bgr8",
            data=np.frombuffer(data, np.uint8),
        )
        self._write(topic, stamp_ns, message)

    def write_status(
        self, topic: str, stamp_ns: int, frame_id: str, name: str, text: str, values: Mapping[str, str]
    ) -> None:
        """A diagnostic_msgs/msg/DiagnosticArray with one status that is OK."""
        pairs = [self._made("diagnostic_msgs/msg/KeyValue", key=key, value=value) for key, value in values.items()]
        kind = "diagnostic_msgs/msg/DiagnosticStatus"
        status = self._made(kind, level=0, name=name, message=text, hardware_id="", values=pairs)
        header = self._header(stamp_ns, frame_id)
        self._write(topic, stamp_ns, self._made("diagnostic_msgs/msg/DiagnosticArray", header=header, status=[status]))

    def write_text(self, topic: str, stamp_ns: int, text: str) -> None:
        """A std_msgs/msg/String."""
        self._write(topic, stamp_ns, self._made("std_msgs/msg/String", data=text))

    def close(self) -> None:
        """Finish the bag. Raises RecordingError when it cannot be."""
        with written(self._path):
            self._bag.close()

    def _header(self, stamp_ns: int, frame_id: str) -> Any:
        seconds, nanoseconds = divmod(stamp_ns, 1_000_000_000)
        stamp = self._made("builtin_interfaces/msg/Time", sec=seconds, nanosec=nanoseconds)
        return self._made("std_msgs/msg/Header", stamp=stamp, frame_id=frame_id)

    def _made(self, kind: str, **fields: Any) -> Any:
        return self._types.types[kind](**fields)

    def _write(self, topic: str, stamp_ns: int, message: Any) -> None:
        data = self._types.serialize_cdr(message, message.__msgtype__)
        with written(self._path):
            self._bag.write(self._connections[topic], stamp_ns, data)
