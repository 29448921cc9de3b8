"""Bags: what is read, and what is said about those that cannot be."""

from __future__ import annotations

import shutil
import sqlite3
import tracemalloc
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from recording_types import MakeFrames, MakeMessage, WriteMessages, WriteRos1
from rosbags.typesys import Stores, get_typestore

from dcfm_ros.imaging.encodings import to_rgb
from dcfm_ros.imaging.frame import ChannelOrder, Frame
from dcfm_ros.recordings import RecordingError, open_recording
from dcfm_ros.recordings.message_bag import Storage
from dcfm_ros.recordings.writers import BagWriter

IMAGE = "sensor_msgs/msg/Image"


def write_bag(path: Path, frames: Iterable[Frame], topic: str = "/camera/image_raw", **options: Any) -> Path:
    with BagWriter(path, topic, **options) as bag:
        for frame in frames:
            bag.write(frame)
    return path


def assert_equal(frames: Iterable[Frame], expected: Iterable[Frame]) -> None:
    frames, expected = list(frames), list(expected)
    assert [f.stamp_ns for f in frames] == [f.stamp_ns for f in expected]
    for frame, other in zip(frames, expected, strict=True):
        np.testing.assert_array_equal(frame.pixels, other.pixels)


@pytest.mark.parametrize("storage", ["sqlite3", "mcap"])
@pytest.mark.parametrize("order", ["mono", "rgb", "bgr"])
def test_frames_come_back_as_written_and_again(
    tmp_path: Path, make_frames: MakeFrames, storage: Storage, order: ChannelOrder
) -> None:
    frames = make_frames(order=order)
    path = write_bag(tmp_path / "drive", frames, storage=storage)
    with open_recording(path) as recording:
        assert recording.name == "drive"
        assert len(recording) == len(frames)
        assert recording.rate_hz == pytest.approx(20)
        first, second = iter(recording), iter(recording)
        assert_equal(first, frames)
        assert_equal(second, frames)
        assert {(f.order, f.encoding) for f in recording} == {(order, f"{order}8")}


@pytest.mark.parametrize(("storage", "suffix"), [("sqlite3", "db3"), ("mcap", "mcap")])
def test_single_storage_file(tmp_path: Path, make_frames: MakeFrames, storage: Storage, suffix: str) -> None:
    frames = make_frames()
    path = write_bag(tmp_path / "drive", frames, storage=storage) / f"drive.{suffix}"
    with open_recording(str(path)) as recording:
        assert (recording.name, len(recording)) == ("drive", len(frames))
        assert_equal(recording, frames)


@pytest.mark.parametrize("storage", ["sqlite3", "mcap"])
def test_compressed_images_are_bgr_and_keep_their_format(
    tmp_path: Path,
    make_frames: MakeFrames,
    write_messages: WriteMessages,
    compressed_message: MakeMessage,
    storage: Storage,
) -> None:
    frames = make_frames()
    name = "rgb8; png compressed bgr8"
    messages = [("/cam/compressed", f.stamp_ns, compressed_message(f, name=name)) for f in frames]
    with open_recording(write_messages(tmp_path / "bag", messages, storage)) as recording:
        assert_equal(recording, frames)
        assert {(f.order, f.encoding) for f in recording} == {("bgr", name)}


def test_jpeg_is_close(
    tmp_path: Path, make_frames: MakeFrames, write_messages: WriteMessages, compressed_message: MakeMessage
) -> None:
    frames = make_frames()
    messages = [("/cam/compressed", f.stamp_ns, compressed_message(f, "jpg", "jpeg")) for f in frames]
    with open_recording(write_messages(tmp_path / "bag", messages)) as recording:
        for read, written in zip(recording, frames, strict=True):
            assert np.abs(to_rgb(read).astype(int) - to_rgb(written)).mean() < 4


def test_stamp_is_the_headers_and_receipt_where_that_is_zero(
    tmp_path: Path, make_frames: MakeFrames, write_messages: WriteMessages, image_message: MakeMessage
) -> None:
    stamped, unstamped = make_frames(2)
    unstamped = Frame(unstamped.pixels, "bgr", 0, "bgr8")
    messages = [("/cam", 5_000_000_000, image_message(stamped)), ("/cam", 6_000_000_000, image_message(unstamped))]
    with open_recording(write_messages(tmp_path / "bag", messages)) as recording:
        assert [f.stamp_ns for f in recording] == [stamped.stamp_ns, 6_000_000_000]


def test_single_frame_has_the_default_rate(tmp_path: Path, make_frames: MakeFrames) -> None:
    with open_recording(write_bag(tmp_path / "bag", make_frames(1))) as recording:
        assert (recording.rate_hz, len(recording)) == (10.0, 1)


