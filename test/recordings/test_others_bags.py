"""Bags as other programs leave them: all images are read, and what lies beside them does not matter."""

from __future__ import annotations

import hashlib
import os
import shutil
import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import yaml
from foreign_bags import image_of, leave_in_wal, write_foxglove, write_mcap, write_ros1
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mcap.writer import IndexType
from recording_types import MakeFrames
from rosbags.rosbag2 import Writer
from rosbags.typesys import get_types_from_msg

from dcfm_ros.imaging.frame import Frame
from dcfm_ros.recordings import RecordingError, open_recording
from dcfm_ros.recordings.find import find_recordings
from dcfm_ros.recordings.message_bag import Storage
from dcfm_ros.recordings.messages import read_messages
from dcfm_ros.recordings.recording import Damaged
from dcfm_ros.recordings.storage.mcap_file import McapFile
from dcfm_ros.recordings.writers import BagWriter, VideoWriter

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "100"))


@pytest.fixture
def frames(make_frames: MakeFrames) -> list[Frame]:
    return make_frames(6, (48, 64))


def write_bag(path: Path, frames: Sequence[Frame], storage: Storage = "sqlite3") -> Path:
    with BagWriter(path, "/cam", storage=storage) as bag:
        for frame in frames:
            bag.write(frame)
    return path


def assert_read(path: Path, frames: Sequence[Frame], losses: Sequence[str] = ()) -> None:
    """By those who take damage for an error, where nothing is lost, and by those who do not."""
    ways: tuple[Damaged, ...] = ("skip",) if losses else ("skip", "raise")
    for damaged in ways:
        with open_recording(path, damaged=damaged) as recording:
            read = list(recording)
            assert [frame.stamp_ns for frame in read] == [frame.stamp_ns for frame in frames]
            for one, written in zip(read, frames, strict=True):
                np.testing.assert_array_equal(one.pixels, written.pixels)
            assert len(recording) == len(frames)
            assert len(recording.losses) == len(losses), recording.losses
            assert all(part in loss for part, loss in zip(losses, recording.losses, strict=True))


