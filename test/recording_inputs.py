"""Recordings of the same three frames in every form that is read, each of them small."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import yaml
from foreign_bags import ROS2, image_of, leave_in_wal, write_foxglove, write_mcap, write_ros1
from mcap.writer import IndexType
from report_inputs import picture
from rosbags.rosbag2 import Writer

from dcfm_ros.imaging.frame import Frame
from dcfm_ros.recordings.writers import BagWriter

COUNT = 3
"""Frames of each."""
START_NS, STEP_NS = 1_700_000_000_000_000_000, 100_000_000


def frames() -> list[Frame]:
    pictures = [np.ascontiguousarray(picture(10 * number)[:, :, ::-1]) for number in range(COUNT)]
    return [Frame(one, "bgr", START_NS + number * STEP_NS, "bgr8") for number, one in enumerate(pictures)]


def write_bag(path: Path, storage: Any = "sqlite3") -> Path:
    with BagWriter(path, "/cam", storage=storage) as bag:
        for frame in frames():
            bag.write(frame)
    return path


def write_compressed(path: Path, messages: Sequence[tuple[str, bytes]]) -> Path:
    """On /cam/compressed: the format, and the data."""
    with Writer(path, version=9) as bag:
        connection = bag.add_connection("/cam/compressed", "sensor_msgs/msg/CompressedImage", typestore=ROS2)
        for frame, (text, data) in zip(frames(), messages, strict=False):
            message = ROS2.types["sensor_msgs/msg/CompressedImage"](
                header=image_of(frame).header, format=text, data=np.frombuffer(data, np.uint8)
            )
            bag.write(connection, frame.stamp_ns, ROS2.serialize_cdr(message, message.__msgtype__))
    return path


def in_wal(path: Path) -> Path:
    file = leave_in_wal(write_bag(path.with_name("closed") / path.name) / f"{path.name}.db3", path, kept=1)
    shutil.copy(path.with_name("closed") / path.name / "metadata.yaml", path)
    return file.parent


def split_ros1(path: Path) -> Path:
    path.mkdir()
    for number, frame in enumerate(frames()):
        write_ros1(path / f"drive_{number}.bag", [frame])
    return path


def without_qos(path: Path) -> Path:
    write_bag(path, "mcap")
    document = yaml.safe_load((path / "metadata.yaml").read_text())
    for topic in document["rosbag2_bagfile_information"]["topics_with_message_count"]:
        topic["topic_metadata"]["offered_qos_profiles"] = ""
    document["rosbag2_bagfile_information"]["storage_identifier"] = ""
    (path / "metadata.yaml").write_text(yaml.safe_dump(document))
    return path


def images(path: Path) -> Path:
    path.mkdir()
    for number, frame in enumerate(frames()):
        cv2.imwrite(str(path / f"{number}.png"), frame.pixels)
    return path


def out_of_order(path: Path) -> Path:
    return write_mcap(path, [frames()[number] for number in (2, 0, 1)], "jsonschema", "", use_chunking=False)


RECORDINGS: dict[str, Callable[[Path], Path]] = {
    "drive": write_bag,
    "a#b%20c": write_bag,
    "run.bag": lambda path: write_bag(path, "mcap"),
    "wal": in_wal,
    "no_qos": without_qos,
    "split": split_ros1,
    "scan.bag": lambda path: write_ros1(path, frames(), with_scan=True),
    "foreign.mcap": lambda path: write_mcap(path, frames(), "protobuf", ""),
    "unindexed.mcap": lambda path: write_mcap(path, frames(), index_types=IndexType.CHUNK, use_statistics=False),
    "mixed.mcap": out_of_order,
    "ros1.mcap": lambda path: write_mcap(path, frames(), ros=1, profile="ros1"),
    "raw.mcap": lambda path: write_foxglove(path, frames(), "RawImage", "protobuf"),
    "compressed.mcap": lambda path: write_foxglove(path, frames(), "CompressedImage", "json"),
    "images": images,
}


def turned_jpeg(pixels: np.ndarray, orientation: int) -> bytes:
    """A JPEG of BGR pixels whose EXIF says that it is to be shown another way up."""
    data = cv2.imencode(".jpg", pixels)[1].tobytes()
    exif = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01" + bytes([0, orientation]) + bytes(6)
    return data[:2] + b"\xff\xe1" + (len(exif) + 2).to_bytes(2, "big") + exif + data[2:]


def folder(path: Path, name: str, encode: Callable[[np.ndarray], bytes]) -> Path:
    """The frames in images/. name: of a file, from its number."""
    (path / "images").mkdir(parents=True)
    for number, frame in enumerate(frames()):
        (path / "images" / name.format(number)).write_bytes(encode(frame.pixels))
    return path


def _png(pixels: np.ndarray) -> bytes:
    return cv2.imencode(".png", pixels)[1].tobytes()


FOLDERS: dict[str, Callable[[Path], Path]] = {
    "plain": lambda path: folder(path, "{}.png", _png),
    "a#b%20c": lambda path: folder(path, "frame%20#{}.PNG", _png),
    "turned": lambda path: folder(path, "{}.jpg", lambda pixels: turned_jpeg(pixels, 3)),
    "unended": lambda path: folder(path, "{}.JPEG", lambda pixels: turned_jpeg(pixels, 1)[:-2]),
    "grey": lambda path: folder(path, "{}.png", lambda pixels: _png(cv2.cvtColor(pixels, cv2.COLOR_BGR2GRAY))),
}
"""Folders of images as they are found, with images/."""