def test_topic_is_chosen_among_several(
    tmp_path: Path,
    make_frames: MakeFrames,
    write_messages: WriteMessages,
    image_message: MakeMessage,
    compressed_message: MakeMessage,
) -> None:
    frames = make_frames()
    imu = ("std_msgs/msg/String", b"\x00\x01\x00\x00\x02\x00\x00\x00a\x00")
    messages = [
        message
        for f in frames
        for message in (
            ("/left", f.stamp_ns, image_message(f)),
            ("/right/compressed", f.stamp_ns, compressed_message(f)),
            ("/text", f.stamp_ns, imu),
        )
    ]
    path = write_messages(tmp_path / "bag", messages)
    for topic in ("/left", "/right/compressed"):
        with open_recording(path, topic=topic) as recording:
            assert_equal(recording, frames)
    with pytest.raises(RecordingError, match=r"several image topics, choose one: /left, /right/compressed"):
        open_recording(path)
    with pytest.raises(RecordingError, match=r"no topic '/front'; its image topics: /left, /right/compressed"):
        open_recording(path, topic="/front")
    with pytest.raises(RecordingError, match=r"/text in .* is std_msgs/msg/String; expected sensor_msgs/msg/Image"):
        open_recording(path, topic="/text")


def test_bag_without_images(tmp_path: Path, write_messages: WriteMessages) -> None:
    text = ("std_msgs/msg/String", b"\x00\x01\x00\x00\x02\x00\x00\x00a\x00")
    path = write_messages(tmp_path / "bag", [("/text", 1, text)])
    with pytest.raises(RecordingError, match="has no images"):
        open_recording(path)


def test_image_topic_without_messages(tmp_path: Path, make_frames: MakeFrames) -> None:
    path = write_bag(tmp_path / "bag", [])
    with pytest.raises(RecordingError, match="has no images"):
        open_recording(path)
    with pytest.raises(RecordingError, match="has no messages"):
        open_recording(path, topic="/camera/image_raw")


def test_bag_without_type_definitions(tmp_path: Path, make_frames: MakeFrames) -> None:
    frames = make_frames()
    path = write_bag(tmp_path / "bag", frames)
    with sqlite3.connect(path / "bag.db3") as database:
        database.execute("DELETE FROM message_definitions")
    with open_recording(path) as recording:
        assert_equal(recording, frames)


def test_split_bag_is_one_recording(tmp_path: Path, make_frames: MakeFrames) -> None:
    frames = make_frames(6)
    path = write_bag(tmp_path / "bag", frames[:3])
    rest = write_bag(tmp_path / "rest", frames[3:])
    shutil.copy(rest / "rest.db3", path)
    metadata = (path / "metadata.yaml").read_text()
    metadata = metadata.replace("relative_file_paths:\n  - bag.db3", "relative_file_paths:\n  - bag.db3\n  - rest.db3")
    (path / "metadata.yaml").write_text(metadata.replace("message_count: 3", "message_count: 6"))
    with open_recording(path) as recording:
        assert len(recording) == 6
        assert_equal(recording, frames)


def test_topic_with_two_connections(tmp_path: Path, make_frames: MakeFrames) -> None:
    frames = make_frames(4)
    path = write_bag(tmp_path / "bag", frames) / "bag.db3"
    with sqlite3.connect(path) as database:
        database.execute(
            "INSERT INTO topics SELECT 2, name, type, serialization_format, offered_qos_profiles, "
            "type_description_hash FROM topics"
        )
        database.execute("UPDATE messages SET topic_id = 2 WHERE id % 2 = 0")
    with open_recording(path) as recording:
        assert len(recording) == 4
        assert_equal(recording, frames)


def test_ros1_bag(tmp_path: Path, make_frames: MakeFrames, write_ros1: WriteRos1) -> None:
    frames = make_frames()
    with open_recording(write_ros1(tmp_path / "old.bag", frames)) as recording:
        assert_equal(recording, frames)


@pytest.mark.parametrize("storage", ["sqlite3", "mcap"])
def test_reading_is_lazy(tmp_path: Path, make_frames: MakeFrames, storage: Storage) -> None:
    size = (300, 400)
    pixels = make_frames(1, size)[0].pixels
    frames = (Frame(pixels, "bgr", 1 + index, "bgr8") for index in range(40))
    path = write_bag(tmp_path / "bag", frames, storage=storage)
    with open_recording(path) as recording:
        tracemalloc.start()
        for _ in recording:
            pass
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    # All are 40 frames; an mcap chunk of a megabyte is three of them, and is held more than once.
    assert peak < 12 * (size[0] * size[1] * 3)


def test_topics_other_than_images_may_be_broken(
    tmp_path: Path, make_frames: MakeFrames, write_messages: WriteMessages, image_message: MakeMessage
) -> None:
    frames = make_frames()
    messages = [("/text", 1, ("std_msgs/msg/String", b"\xff"))]
    messages += [("/cam", f.stamp_ns, image_message(f)) for f in frames]
    with open_recording(write_messages(tmp_path / "bag", messages)) as recording:
        assert_equal(recording, frames)


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"encoding": "32FC1"}, "32FC1"),
        ({"height": 1000}, "bgr8"),
        ({"height": 0, "data": np.zeros(0, np.uint8)}, "height"),
    ],
)
def test_image_that_cannot_be_decoded_is_named(
    tmp_path: Path,
    make_frames: MakeFrames,
    write_messages: WriteMessages,
    image_message: MakeMessage,
    fields: dict[str, object],
    reason: str,
) -> None:
    good, bad = make_frames(2)
    messages = [("/cam", 1, image_message(good)), ("/cam", 2, image_message(bad, **fields))]
    with open_recording(write_messages(tmp_path / "bag", messages)) as recording:
        frames = iter(recording)
        next(frames)
        with pytest.raises(RecordingError, match=rf"message 1 on /cam in .* cannot be decoded: .*{reason}"):
            next(frames)


