"""Damaged recordings: all that can be read comes, and what does not is told."""

from __future__ import annotations

import random
import struct
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest
from mcap.reader import make_reader
from mcap.writer import CompressionType
from mcap.writer import Writer as McapWriter
from recording_types import MakeFrames, MakeMessage, WriteMessages, WriteRos1
from rosbags.rosbag1 import Writer as Ros1Writer
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

from dcfm_ros.imaging.frame import Frame
from dcfm_ros.recordings import RecordingError, open_recording
from dcfm_ros.recordings.message_bag import Storage
from dcfm_ros.recordings.writers import BagWriter, VideoWriter

IMAGE = "sensor_msgs/msg/Image"
TYPES = get_typestore(Stores.ROS2_JAZZY)
TOPIC = "/camera/image_raw"
NOISE = (24, 32)


@pytest.fixture
def frames(make_frames: MakeFrames) -> list[Frame]:
    return make_frames(12, NOISE)


def write_bag(path: Path, frames: Sequence[Frame], storage: Storage = "sqlite3") -> Path:
    with BagWriter(path, TOPIC, storage=storage) as bag:
        for frame in frames:
            bag.write(frame)
    return path


def serialized(image_message: MakeMessage, frame: Frame) -> bytes:
    return bytes(TYPES.serialize_cdr(image_message(frame), IMAGE))


def write_mcap(
    path: Path,
    frames: Sequence[Frame],
    image_message: MakeMessage,
    compression: CompressionType = CompressionType.NONE,
    use_chunking: bool = True,
) -> Path:
    """As rosbag2 does: in chunks of about two frames, with checksums."""
    with path.open("wb") as file:
        writer = McapWriter(
            file, chunk_size=4000, compression=compression, enable_data_crcs=True, use_chunking=use_chunking
        )
        writer.start("ros2", "test")
        schema = writer.register_schema(IMAGE, "ros2msg", TYPES.generate_msgdef(IMAGE, ros_version=2)[0].encode())
        channel = writer.register_channel(TOPIC, "cdr", schema)
        for frame in frames:
            stamp = frame.stamp_ns
            writer.add_message(channel, stamp, serialized(image_message, frame), stamp)
        writer.finish()
    return path


def chunks(path: Path) -> list[int]:
    with path.open("rb") as file:
        summary = make_reader(file).get_summary()
        assert summary is not None
        return sorted(index.chunk_start_offset for index in summary.chunk_indexes)


def damage(path: Path, at: int, content: bytes) -> None:
    data = bytearray(path.read_bytes())
    data[at : at + len(content)] = content
    path.write_bytes(data)


def cut(path: Path, share: float) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])


def salvaged(path: Path, frames: Sequence[Frame], topic: str | None = None) -> tuple[list[int], list[str]]:
    """Indices of the frames that come, each as it was written, and the losses."""
    by_stamp = {frame.stamp_ns: (index, frame) for index, frame in enumerate(frames)}
    indices = []
    with open_recording(path, topic, damaged="skip") as recording:
        for read in recording:
            index, written = by_stamp[read.stamp_ns]
            np.testing.assert_array_equal(read.pixels, written.pixels)
            indices.append(index)
        losses = recording.losses
        assert [frame.stamp_ns for frame in recording] == [frames[index].stamp_ns for index in indices]
        assert recording.losses == losses, "reading again finds the same"
        assert len(recording) >= len(indices)
    return indices, losses


@pytest.mark.parametrize("storage", ["sqlite3", "mcap"])
def test_a_whole_bag_loses_nothing(tmp_path: Path, frames: Sequence[Frame], storage: Storage) -> None:
    path = write_bag(tmp_path / "bag", frames, storage)
    assert salvaged(path, frames) == ([*range(12)], [])


@pytest.mark.parametrize("storage", ["sqlite3", "mcap"])
def test_without_metadata_the_files_are_read_in_their_order(
    tmp_path: Path, frames: Sequence[Frame], storage: Storage
) -> None:
    suffix = "mcap" if storage == "mcap" else "db3"
    path = write_bag(tmp_path / "bag", frames[:4], storage)
    (path / f"bag.{suffix}").rename(path / f"bag_2.{suffix}")
    rest = write_bag(tmp_path / "rest", frames[4:], storage)
    (rest / f"rest.{suffix}").rename(path / f"bag_10.{suffix}")
    (path / "metadata.yaml").unlink()
    indices, losses = salvaged(path, frames)
    assert indices == [*range(12)]
    assert len(losses) == 1 and "metadata" in losses[0]


