"""Small recordings of every kind, made on the spot."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from recording_types import MakeFrames
from rosbags.rosbag1 import Writer as Ros1Writer
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

from dcfm_ros.imaging.frame import ChannelOrder, Frame

TYPES = get_typestore(Stores.ROS2_JAZZY)
STEP_NS = 50_000_000
START_NS = 1_700_000_000_000_000_000


@pytest.fixture
def make_frames() -> MakeFrames:
    """Smooth pictures, so that lossy formats keep them, each with another content; 20 Hz."""

    def make(count: int = 5, size: tuple[int, int] = (24, 32), order: ChannelOrder = "bgr") -> list[Frame]:
        shape = size if order == "mono" else (*size, 3)
        encoding = f"{order}8"
        rng = np.random.default_rng(7)
        pictures = [cv2.GaussianBlur(rng.integers(0, 256, shape, np.uint8), (0, 0), 4) for _ in range(count)]
        return [Frame(picture, order, START_NS + i * STEP_NS, encoding) for i, picture in enumerate(pictures)]

    return make


@pytest.fixture
def write_messages() -> Callable[..., Path]:
    """Writes (topic, receipt ns, message or (type, raw bytes)) into a rosbag2 folder, in the order given."""

    def write(path: Path, messages: Sequence[tuple[str, int, Any]], storage: str = "sqlite3") -> Path:
        connections: dict[str, Any] = {}
        with Writer(path, version=9, storage_plugin=StoragePlugin[storage.upper()]) as bag:
            for topic, received_ns, message in messages:
                kind, raw = message if isinstance(message, tuple) else (message.__msgtype__, serialized(message))
                if topic not in connections:
                    connections[topic] = bag.add_connection(topic, kind, typestore=TYPES)
                bag.write(connections[topic], received_ns, raw)
        return path

    return write


@pytest.fixture
def image_message() -> Callable[..., Any]:
    """A sensor_msgs/msg/Image of a frame; fields can be replaced."""

    def make(frame: Frame, **fields: Any) -> Any:
        values = {
            "header": _header(frame.stamp_ns),
            "height": frame.height,
            "width": frame.width,
            "encoding": frame.encoding,
            "is_bigendian": 0,
            "step": frame.pixels[0].size,
            "data": frame.pixels.reshape(-1),
        }
        return TYPES.types["sensor_msgs/msg/Image"](**(values | fields))

    return make


@pytest.fixture
def compressed_message() -> Callable[..., Any]:
    """A sensor_msgs/msg/CompressedImage of a frame; `data` replaces the encoded picture."""

    def make(frame: Frame, suffix: str = "png", name: str = "png", data: np.ndarray | None = None) -> Any:
        if data is None:
            data = cv2.imencode(f".{suffix}", frame.pixels)[1].reshape(-1)
        kind = TYPES.types["sensor_msgs/msg/CompressedImage"]
        return kind(header=_header(frame.stamp_ns), format=name, data=data)

    return make


@pytest.fixture
def write_ros1() -> Callable[..., Path]:
    """Writes frames as sensor_msgs/Image on /cam into a ROS 1 bag, about two in each chunk."""

    def write(path: Path, frames: Sequence[Frame], compression: Ros1Writer.CompressionFormat | None = None) -> Path:
        types = get_typestore(Stores.ROS1_NOETIC)
        bag = Ros1Writer(path)
        if compression:
            bag.set_compression(compression)
        with bag:
            bag.chunk_threshold = 4000
            connection = bag.add_connection("/cam", "sensor_msgs/msg/Image", typestore=types)
            for index, frame in enumerate(frames):
                stamp = types.types["builtin_interfaces/msg/Time"](*divmod(frame.stamp_ns, 1_000_000_000))
                message = types.types["sensor_msgs/msg/Image"](
                    header=types.types["std_msgs/msg/Header"](seq=index, stamp=stamp, frame_id="camera"),
                    height=frame.height,
                    width=frame.width,
                    encoding="bgr8",
                    is_bigendian=0,
                    step=frame.width * 3,
                    data=frame.pixels.reshape(-1),
                )
                bag.write(connection, frame.stamp_ns, types.serialize_ros1(message, message.__msgtype__))
        return path

    return write


@pytest.fixture
def cut_video(tmp_path: Path, make_frames: MakeFrames) -> Path:
    """An AVI of 30 frames whose second half is missing."""
    path = tmp_path / "cut.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 25, (64, 48))
    for frame in make_frames(30, (48, 64)):
        writer.write(frame.pixels)
    writer.release()
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    return path


def serialized(message: Any) -> bytes:
    return bytes(TYPES.serialize_cdr(message, message.__msgtype__))


def _header(stamp_ns: int) -> Any:
    seconds, nanoseconds = divmod(stamp_ns, 1_000_000_000)
    stamp = TYPES.types["builtin_interfaces/msg/Time"](sec=seconds, nanosec=nanoseconds)
    return TYPES.types["std_msgs/msg/Header"](stamp=stamp, frame_id="camera")