@pytest.mark.parametrize("cut", [0, 12])
def test_compressed_image_that_is_none_is_named(
    tmp_path: Path, make_frames: MakeFrames, write_messages: WriteMessages, compressed_message: MakeMessage, cut: int
) -> None:
    (frame,) = make_frames(1)
    message = compressed_message(frame, name="16UC1; compressedDepth", data=np.arange(cut, dtype=np.uint8))
    with (
        open_recording(write_messages(tmp_path / "bag", [("/cam", 1, message)])) as recording,
        pytest.raises(RecordingError, match=r"message 0 on /cam .*compressedDepth.*expected JPEG or PNG"),
    ):
        list(recording)


@pytest.mark.parametrize("length", [0, 3, 10, 40])
def test_message_that_is_cut_is_named(
    tmp_path: Path, make_frames: MakeFrames, write_messages: WriteMessages, image_message: MakeMessage, length: int
) -> None:
    (frame,) = make_frames(1)
    raw = bytes(get_typestore(Stores.ROS2_JAZZY).serialize_cdr(image_message(frame), IMAGE))[:length]
    messages = [("/cam", 1, image_message(frame)), ("/cam", 2, (IMAGE, raw))]
    with (
        open_recording(write_messages(tmp_path / "bag", messages)) as recording,
        pytest.raises(RecordingError, match="message 1 on /cam"),
    ):
        list(recording)


def test_fewer_messages_than_announced(tmp_path: Path, make_frames: MakeFrames) -> None:
    path = write_bag(tmp_path / "bag", make_frames(3))
    metadata = path / "metadata.yaml"
    metadata.write_text(metadata.read_text().replace("message_count: 3", "message_count: 5"))
    with (
        open_recording(path) as recording,
        pytest.raises(RecordingError, match="holds 3 messages on /camera/image_raw; expected 5"),
    ):
        list(recording)


@pytest.mark.parametrize("content", ["", "[", "rosbag2_bagfile_information: 3", "rosbag2_bagfile_information: {}"])
def test_metadata_that_is_none(tmp_path: Path, make_frames: MakeFrames, content: str) -> None:
    path = write_bag(tmp_path / "bag", make_frames(1))
    (path / "metadata.yaml").write_text(content)
    with pytest.raises(RecordingError, match="cannot be read as a bag"):
        open_recording(path)


def test_storage_file_that_is_missing(tmp_path: Path, make_frames: MakeFrames) -> None:
    path = write_bag(tmp_path / "bag", make_frames(1))
    (path / "bag.db3").unlink()
    with pytest.raises(RecordingError, match="cannot be read as a bag"):
        open_recording(path)


@pytest.mark.parametrize("name", ["junk.db3", "junk.mcap", "junk.bag"])
@pytest.mark.parametrize("content", [b"", b"junk" * 500])
def test_file_that_is_no_bag(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(RecordingError, match=f"{name} cannot be read as a bag"):
        open_recording(tmp_path / name)


@pytest.mark.parametrize("storage", ["sqlite3", "mcap"])
@pytest.mark.parametrize("share", [0.02, 0.5, 0.9])
def test_file_that_was_cut(tmp_path: Path, make_frames: MakeFrames, storage: Storage, share: float) -> None:
    path = write_bag(tmp_path / "bag", make_frames(20, (48, 64)), storage=storage)
    file = next(file for file in path.iterdir() if file.suffix != ".yaml")
    file.write_bytes(file.read_bytes()[: int(file.stat().st_size * share)])
    with pytest.raises(RecordingError), open_recording(path) as recording:
        list(recording)


def test_folder_with_a_bag_file_and_no_metadata(tmp_path: Path, make_frames: MakeFrames) -> None:
    path = write_bag(tmp_path / "bag", make_frames(1))
    (path / "metadata.yaml").unlink()
    with pytest.raises(RecordingError, match=r"bag\.db3 but no metadata\.yaml"):
        open_recording(path)


def test_rate_of_a_bag_is_its_own(tmp_path: Path, make_frames: MakeFrames) -> None:
    with pytest.raises(RecordingError, match="rate_hz=5 is for folders and videos"):
        open_recording(write_bag(tmp_path / "bag", make_frames(1)), rate_hz=5)


def test_closing_twice_and_reading_after(tmp_path: Path, make_frames: MakeFrames) -> None:
    recording = open_recording(write_bag(tmp_path / "bag", make_frames(1)))
    recording.close()
    recording.close()
    with pytest.raises(RecordingError):
        list(recording)