@pytest.mark.parametrize("compression", [CompressionType.NONE, CompressionType.LZ4, CompressionType.ZSTD])
@pytest.mark.parametrize("share", [0.5, 0.83])
def test_mcap_without_its_end(
    tmp_path: Path, frames: Sequence[Frame], image_message: MakeMessage, compression: CompressionType, share: float
) -> None:
    path = write_mcap(tmp_path / "bag.mcap", frames, image_message, compression)
    cut(path, share)
    indices, losses = salvaged(path, frames)
    assert indices == [*range(len(indices))]
    assert share * 12 - 2.5 < len(indices) < 12
    assert any("bag.mcap: bytes" in loss for loss in losses)


def test_mcap_without_chunks_and_end(tmp_path: Path, frames: Sequence[Frame], image_message: MakeMessage) -> None:
    path = write_mcap(tmp_path / "bag.mcap", frames, image_message, use_chunking=False)
    cut(path, 0.5)
    indices, losses = salvaged(path, frames)
    assert indices in ([0, 1, 2, 3, 4], [0, 1, 2, 3, 4, 5])
    assert any("no whole record" in loss for loss in losses)


def test_mcap_chunk_with_a_wrong_checksum_is_left_out(
    tmp_path: Path, frames: Sequence[Frame], image_message: MakeMessage
) -> None:
    path = write_mcap(tmp_path / "bag.mcap", frames, image_message)
    whole, _ = salvaged(path, frames)
    damage(path, chunks(path)[2] + 3000, b"\xff\x00\xff")
    indices, losses = salvaged(path, frames)
    assert set(whole) - set(indices) in ({4, 5}, {4}, {5})
    assert indices == sorted(indices)
    assert any("crc" in loss for loss in losses)


@pytest.mark.parametrize("content", [bytes(2000), b"\x06" + b"\xff" * 8, b"\x45\x02"], ids=["zeros", "length", "kind"])
def test_mcap_goes_on_behind_bytes_that_are_no_record(
    tmp_path: Path, frames: Sequence[Frame], image_message: MakeMessage, content: bytes
) -> None:
    path = write_mcap(tmp_path / "bag.mcap", frames, image_message)
    at = chunks(path)
    damage(path, at[2], content)
    damage(path, 9, bytes(20))  # else the index alone would do
    indices, losses = salvaged(path, frames)
    assert indices == [i for i in range(12) if i not in (4, 5)]
    assert f"bag.mcap: bytes {at[2]} to {at[3]}: no whole record" in losses


def test_mcap_whose_first_chunk_is_broken_has_its_channels_from_the_index(
    tmp_path: Path, frames: Sequence[Frame], image_message: MakeMessage
) -> None:
    path = write_mcap(tmp_path / "bag.mcap", frames, image_message)
    damage(path, chunks(path)[0] + 100, bytes(1000))
    indices, losses = salvaged(path, frames)
    assert indices == [*range(12 - len(indices), 12)]
    assert len(indices) >= 9 and losses


def test_broken_definition_of_the_messages_costs_nothing(
    tmp_path: Path, frames: Sequence[Frame], image_message: MakeMessage
) -> None:
    path = write_mcap(tmp_path / "bag.mcap", frames, image_message)
    damage(path, path.read_bytes().rindex(b"uint32 width"), b"uint32 wodth")
    assert salvaged(path, frames) == ([*range(12)], [])


def test_ros1_message_that_is_broken_costs_the_rest_of_its_chunk(
    tmp_path: Path, frames: Sequence[Frame], write_ros1: WriteRos1
) -> None:
    path = write_ros1(tmp_path / "old.bag", frames)
    cut(path, 0.9)  # else the index alone would do
    at = path.read_bytes().index(frames[5].pixels.tobytes()[:40])
    damage(path, at - 88, b"\xff" * 30)
    indices, losses = salvaged(path, frames)
    assert indices[:6] == [0, 1, 2, 3, 4, 6]
    assert any("old.bag: a chunk of" in loss for loss in losses)


