"""Recordings of every kind through `dcfm segment`, `report` and what `dcfm replay` plays: all agree about frames."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import cv2
import numpy as np
import pytest
import yaml
from fleet_bags import masks
from foreign_bags import ROS2, image_of, leave_in_wal, write_foxglove, write_mcap, write_ros1
from mcap.writer import IndexType
from report_inputs import picture, with_small_network
from rosbags.rosbag2 import Writer
from sensor_msgs.msg import CompressedImage, Image

from dcfm_ros.imaging.encodings import to_rgb
from dcfm_ros.imaging.frame import Frame
from dcfm_ros.node.messages import frame_of
from dcfm_ros.node.playback import shots
from dcfm_ros.recordings import open_recording
from dcfm_ros.recordings.writers import BagWriter

Call = Callable[..., CompletedProcess[str]]
COUNT = 3
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


INPUTS: dict[str, Callable[[Path], Path]] = {
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


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    return [*with_small_network(tmp_path_factory.mktemp("weights")), "--device", "cpu", "--num-threads", "1"]


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory, network: list[str]) -> dict[str, bytes]:
    """The masks of these frames."""
    from click.testing import CliRunner

    from dcfm_ros.cli.segment import command

    folder = tmp_path_factory.mktemp("expected")
    arguments = [str(write_bag(folder / "bag", "mcap")), "--output", str(folder / "out"), "--save", "masks", *network]
    result = CliRunner().invoke(command, arguments)
    assert result.exit_code == 0, result.output
    found = masks(folder / "out")
    assert len(set(found.values())) == COUNT
    return found


@pytest.mark.parametrize("name", INPUTS)
def test_commands_agree_about_a_recording(
    called: Call, network: list[str], expected: dict[str, bytes], tmp_path: Path, name: str
) -> None:
    path = INPUTS[name](tmp_path / name)
    done = called("segment", str(path), "--output", str(tmp_path / "out"), "--save", "masks", *network)
    assert done.returncode == 0, done.stderr
    assert masks(tmp_path / "out") == expected
    assert json.loads((tmp_path / "out" / "run.json").read_text())["result"]["losses"] == []
    report = tmp_path / "report"
    done = called("report", str(path), "--output", str(report), "--intervals", "1", *network)
    assert done.returncode == 0, done.stderr
    assert json.loads((report / "metrics.json").read_text())["input"]["frames"] == COUNT
    with open_recording(path, damaged="skip") as recording:
        played = [shot.image for shot in shots(recording)]
        assert recording.losses == []
    for frame, image in zip(frames(), played, strict=True):
        np.testing.assert_array_equal(np.frombuffer(image.data, np.uint8), frame.pixels.reshape(-1))


@pytest.mark.parametrize("name", ["h264", "video.mcap", "garbage"])
def test_where_no_frame_can_be_read_every_command_fails_each_time(
    called: Call, network: list[str], tmp_path: Path, name: str
) -> None:
    path = tmp_path / "fleet" / name
    path.parent.mkdir()
    if name == "garbage":
        path.mkdir()
        (path / "000000.png").write_bytes(b"nothing that is a picture")
    elif name == "h264":
        write_compressed(path, [("h264", b"\0\0\0\1\x67" + bytes(100))] * COUNT)
    else:
        write_foxglove(path, frames(), "CompressedVideo", "json")
    reason = {"h264": "packets of video", "video.mcap": "packets of video", "garbage": "cannot be read as an image"}[
        name
    ]
    arguments = ["segment", str(path), "--output", str(tmp_path / "out"), *network]
    done = called(*arguments)
    assert (done.returncode, reason in done.stderr) == (1, True), done.stderr
    done = called("report", str(path), "--output", str(tmp_path / "report"), *network)
    assert (done.returncode, reason in done.stderr) == (1, True), done.stderr
    for _ in range(2):
        done = called("segment", str(path.parent), "--output", str(tmp_path / "all"), "--jobs", "1", *network)
        assert (done.returncode, "1 of 1 recordings failed" in done.stderr) == (1, True), done.stderr
        assert name in done.stdout and "done" not in done.stdout


@pytest.mark.parametrize("encoding", ["bayer_rggb8", "bayer_gbrg16"])
def test_the_node_takes_a_mosaic_as_bags_do(tmp_path: Path, encoding: str) -> None:
    """Raw and compressed, in 8 bits and in 16."""
    grey = cv2.cvtColor(frames()[0].pixels, cv2.COLOR_BGR2GRAY)
    mosaic = grey.astype(np.uint16) * 257 if encoding.endswith("16") else grey
    height, width = grey.shape
    raw = Image(height=height, width=width, encoding=encoding, step=width * mosaic.itemsize)
    raw.data.frombytes(mosaic.tobytes())
    text, data = f"{encoding}; png compressed ", cv2.imencode(".png", mosaic)[1].tobytes()
    packed = CompressedImage(format=text)
    packed.data.frombytes(data)
    with open_recording(write_compressed(tmp_path / "drive", [(text, data)])) as recording:
        [recorded] = recording
    for message in (raw, packed):
        np.testing.assert_array_equal(to_rgb(frame_of(message, 0, 10**6)), to_rgb(recorded))


@pytest.mark.parametrize("orientation", [3, 6])
def test_an_orientation_turns_neither_folders_nor_bags_nor_data_sets(tmp_path: Path, orientation: int) -> None:
    from dcfm_ros.datasets.pixels import read_rgb

    data = cv2.imencode(".jpg", frames()[0].pixels)[1].tobytes()
    exif = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01" + bytes([0, orientation]) + bytes(6)
    data = data[:2] + b"\xff\xe1" + (len(exif) + 2).to_bytes(2, "big") + exif + data[2:]
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "0.jpg").write_bytes(data)
    turned = cv2.imread(str(tmp_path / "images" / "0.jpg"))
    with (
        open_recording(tmp_path / "images") as folder,
        open_recording(write_compressed(tmp_path / "drive", [("jpeg", data)])) as bag,
    ):
        [[as_file], [as_message]] = folder, bag
    assert turned.shape != as_file.pixels.shape or not np.array_equal(turned, as_file.pixels)
    np.testing.assert_array_equal(as_file.pixels, as_message.pixels)
    np.testing.assert_array_equal(read_rgb(tmp_path / "images" / "0.jpg"), as_file.pixels[:, :, ::-1])
