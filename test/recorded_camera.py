"""A camera's topics in a bag, as its driver has them: images of any encoding, and a calibration after each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from rosbags.rosbag1 import Writer as Ros1Writer
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

START_NS, PERIOD_NS = 1_700_000_000_000_000_000, 50_000_000
INFO: dict[str, Any] = {
    "distortion_model": "plumb_bob",
    "d": [0.1, -0.2, 0.0, 0.0, 0.05],
    "k": [80.0, 0.0, 47.5, 0.0, 80.0, 31.5, 0.0, 0.0, 1.0],
    "r": [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0],
    "p": [79.0, 0.0, 47.5, 0.0, 0.0, 79.0, 31.5, 0.0, 0.0, 0.0, 1.0, 0.0],
}


@dataclass(frozen=True)
class Picture:
    """encoding: of a sensor_msgs/Image whose rows `data` has, or "png": a CompressedImage's bytes. size: its sides."""

    encoding: str
    size: tuple[int, int]
    data: np.ndarray


def uyvy(rgb: np.ndarray, padding: int) -> Picture:
    """padding: bytes behind each row."""
    packed = cv2.cvtColor(rgb, cv2.COLOR_RGB2YUV_UYVY).reshape(rgb.shape[0], -1)
    return Picture("uyvy", rgb.shape[:2], np.pad(packed, ((0, 0), (0, padding)), constant_values=7))


def compressed(rgb: np.ndarray) -> Picture:
    return Picture("png", rgb.shape[:2], cv2.imencode(".png", rgb[:, :, ::-1])[1])


def write_camera(path: Path, pictures: Sequence[Picture], storage: str = "mcap") -> Path:
    """At 20 Hz on /front/image_raw (or /front/image_raw/compressed) and /front/camera_info.

    storage: mcap or sqlite3, or ros1.
    """
    is_ros1 = storage == "ros1"
    types = get_typestore(Stores.ROS1_NOETIC if is_ros1 else Stores.ROS2_JAZZY)
    with _writer(path, storage) as bag:
        connections: dict[str, Any] = {}
        for number, picture in enumerate(pictures):
            stamp_ns = START_NS + number * PERIOD_NS
            header = _header(types, stamp_ns, is_ros1)
            messages = _image(types, header, picture), _info(types, header, picture)
            for delay_ns, (topic, message) in enumerate(messages, 3_000_000):
                kind = message.__msgtype__
                if topic not in connections:
                    connections[topic] = bag.add_connection(topic, kind, typestore=types)
                data = types.serialize_ros1(message, kind) if is_ros1 else types.serialize_cdr(message, kind)
                bag.write(connections[topic], stamp_ns + delay_ns, bytes(data))
    return path


def _writer(path: Path, storage: str) -> Any:
    if storage == "ros1":
        return Ros1Writer(path)
    return Writer(path, version=9, storage_plugin=StoragePlugin[storage.upper()])


def _header(types: Any, stamp_ns: int, is_ros1: bool) -> Any:
    stamp = types.types["builtin_interfaces/msg/Time"](*divmod(stamp_ns, 1_000_000_000))
    fields = {"seq": 0} if is_ros1 else {}
    return types.types["std_msgs/msg/Header"](stamp=stamp, frame_id="front_optical", **fields)


def _image(types: Any, header: Any, picture: Picture) -> tuple[str, Any]:
    data = picture.data.reshape(-1)
    if picture.encoding == "png":
        kind = types.types["sensor_msgs/msg/CompressedImage"]
        return "/front/image_raw/compressed", kind(header=header, format="png", data=data)
    height, width = picture.size
    step = picture.data.shape[1]
    fields = {"height": height, "width": width, "encoding": picture.encoding, "is_bigendian": 0, "step": step}
    return "/front/image_raw", types.types["sensor_msgs/msg/Image"](header=header, data=data, **fields)


def _info(types: Any, header: Any, picture: Picture) -> tuple[str, Any]:
    kind = types.types["sensor_msgs/msg/CameraInfo"]
    height, width = picture.size
    roi = types.types["sensor_msgs/msg/RegionOfInterest"](x_offset=0, y_offset=0, height=0, width=0, do_rectify=False)
    matrices = {
        name if name in kind.__dataclass_fields__ else name.upper(): np.array(INFO[name], np.float64) for name in "dkrp"
    }
    fields = {"height": height, "width": width, "distortion_model": INFO["distortion_model"], "roi": roi}
    return "/front/camera_info", kind(header=header, binning_x=0, binning_y=0, **fields, **matrices)
