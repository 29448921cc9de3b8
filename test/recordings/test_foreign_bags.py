"""Bags as they are found: under other names, beside foreign topics, half written, from other tools."""

from __future__ import annotations

import base64
import json
import shutil
import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import yaml
from mcap.writer import IndexType
from mcap.writer import Writer as McapWriter
from recording_types import MakeFrames, MakeMessage, WriteMessages, WriteRos1
from rosbags.rosbag2 import Writer
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

from dcfm_ros.imaging.frame import Frame
from dcfm_ros.recordings import RecordingError, open_recording
from dcfm_ros.recordings.find import find_recordings
from dcfm_ros.recordings.message_bag import Storage
from dcfm_ros.recordings.messages import read_messages, topics_of
from dcfm_ros.recordings.writers import BagWriter

IMAGE = "sensor_msgs/msg/Image"
TYPES = get_typestore(Stores.ROS2_JAZZY)
FILES = {"sqlite3": "db3", "mcap": "mcap"}


@pytest.fixture
def frames(make_frames: MakeFrames) -> list[Frame]:
    return make_frames(6)


def write_bag(path: Path, frames: Sequence[Frame], storage: Storage = "sqlite3") -> Path:
    with BagWriter(path, "/cam", storage=storage) as bag:
        for frame in frames:
            bag.write(frame)
    return path


def write_mcap(
    path: Path,
    frames: Sequence[Frame],
    image_message: MakeMessage,
    profile: str = "ros2",
    foreign: str = "",
    **options: Any,
) -> Path:
    """As rosbag2 does; foreign: the encoding of a schema on a topic beside the images."""
    with path.open("wb") as file:
        writer = McapWriter(file, **options)
        writer.start(profile, "test")
        schema = writer.register_schema(IMAGE, "ros2msg", TYPES.generate_msgdef(IMAGE, ros_version=2)[0].encode())
        channel = writer.register_channel("/cam", "cdr", schema)
        if foreign:
            of_fleet = writer.register_schema("Status", foreign, b"{}")
            other = writer.register_channel("/fleet", {"jsonschema": "json"}.get(foreign, foreign), of_fleet)
        for frame in frames:
            data = bytes(TYPES.serialize_cdr(image_message(frame), IMAGE))
            writer.add_message(channel, frame.stamp_ns, data, frame.stamp_ns)
            if foreign:
                writer.add_message(other, frame.stamp_ns, b"{}", frame.stamp_ns)
        writer.finish()
    return path


def assert_reads(path: Path, frames: Sequence[Frame], topic: str | None = None) -> None:
    """All frames, whether damage is an error (report, evaluate) or is skipped (segment, replay), and nothing lost."""
    for damaged in ("raise", "skip"):
        with open_recording(path, topic, damaged=damaged) as recording:
            assert len(recording) == len(frames)
            read = list(recording)
            assert recording.losses == []
            assert [frame.stamp_ns for frame in read] == [frame.stamp_ns for frame in frames]
            for frame, other in zip(read, frames, strict=True):
                np.testing.assert_array_equal(frame.pixels, other.pixels)