@pytest.mark.parametrize("share", [0.55, 0.7, 0.9])
@pytest.mark.parametrize("whole_pages", [True, False])
def test_sqlite_that_was_cut(tmp_path: Path, frames: Sequence[Frame], share: float, whole_pages: bool) -> None:
    path = write_bag(tmp_path / "bag", frames)
    content = (path / "bag.db3").read_bytes()
    page = struct.unpack_from(">H", content, 16)[0]
    size = int(len(content) * share) // page * page
    (path / "bag.db3").write_bytes(content[: size if whole_pages else size + page // 2])
    indices, losses = salvaged(path, frames)
    assert indices == [*range(len(indices))]
    assert share * 12 - 7 < len(indices) < 12
    lost = "messages with ids from" if whole_pages else f"bytes {size} to {size + page // 2}: the page"
    assert any(f"bag.db3: {lost}" in loss for loss in losses)


def test_sqlite_with_broken_pages(tmp_path: Path, make_frames: MakeFrames) -> None:
    """Pages of the messages' tree are overwritten, one after the other; each has one message."""
    frames = make_frames(60, (32, 32))
    path = write_bag(tmp_path / "bag", frames) / "bag.db3"
    whole = path.read_bytes()
    page = struct.unpack_from(">H", whole, 16)[0]
    leaves = [at for at in range(page, len(whole), page) if whole[at] == 0x0D]
    for at in random.Random(1).sample(leaves[-50:], 6):
        path.write_bytes(whole[:at] + b"\xee" * page + whole[at + page :])
        indices, losses = salvaged(path, frames)
        assert indices == sorted(indices)
        assert len(indices) == 59
        assert any(f"ids from {min({*range(60)} - {*indices}) + 1} to " in loss for loss in losses)


def test_sqlite_row_whose_data_is_broken_costs_that_message(tmp_path: Path, make_frames: MakeFrames) -> None:
    frames = make_frames(5, (64, 96))
    path = write_bag(tmp_path / "bag", frames) / "bag.db3"
    whole = path.read_bytes()
    page = struct.unpack_from(">H", whole, 16)[0]
    # The message's data goes on in pages that each name the next; this one now names a page that is not there.
    marker = frames[2].pixels.tobytes()[9000:9040]
    at = whole.index(marker) // page * page
    damage(path, at, struct.pack(">I", 0x7FFFFFFF))
    indices, losses = salvaged(path, frames)
    assert indices == [0, 1, 3, 4]
    assert any("messages with ids from 3 to 3" in loss for loss in losses)


def test_missing_file_of_a_split_bag(tmp_path: Path, frames: Sequence[Frame]) -> None:
    path = write_bag(tmp_path / "bag", frames[:6])
    metadata = (path / "metadata.yaml").read_text()
    names = "relative_file_paths:\n  - gone.db3\n  - bag.db3"
    (path / "metadata.yaml").write_text(metadata.replace("relative_file_paths:\n  - bag.db3", names))
    indices, losses = salvaged(path, frames)
    assert indices == [*range(6)]
    assert "gone.db3 is missing" in losses


@pytest.mark.parametrize("field", [{"encoding": "32FC1"}, {"height": 1000}])
def test_image_that_cannot_be_decoded_costs_itself(
    tmp_path: Path,
    frames: Sequence[Frame],
    write_messages: WriteMessages,
    image_message: MakeMessage,
    field: dict[str, object],
) -> None:
    messages = [(TOPIC, f.stamp_ns, image_message(f, **(field if i == 5 else {}))) for i, f in enumerate(frames)]
    indices, losses = salvaged(write_messages(tmp_path / "bag", messages), frames)
    assert indices == [i for i in range(12) if i != 5]
    assert len(losses) == 1 and f"message 5 on {TOPIC}" in losses[0]


def test_message_that_is_cut_costs_itself(
    tmp_path: Path, frames: Sequence[Frame], write_messages: WriteMessages, image_message: MakeMessage
) -> None:
    messages = [(TOPIC, f.stamp_ns, image_message(f)) for f in frames]
    messages[3] = (TOPIC, frames[3].stamp_ns, (IMAGE, serialized(image_message, frames[3])[:40]))
    indices, losses = salvaged(write_messages(tmp_path / "bag", messages), frames)
    assert indices == [i for i in range(12) if i != 3]
    assert len(losses) == 1 and f"message 3 on {TOPIC}" in losses[0]


@pytest.mark.parametrize("storage", ["SQLITE3", "MCAP"])
@pytest.mark.parametrize("mode", [CompressionMode.FILE, CompressionMode.MESSAGE])
def test_compressed_bag_that_was_cut(
    tmp_path: Path, make_frames: MakeFrames, image_message: MakeMessage, storage: str, mode: CompressionMode
) -> None:
    frames = make_frames(24, (64, 96))  # a few of the blocks that zstd makes
    bag = Writer(tmp_path / "bag", version=9, storage_plugin=StoragePlugin[storage])
    bag.set_compression(mode, CompressionFormat.ZSTD)
    with bag:
        connection = bag.add_connection(TOPIC, IMAGE, typestore=TYPES)
        for frame in frames:
            bag.write(connection, frame.stamp_ns, serialized(image_message, frame))
    assert salvaged(tmp_path / "bag", frames) == ([*range(24)], [])
    (tmp_path / "bag" / "metadata.yaml").unlink()
    assert salvaged(tmp_path / "bag", frames)[0] == [*range(24)]
    cut(next((tmp_path / "bag").iterdir()), 0.8)
    indices, losses = salvaged(tmp_path / "bag", frames)
    assert indices == [*range(len(indices))]
    assert 5 <= len(indices) < 24
    assert any("bag." in loss for loss in losses)


@pytest.mark.parametrize("compression", [None, Ros1Writer.CompressionFormat.BZ2, Ros1Writer.CompressionFormat.LZ4])
def test_ros1_bag_without_its_end(
    tmp_path: Path, frames: Sequence[Frame], write_ros1: WriteRos1, compression: Ros1Writer.CompressionFormat | None
) -> None:
    path = write_ros1(tmp_path / "old.bag", frames, compression)
    assert salvaged(path, frames) == ([*range(12)], [])
    cut(path, 0.6)
    indices, losses = salvaged(path, frames)
    assert indices == [*range(len(indices))]
    assert 3 <= len(indices) < 12
    assert any("old.bag" in loss for loss in losses)


@pytest.mark.parametrize("name", ["junk.db3", "junk.mcap", "junk.bag"])
@pytest.mark.parametrize("content", [b"", b"junk" * 500, bytes(5000)], ids=["empty", "text", "zeros"])
def test_nothing_that_can_be_read_is_an_error_all_the_same(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(RecordingError, match="has no images"):
        open_recording(tmp_path / name, damaged="skip")


def test_image_of_a_folder_that_cannot_be_read(tmp_path: Path, make_frames: MakeFrames) -> None:
    for index, frame in enumerate(make_frames(3)):
        cv2.imwrite(str(tmp_path / f"{index}.png"), frame.pixels)
    (tmp_path / "0.png").write_bytes(b"no image")
    with open_recording(tmp_path, damaged="skip") as recording:
        assert [frame.stamp_ns for frame in recording] == [1_100_000_000, 1_200_000_000]
        assert recording.losses == [f"{tmp_path / '0.png'} cannot be read as an image"]


def test_video_that_was_cut(cut_video: Path) -> None:
    with open_recording(cut_video, damaged="skip") as recording:
        count = len(list(recording))
        assert 1 <= count < 30
        assert recording.losses == [f"cut.avi tells of 30 frames, and {count} can be read"]


def test_video_that_is_whole(tmp_path: Path, make_frames: MakeFrames) -> None:
    with VideoWriter(tmp_path / "whole.mp4", 10) as writer:
        for frame in make_frames(5):
            writer.write(frame.pixels)
    with open_recording(tmp_path / "whole.mp4", damaged="skip") as recording:
        assert (len(list(recording)), recording.losses) == (5, [])


def test_damage_is_an_error_where_nothing_else_is_asked_for(
    tmp_path: Path, frames: Sequence[Frame], image_message: MakeMessage
) -> None:
    path = write_mcap(tmp_path / "bag.mcap", frames, image_message)
    damage(path, chunks(path)[2] + 3000, b"\xff\x00\xff")
    said = r"bag\.mcap: bytes .*: the chunk cannot be read: crc"
    with open_recording(path) as recording, pytest.raises(RecordingError, match=said):
        list(recording)