def state(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


@pytest.mark.parametrize("told", ["as the file", "fewer", "none"])
def test_what_a_wal_file_holds_is_read_and_the_recording_left_as_it_is(
    tmp_path: Path, frames: list[Frame], told: str
) -> None:
    whole = write_bag(tmp_path / "whole" / "drive", frames)
    folder = tmp_path / "drive"
    metadata = (whole / "metadata.yaml").read_text()
    file = leave_in_wal(whole / "drive.db3", folder, kept=2)
    if told != "none":
        count = "6" if told == "as the file" else "2"
        (folder / "metadata.yaml").write_text(metadata.replace("message_count: 6", f"message_count: {count}"))
    before = state(folder)
    assert sqlite3.connect(f"file:{file}?immutable=1", uri=True).execute(
        "SELECT count(*) FROM messages"
    ).fetchone() == (2,)
    assert_read(file, frames)
    assert_read(folder, frames, ["metadata.yaml cannot be read"] if told == "none" else [])
    assert state(folder) == before


def test_split_ros1_bags_are_one_recording(tmp_path: Path, frames: list[Frame]) -> None:
    drive = tmp_path / "fleet" / "drive"
    drive.mkdir(parents=True)
    for number, part in ((2, frames[:2]), (10, frames[2:])):
        write_ros1(drive / f"drive_{number}.bag", part)
    assert_read(drive, frames)
    assert find_recordings(tmp_path / "fleet") == [drive]


@pytest.mark.parametrize("parts", [((0, 2, 4), (1, 3, 5)), ((0, 5), (1, 2), (3, 4)), ((0,), (), (1, 2, 3, 4, 5))])
@pytest.mark.parametrize("kind", ["sqlite3", "mcap", "ROS 1"])
def test_files_of_a_bag_that_overlap_in_time_are_read_in_the_order_of_receipt(
    tmp_path: Path, frames: list[Frame], kind: Storage | Literal["ROS 1"], parts: tuple[tuple[int, ...], ...]
) -> None:
    drive = tmp_path / "drive"
    drive.mkdir()
    names = []
    for number, part in enumerate(parts):
        some = [frames[index] for index in part]
        if kind == "ROS 1":
            if some:
                write_ros1(drive / f"drive_{number}.bag", some)
            continue
        written = write_bag(tmp_path / f"part{number}", some, kind)
        (file,) = (path for path in written.iterdir() if path.suffix in (".db3", ".mcap"))
        names.append(f"drive_{number}{file.suffix}")
        file.rename(drive / names[-1])
        (written / "metadata.yaml").rename(drive / "metadata.yaml")
    if names:
        rewrite(drive, lambda information: information.update(relative_file_paths=names))
    assert_read(drive, frames)


@pytest.mark.parametrize("name", ["run:1", "a#b%20c?d"])
def test_the_name_of_a_videos_folder_says_nothing(
    tmp_path: Path, frames: list[Frame], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with VideoWriter(Path(name) / "drive.mp4", 10) as video:
        for frame in frames:
            video.write(frame.pixels)
    with open_recording(Path(name) / "drive.mp4") as recording:
        assert len(list(recording)) == len(frames)


def test_a_bag_is_not_the_one_that_a_uri_would_make_of_its_name(tmp_path: Path, frames: list[Frame]) -> None:
    write_bag(tmp_path / "run a" / "drive", frames[:1])
    assert_read(write_bag(tmp_path / "run%20a" / "drive", frames), frames)


def test_the_name_of_a_file_says_nothing(tmp_path: Path, frames: list[Frame]) -> None:
    writers: dict[str, Callable[[Path, list[Frame]], Path]] = {
        "a.bag": write_mcap,
        "b.mcap": write_ros1,
        "c": write_ros1,
        "d.recording": write_mcap,
    }
    for name, write in writers.items():
        assert_read(write(tmp_path / name, frames), frames)
    assert find_recordings(tmp_path) == [tmp_path / name for name in writers]


def test_bags_of_several_robots_are_not_taken_for_one(tmp_path: Path, frames: list[Frame]) -> None:
    for name in ("front.bag", "rear.bag"):
        write_ros1(tmp_path / name, frames)
    for damaged in ("raise", "skip"):
        with pytest.raises(RecordingError, match="holds 2 bag files that are not one recording"):
            open_recording(tmp_path, damaged=damaged)
    assert find_recordings(tmp_path) == [tmp_path / "front.bag", tmp_path / "rear.bag"]


def test_a_file_that_metadata_does_not_name_yet_is_read(tmp_path: Path, frames: list[Frame]) -> None:
    """As a recorder that is killed after a split leaves it."""
    path = write_bag(tmp_path / "drive", frames[:4])
    shutil.move(write_bag(tmp_path / "rest", frames[4:]) / "rest.db3", path / "drive_1.db3")
    (path / "drive.db3").rename(path / "drive_0.db3")
    metadata = path / "metadata.yaml"
    metadata.write_text(metadata.read_text().replace("drive.db3", "drive_0.db3"))
    assert_read(path, frames)


@pytest.mark.parametrize("storage", ["sqlite3", "mcap"])
@pytest.mark.parametrize("qos", ["", [], None, "reliability: 3", "[", "- history: 9", [{"depth": "many"}], 7])
def test_qos_says_nothing_about_reading(tmp_path: Path, frames: list[Frame], storage: Storage, qos: Any) -> None:
    path = write_bag(tmp_path / "drive", frames, storage)
    rewrite(path, lambda information: information["topics_with_message_count"][0]["topic_metadata"].update(
        offered_qos_profiles=qos
    ))  # fmt: skip
    if storage == "sqlite3":
        with sqlite3.connect(path / "drive.db3") as database:
            database.execute("UPDATE topics SET offered_qos_profiles = ?", (str(qos),))
    assert_read(path, frames)
    assert len(list(read_messages(path, "/cam"))) == len(frames)


ODD = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6) | st.dates(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=5,
)


@settings(
    max_examples=int(os.environ.get("FUZZ_EXAMPLES", "100")),
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(data=st.data())
def test_metadata_of_any_values_keeps_no_frame_back(tmp_path: Path, frames: list[Frame], data: st.DataObject) -> None:
    path = tmp_path / "drive"
    if not path.exists():
        write_bag(path, frames)
        shutil.copy(path / "metadata.yaml", tmp_path / "sound.yaml")
    document = yaml.safe_load((tmp_path / "sound.yaml").read_text())
    keys: list[Any] = []
    place = document
    while isinstance(place, (dict, list)) and place and (not keys or data.draw(st.booleans())):
        keys.append(data.draw(st.sampled_from(list(place) if isinstance(place, dict) else range(len(place)))))
        parent, place = place, place[keys[-1]]
    parent[keys[-1]] = data.draw(ODD)
    (path / "metadata.yaml").write_text(yaml.safe_dump(document))
    with open_recording(path, damaged="skip") as recording:
        read = [frame.stamp_ns for frame in recording]
        assert read == [frame.stamp_ns for frame in frames] or recording.losses
    try:
        with open_recording(path) as recording:
            assert [frame.stamp_ns for frame in recording] == [frame.stamp_ns for frame in frames]
    except RecordingError:
        pass


def test_a_topic_whose_definition_is_empty_does_not_matter(tmp_path: Path, frames: list[Frame]) -> None:
    assert_read(write_ros1(tmp_path / "a.bag", frames, with_scan=True), frames)


INDEXES = {
    "whole": {},
    "no statistics": {"use_statistics": False},
    "no message index": {"index_types": IndexType.CHUNK},
    "no repeated channels": {"repeat_channels": False, "repeat_schemas": False},
    "no index": {
        "index_types": IndexType.NONE,
        "use_statistics": False,
        "use_summary_offsets": False,
        "repeat_channels": False,
        "repeat_schemas": False,
    },
    "no chunks": {"use_chunking": False},
}


@pytest.mark.parametrize("options", INDEXES.values(), ids=INDEXES)
def test_an_mcap_is_read_in_the_order_of_receipt_whatever_index_it_has(
    tmp_path: Path, frames: list[Frame], options: dict[str, Any]
) -> None:
    assert_read(write_mcap(tmp_path / "sound.mcap", frames, **options), frames)
    mixed = [frames[index] for index in (3, 0, 1, 5, 2, 4)]
    assert_read(write_mcap(tmp_path / "mixed.mcap", mixed, beside="json", **options), frames)


def test_an_mcap_whose_summary_repeats_no_channels_is_in_order_before_it_is_counted(
    tmp_path: Path, frames: list[Frame]
) -> None:
    mixed = [frames[index] for index in (3, 0, 1, 5, 2, 4)]
    path = write_mcap(tmp_path / "mixed.mcap", mixed, repeat_channels=False, repeat_schemas=False)
    received = [message.received_ns for message in McapFile(path, pytest.fail).messages(lambda channel: True)]
    assert received == sorted(received) and len(received) == len(frames)


def test_a_sqlite_bag_is_read_in_the_order_of_receipt(tmp_path: Path, frames: list[Frame]) -> None:
    assert_read(write_bag(tmp_path / "drive", [frames[index] for index in (3, 0, 1, 5, 2, 4)]), frames)


def test_packets_of_ffmpeg_are_named_with_the_way_out(tmp_path: Path, frames: list[Frame]) -> None:
    kind = "ffmpeg_image_transport_msgs/msg/FFMPEGPacket"
    with write_own(tmp_path / "drive", "/cam/ffmpeg", kind, "std_msgs/Header header\nuint8[] data\n") as write:
        write(1, header=image_of(frames[0]).header, data=np.zeros(9, np.uint8))
    with pytest.raises(RecordingError, match=r"/cam/ffmpeg is .*FFMPEGPacket: decode .*FFmpeg"):
        open_recording(tmp_path / "drive")


def test_a_serialisation_that_is_not_read_is_named(tmp_path: Path, frames: list[Frame]) -> None:
    path = write_foxglove(tmp_path / "a.mcap", frames, "RawImage", "flatbuffer")
    with pytest.raises(
        RecordingError, match=r"/cam is foxglove.RawImage in flatbuffer; expected cdr, ros1, json, protobuf"
    ):
        open_recording(path)


def rewrite(path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    document = yaml.safe_load((path / "metadata.yaml").read_text())
    change(document["rosbag2_bagfile_information"])
    (path / "metadata.yaml").write_text(yaml.safe_dump(document))


class write_own:
    """A rosbag2 folder with messages of a type of its own."""

    def __init__(self, path: Path, topic: str, kind: str, definition: str) -> None:
        from rosbags.typesys import Stores, get_typestore

        self._types: Any = get_typestore(Stores.ROS2_JAZZY)
        self._types.register(get_types_from_msg(definition, kind))
        self._bag = Writer(path, version=9)
        self._topic, self._kind = topic, kind

    def __enter__(self) -> Callable[..., None]:
        self._bag.open()
        connection = self._bag.add_connection(self._topic, self._kind, typestore=self._types)

        def write(received_ns: int, **fields: Any) -> None:
            message = self._types.types[self._kind](**fields)
            self._bag.write(connection, received_ns, self._types.serialize_cdr(message, self._kind))

        return write

    def __exit__(self, *error: object) -> None:
        self._bag.close()