def edit(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    metadata = path / "metadata.yaml"
    told = yaml.safe_load(metadata.read_text())
    change(told["rosbag2_bagfile_information"])
    metadata.write_text(yaml.safe_dump(told))


@pytest.fixture
def unwritten(tmp_path: Path, frames: Sequence[Frame]) -> Path:
    """A bag whose recorder was killed: half of its messages are in the -wal beside the database."""
    whole, path = write_bag(tmp_path / "whole", frames), tmp_path / "killed"
    file = whole / "whole.db3"
    database = sqlite3.connect(file, isolation_level=None)
    rows = database.execute("SELECT topic_id, timestamp, data FROM messages ORDER BY id").fetchall()
    database.execute("DELETE FROM messages WHERE id > 3")
    database.execute("VACUUM")
    database.execute("PRAGMA journal_mode=WAL")
    database.execute("PRAGMA wal_autocheckpoint=0")
    database.executemany("INSERT INTO messages (topic_id, timestamp, data) VALUES (?, ?, ?)", rows[3:])
    path.mkdir()
    for part in whole.iterdir():
        if not part.name.endswith("-shm"):
            shutil.copy(part, path / part.name)
    database.close()
    text = (path / "metadata.yaml").read_text().replace("message_count: 6", "message_count: 3")
    (path / "metadata.yaml").write_text(text)
    return path


def test_what_sqlite_had_not_written_into_the_file_is_read_and_the_bag_left_as_it_is(
    unwritten: Path, frames: Sequence[Frame]
) -> None:
    before = {path.name: path.read_bytes() for path in unwritten.iterdir()}
    assert_reads(unwritten, frames)
    assert_reads(unwritten / "whole.db3", frames)
    assert {path.name: path.read_bytes() for path in unwritten.iterdir()} == before


def test_a_folder_of_ros1_bags_is_one_drive(tmp_path: Path, frames: Sequence[Frame], write_ros1: WriteRos1) -> None:
    (tmp_path / "drive").mkdir()
    write_ros1(tmp_path / "drive" / "drive_0.bag", frames[:2])
    write_ros1(tmp_path / "drive" / "drive_1.bag", frames[2:])
    assert_reads(tmp_path / "drive", frames)


@pytest.mark.parametrize("storage", FILES)
def test_names_say_nothing_about_what_a_bag_is(
    tmp_path: Path, frames: Sequence[Frame], write_ros1: WriteRos1, storage: Storage
) -> None:
    path = write_bag(tmp_path / "run.bag", frames, storage)
    assert_reads(path, frames)
    file = next(path.glob(f"*.{FILES[storage]}"))
    for name in ("a.bag", "b.db3", "c.mcap", "d.bag.active", "e"):
        shutil.copy(file, tmp_path / name)
        assert_reads(tmp_path / name, frames)
    write_ros1(tmp_path / "old.bag", frames).rename(tmp_path / "old.db3")
    assert_reads(tmp_path / "old.db3", frames)


def test_a_recording_that_is_still_called_active_is_found(
    tmp_path: Path, frames: Sequence[Frame], write_ros1: WriteRos1
) -> None:
    path = write_ros1(tmp_path / "drive.bag", frames).rename(tmp_path / "drive.bag.active")
    (tmp_path / "notes.txt").write_text("wet")
    sqlite3.connect(tmp_path / "thumbs").execute("CREATE TABLE pictures (id)").connection.close()
    assert find_recordings(tmp_path) == [path]
    assert_reads(path, frames)


@pytest.mark.parametrize("name", ["a#b", "100%20", "what?", "a b&c=d"])
@pytest.mark.parametrize("storage", FILES)
def test_any_name_of_a_folder_will_do(tmp_path: Path, frames: Sequence[Frame], name: str, storage: Storage) -> None:
    path = write_bag(tmp_path / name / name, frames, storage)
    assert [entry.name for entry in tmp_path.iterdir()] == [name], "nothing is written elsewhere"
    assert_reads(path, frames)


@pytest.mark.parametrize("storage", FILES)
@pytest.mark.parametrize("qos", ["", "- history: 1\n  depth: 7\n  reliability: 2\n", "[]", "nonsense"])
def test_qos_in_the_metadata_says_nothing_about_reading(
    tmp_path: Path, frames: Sequence[Frame], storage: Storage, qos: str
) -> None:
    def change(told: dict[str, Any]) -> None:
        for topic in told["topics_with_message_count"]:
            topic["topic_metadata"]["offered_qos_profiles"] = qos

    path = write_bag(tmp_path / "bag", frames, storage)
    edit(path, change)
    assert_reads(path, frames)
    assert topics_of(path) == {"/cam": IMAGE}
    assert len(list(read_messages(path, "/cam"))) == len(frames)


@pytest.mark.parametrize("storage", FILES)
@pytest.mark.parametrize(
    ("field", "value"), [("storage_identifier", ""), ("storage_identifier", None), ("version", 99), ("duration", None)]
)
def test_metadata_that_is_odd_costs_nothing(
    tmp_path: Path, frames: Sequence[Frame], storage: Storage, field: str, value: object
) -> None:
    path = write_bag(tmp_path / "bag", frames, storage)
    edit(path, lambda told: told.update({field: value}))
    assert_reads(path, frames)


@pytest.mark.parametrize(
    ("profile", "foreign"), [("ros2", "protobuf"), ("ros2", "jsonschema"), ("", ""), ("x", "cbor")]
)
def test_what_is_not_the_image_topic_does_not_matter(
    tmp_path: Path, frames: Sequence[Frame], image_message: MakeMessage, profile: str, foreign: str
) -> None:
    path = write_mcap(tmp_path / "a.mcap", frames, image_message, profile, foreign)
    assert_reads(path, frames)
    assert topics_of(path)["/cam"] == IMAGE
    assert len(list(read_messages(path, "/cam"))) == len(frames)


def test_definition_of_another_topic_may_be_empty(
    tmp_path: Path, frames: Sequence[Frame], write_messages: WriteMessages, image_message: MakeMessage
) -> None:
    messages = [("/cam", f.stamp_ns, image_message(f)) for f in frames]
    messages.append(("/scan", 1, ("sensor_msgs/msg/LaserScan", b"\0\1\0\0")))
    path = write_messages(tmp_path / "bag", messages)
    database = sqlite3.connect(path / "bag.db3")
    with database:
        database.execute("UPDATE message_definitions SET encoded_message_definition = '' WHERE topic_type LIKE '%Scan'")
    database.close()
    assert_reads(path, frames)


def test_mcap_without_index_and_out_of_order_is_read_in_the_order_of_receipt(
    tmp_path: Path, frames: Sequence[Frame], image_message: MakeMessage
) -> None:
    shuffled = [frames[i] for i in (1, 0, 2, 3, 5, 4)]
    path = write_mcap(tmp_path / "fast.mcap", shuffled, image_message, use_chunking=False, index_types=IndexType.NONE)
    assert_reads(path, frames)


def test_mcap_that_ends_at_a_record_without_its_end_is_told(
    tmp_path: Path, frames: Sequence[Frame], image_message: MakeMessage
) -> None:
    path = write_mcap(tmp_path / "cut.mcap", frames, image_message, use_chunking=False)
    data = path.read_bytes()
    at = data.index(frames[3].pixels.tobytes()) + frames[3].pixels.nbytes
    path.write_bytes(data[:at])
    with open_recording(path, damaged="skip") as recording:
        assert len(list(recording)) == 4
        assert recording.losses == ["cut.mcap ends without its end"]
    with pytest.raises(RecordingError, match="cannot be read as a bag"):
        open_recording(path)


def test_ros1_messages_in_mcap(tmp_path: Path, frames: Sequence[Frame]) -> None:
    types = get_typestore(Stores.ROS1_NOETIC)
    with (tmp_path / "old.mcap").open("wb") as file:
        writer = McapWriter(file)
        writer.start("ros1", "test")
        channel = writer.register_channel("/cam", "ros1", writer.register_schema("sensor_msgs/Image", "ros1msg", b""))
        for frame in frames:
            stamp = types.types["builtin_interfaces/msg/Time"](*divmod(frame.stamp_ns, 1_000_000_000))
            header = types.types["std_msgs/msg/Header"](seq=0, stamp=stamp, frame_id="camera")
            message = types.types[IMAGE](header, 24, 32, "bgr8", 0, 96, frame.pixels.reshape(-1))
            writer.add_message(channel, frame.stamp_ns, bytes(types.serialize_ros1(message, IMAGE)), frame.stamp_ns)
        writer.finish()
    assert_reads(tmp_path / "old.mcap", frames)


def foxglove_definition(name: str, fields: dict[str, int]) -> Any:
    """A FileDescriptorSet like Foxglove's, with its import of Google's Timestamp."""
    from google.protobuf import descriptor_pb2, timestamp_pb2

    own = descriptor_pb2.FileDescriptorProto(
        name=f"foxglove/{name}.proto", package="foxglove", syntax="proto3",
        dependency=["google/protobuf/timestamp.proto"],
    )  # fmt: skip
    message = own.message_type.add(name=name)
    for number, (field, kind) in enumerate(fields.items(), 1):
        added = message.field.add(name=field, number=number, label=1, type=kind)
        if kind == 11:
            added.type_name = ".google.protobuf.Timestamp"
    files = descriptor_pb2.FileDescriptorSet()
    files.file.append(own)  # before what it imports: any order will do
    timestamp_pb2.DESCRIPTOR.CopyToProto(files.file.add())
    return files


_TIME, _TEXT, _BYTES, _NUMBER = 11, 9, 12, 7
FOXGLOVE = {
    "CompressedImage": {"timestamp": _TIME, "frame_id": _TEXT, "data": _BYTES, "format": _TEXT},
    "CompressedVideo": {"timestamp": _TIME, "frame_id": _TEXT, "data": _BYTES, "format": _TEXT},
    "RawImage": {
        "timestamp": _TIME, "frame_id": _TEXT, "width": _NUMBER, "height": _NUMBER, "encoding": _TEXT, "step": _NUMBER,
        "data": _BYTES,
    },
}  # fmt: skip


def foxglove_values(kind: str, frame: Frame) -> dict[str, Any]:
    if kind == "RawImage":
        return {"width": 32, "height": 24, "encoding": "bgr8", "step": 96, "data": frame.pixels.tobytes()}
    return {"format": "png", "data": cv2.imencode(".png", frame.pixels)[1].tobytes()}


def write_foxglove(path: Path, frames: Sequence[Frame], kind: str, encoding: str) -> Path:
    from google.protobuf import descriptor_pool, message_factory

    files = foxglove_definition(kind, FOXGLOVE[kind])
    pool = descriptor_pool.DescriptorPool()
    for file in reversed(files.file):
        pool.Add(file)
    message_class = message_factory.GetMessageClass(pool.FindMessageTypeByName(f"foxglove.{kind}"))
    with path.open("wb") as file:
        writer = McapWriter(file)
        writer.start("", "test")
        is_json = encoding == "json"
        definition = b"{}" if is_json else files.SerializeToString()
        schema = writer.register_schema(f"foxglove.{kind}", "jsonschema" if is_json else "protobuf", definition)
        channel = writer.register_channel("/cam", encoding, schema)
        for frame in frames:
            values = foxglove_values(kind, frame)
            seconds, nanoseconds = divmod(frame.stamp_ns, 1_000_000_000)
            if is_json:
                values |= {"data": base64.b64encode(values["data"]).decode(), "frame_id": "camera"}
                data = json.dumps(values | {"timestamp": {"sec": seconds, "nsec": nanoseconds}}).encode()
            else:
                message = message_class(frame_id="camera", **values)
                message.timestamp.seconds, message.timestamp.nanos = seconds, nanoseconds
                data = message.SerializeToString()
            writer.add_message(channel, 5 + frame.stamp_ns, data, frame.stamp_ns)
        writer.finish()
    return path


@pytest.mark.parametrize("encoding", ["protobuf", "json"])
@pytest.mark.parametrize("kind", ["RawImage", "CompressedImage"])
def test_foxglove_images(tmp_path: Path, frames: Sequence[Frame], kind: str, encoding: str) -> None:
    path = write_foxglove(tmp_path / "fox.mcap", frames, kind, encoding)
    assert_reads(path, frames)
    with open_recording(path) as recording:
        assert recording.frame_id == "camera"


@pytest.mark.parametrize("topic", [None, "/cam"])
def test_foxglove_video_is_refused_with_the_way_out(tmp_path: Path, frames: Sequence[Frame], topic: str | None) -> None:
    path = write_foxglove(tmp_path / "fox.mcap", frames, "CompressedVideo", "protobuf")
    with pytest.raises(RecordingError, match=r"foxglove\.CompressedVideo.*decode the packets of video first"):
        open_recording(path, topic)


def test_foxglove_images_in_ros2s_own_words(tmp_path: Path, frames: Sequence[Frame]) -> None:
    kind = "foxglove_msgs/msg/CompressedImage"
    types = get_typestore(Stores.ROS2_JAZZY)
    types.register(get_types_from_msg(
        "builtin_interfaces/Time timestamp\nstring frame_id\nuint8[] data\nstring format", kind
    ))  # fmt: skip
    with Writer(tmp_path / "bag", version=9) as bag:
        connection = bag.add_connection("/cam", kind, typestore=types)
        for frame in frames:
            stamp = types.types["builtin_interfaces/msg/Time"](*divmod(frame.stamp_ns, 1_000_000_000))
            data = cv2.imencode(".png", frame.pixels)[1].reshape(-1)
            message = types.types[kind](timestamp=stamp, frame_id="camera", data=data, format="png")
            bag.write(connection, frame.stamp_ns, types.serialize_cdr(message, kind))
    assert_reads(tmp_path / "bag", frames)


def test_a_recording_of_which_no_frame_can_be_read_does_not_end_well(
    tmp_path: Path, frames: Sequence[Frame], write_messages: WriteMessages, compressed_message: MakeMessage
) -> None:
    video = np.frombuffer(b"\0\0\0\1\x67" + bytes(100), np.uint8)
    messages = [("/cam", f.stamp_ns, compressed_message(f, name="h264", data=video)) for f in frames]
    bag = write_messages(tmp_path / "bag", messages)
    garbage = tmp_path / "garbage"
    garbage.mkdir()
    (garbage / "0.png").write_bytes(b"nothing")
    for path in (bag, garbage):
        with (
            open_recording(path, damaged="skip") as recording,
            pytest.raises(RecordingError, match=f"no frame of {path.name} can be read"),
        ):
            list(recording)
