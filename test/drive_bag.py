"""A bag as a robot records it, without one: the camera's images, and the node's masks, timings and labels."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

from dcfm_ros.imaging.labels import CAMVID
from dcfm_ros.streaming.result import STAGES
from dcfm_ros.streaming.timing import Timing, timing_texts

TYPES = get_typestore(Stores.ROS2_JAZZY)
START_NS, STEP_NS = 1_700_000_000_000_000_000, 50_000_000
SIZE = (6, 8)


def write_drive(
    path: Path,
    classes: Sequence[int],
    dropped: Collection[int] = (),
    interval: int = 5,
    node: str = "/segmentation",
    masks_late_ns: int = 0,
    camera: str = "/camera",
    others: Mapping[str, str] | None = None,
) -> Path:
    """A drive at 20 Hz with one image for each of `classes`; all of its mask is that class.

    dropped: numbers of the images that get no mask. Every `interval`-th mask is a keyframe of 60 ms, others take 10.
    masks_late_ns: by how much a mask's stamp is not its image's. camera: the topic of the images. others: more nodes,
    and the topics of their images, which all publish the same.
    """
    nodes = {node: camera} | dict(others or {})
    cameras = sorted(set(nodes.values()))
    with Writer(path, version=9, storage_plugin=StoragePlugin.MCAP) as bag:
        topics = dict.fromkeys(cameras, "sensor_msgs/msg/Image")
        for name in nodes:
            topics[f"{name}/mask"] = "sensor_msgs/msg/Image"
            topics[f"{name}/timing"] = "diagnostic_msgs/msg/DiagnosticArray"
            topics[f"{name}/labels"] = "std_msgs/msg/String"
        connections = {topic: bag.add_connection(topic, kind, typestore=TYPES) for topic, kind in topics.items()}

        def write(topic: str, stamp_ns: int, message: Any) -> None:
            bag.write(connections[topic], stamp_ns, bytes(TYPES.serialize_cdr(message, message.__msgtype__)))

        for name in nodes:
            write(f"{name}/labels", START_NS, _made("std_msgs/msg/String", data=CAMVID.to_json()))
        index = 0
        for number, class_id in enumerate(classes):
            stamp_ns = START_NS + number * STEP_NS
            for topic in cameras:
                write(topic, stamp_ns, _image(stamp_ns, np.zeros((*SIZE, 3), np.uint8), "rgb8"))
            if number in dropped:
                continue
            stamp_ns += masks_late_ns
            for name in nodes:
                write(f"{name}/mask", stamp_ns, _image(stamp_ns, np.full(SIZE, class_id, np.uint8), "mono8"))
                write(f"{name}/timing", stamp_ns, _timing(stamp_ns, index, class_id, interval))
            index += 1
    return path


def _timing(stamp_ns: int, index: int, class_id: int, interval: int) -> Any:
    is_keyframe = index % interval == 0
    stages = dict.fromkeys((f"{stage}_ms" for stage in STAGES), 2.0) | {"common_ms": 48.0 if is_keyframe else 0.0}
    timing = Timing(
        index=index,
        is_keyframe=is_keyframe,
        reason="interval" if is_keyframe else "reused",
        keyframe_index=index - index % interval,
        age_frames=index % interval,
        age_s=0.05 * (index % interval),
        background_ms=0.0,
        latency_ms=60.0 if is_keyframe else 10.0,
        shares={name: float(i == class_id) for i, name in enumerate(CAMVID.names)},
        **stages,
    )
    values = [_made("diagnostic_msgs/msg/KeyValue", key=k, value=v) for k, v in timing_texts(timing).items()]
    status = _made(
        "diagnostic_msgs/msg/DiagnosticStatus", level=0, name="timing", message="", hardware_id="", values=values
    )
    return _made("diagnostic_msgs/msg/DiagnosticArray", header=_header(stamp_ns), status=[status])


def _image(stamp_ns: int, pixels: np.ndarray, encoding: str) -> Any:
    return _made(
        "sensor_msgs/msg/Image",
        header=_header(stamp_ns),
        height=SIZE[0],
        width=SIZE[1],
        encoding=encoding,
        is_bigendian=0,
        step=pixels[0].size,
        data=pixels.reshape(-1),
    )


def _header(stamp_ns: int) -> Any:
    seconds, nanoseconds = divmod(stamp_ns, 1_000_000_000)
    stamp = _made("builtin_interfaces/msg/Time", sec=seconds, nanosec=nanoseconds)
    return _made("std_msgs/msg/Header", stamp=stamp, frame_id="camera")


def _made(kind: str, **fields: Any) -> Any:
    return TYPES.types[kind](**fields)
