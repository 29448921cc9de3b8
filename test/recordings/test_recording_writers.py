"""Writers: what is written is exact, whole, and refused when it would not be."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
import pytest
from full_disk import files_of_at_most
from rosbags.highlevel import AnyReader

from dcfm_ros.files import write_whole
from dcfm_ros.imaging.encodings import to_rgb
from dcfm_ros.imaging.frame import ChannelOrder, Frame
from dcfm_ros.recordings import RecordingError, open_recording
from dcfm_ros.recordings.writers import BagWriter, MaskWriter, TableWriter, VideoWriter


def picture(height: int = 24, width: int = 32, colour: tuple[int, int, int] = (200, 40, 20)) -> np.ndarray:
    return np.full((height, width, 3), colour, np.uint8)


def names_in(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


def test_masks_come_back_exactly(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    masks = [rng.integers(0, 256, (37, 53), np.uint8) for _ in range(3)]
    masks += [np.full((5, 4), 255, np.uint8), masks[0][::2, ::-3]]
    with MaskWriter(tmp_path / "deep" / "masks") as writer:
        paths = [writer.write(index, mask) for index, mask in enumerate(masks)]
    assert names_in(tmp_path / "deep" / "masks") == [f"{index:06d}.png" for index in range(5)]
    for path, mask in zip(paths, masks, strict=True):
        np.testing.assert_array_equal(cv2.imread(str(path), cv2.IMREAD_UNCHANGED), mask)


@pytest.mark.parametrize("frames", [18, 1000], ids=["at the end", "in the middle"])
@pytest.mark.parametrize("storage", ["sqlite3", "mcap"])
def test_a_bag_that_a_full_disk_cuts_is_named_and_removed(
    tmp_path: Path, storage: Literal["sqlite3", "mcap"], frames: int
) -> None:
    frame = Frame(picture(), "rgb", 1)
    bag = BagWriter(tmp_path / "drive", "/camera", storage=storage)
    with files_of_at_most(40_000), pytest.raises(RecordingError, match="drive cannot be written"), bag:
        for _ in range(frames):
            bag.write(frame)
    assert not (tmp_path / "drive").exists()


def test_a_mask_that_a_full_disk_cuts_is_named_and_leaves_what_was_there(tmp_path: Path) -> None:
    writer = MaskWriter(tmp_path)
    before = writer.write(7, np.full((3, 3), 1, np.uint8)).read_bytes()
    noise = np.random.default_rng(0).integers(0, 256, (100, 100), np.uint8)
    for index in (7, 8):
        with files_of_at_most(4000), pytest.raises(RecordingError, match=rf"00000{index}\.png cannot be written"):
            writer.write(index, noise)
    assert names_in(tmp_path) == ["000007.png"]
    assert (tmp_path / "000007.png").read_bytes() == before


def test_a_text_that_a_full_disk_cuts_is_named(tmp_path: Path) -> None:
    table = TableWriter(tmp_path / "table.csv", ["name"])
    with files_of_at_most(4000):
        with pytest.raises(RecordingError, match=r"table\.csv cannot be written"), table:
            table.write({"name": "x" * 5000})
        with pytest.raises(OSError, match=r"counts\.json"):
            write_whole(tmp_path / "counts.json", "x" * 5000)


def test_a_video_that_a_full_disk_cuts_is_named_and_removed(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    video = VideoWriter(tmp_path / "v.mp4", 10)
    with (
        files_of_at_most(20_000),
        pytest.raises(RecordingError, match=r"v\.mp4 cannot be written: the file has 0 of 40 pictures"),
        video,
    ):
        for _ in range(40):
            video.write(rng.integers(0, 256, (48, 64, 3), np.uint8))
    assert names_in(tmp_path) == []


def test_mask_is_replaced(tmp_path: Path) -> None:
    writer = MaskWriter(tmp_path)
    for value in (1, 2):
        path = writer.write(7, np.full((3, 3), value, np.uint8))
    assert names_in(tmp_path) == ["000007.png"]
    written = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    assert written is not None and written.max() == 2


@pytest.mark.parametrize(
    ("index", "mask", "reason"),
    [
        (0, np.zeros((3, 3), np.int64), r"int64 \(3, 3\); expected uint8 \(H, W\)"),
        (0, np.zeros((3, 3, 3), np.uint8), r"uint8 \(3, 3, 3\)"),
        (0, np.zeros((0, 3), np.uint8), r"\(0, 3\)"),
        (-1, np.zeros((3, 3), np.uint8), "index is -1"),
    ],
)
def test_mask_that_is_none(tmp_path: Path, index: int, mask: np.ndarray, reason: str) -> None:
    with pytest.raises(RecordingError, match=reason):
        MaskWriter(tmp_path).write(index, mask)
    assert names_in(tmp_path) == []


@pytest.mark.parametrize("make", [MaskWriter, lambda folder: VideoWriter(folder / "v.mp4", 10)])
def test_folder_that_is_a_file(tmp_path: Path, make: Callable[[Path], object]) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RecordingError, match="cannot be made a folder"):
        make(tmp_path / "file")


def test_video_keeps_colours_and_rate(tmp_path: Path) -> None:
    with VideoWriter(tmp_path / "new" / "v.mp4", 12.5) as writer:
        for _ in range(5):
            writer.write(picture())
    recording = open_recording(tmp_path / "new" / "v.mp4")
    assert (recording.rate_hz, len(recording)) == (12.5, 5)
    for frame in recording:
        assert np.abs(to_rgb(frame).astype(int) - picture()).max() < 12


@pytest.mark.parametrize("size", [(25, 33), (24, 33), (25, 32), (375, 1242), (2, 3)])
def test_odd_sides_are_cropped(tmp_path: Path, size: tuple[int, int]) -> None:
    with VideoWriter(tmp_path / "v.mp4", 10) as writer:
        writer.write(picture(*size))
        writer.write(picture(*size))
    even = (size[0] // 2 * 2, size[1] // 2 * 2)
    assert [(f.height, f.width) for f in open_recording(tmp_path / "v.mp4")] == [even, even]


def test_video_frame_of_another_size_is_resized(tmp_path: Path) -> None:
    with VideoWriter(tmp_path / "v.mp4", 10) as writer:
        for size in ((24, 32), (48, 64), (11, 90)):
            writer.write(picture(*size))
    frames = list(open_recording(tmp_path / "v.mp4"))
    assert [f.pixels.shape for f in frames] == [(24, 32, 3)] * 3
    assert np.abs(to_rgb(frames[1]).astype(int) - picture()).max() < 12


def test_video_appears_when_it_is_whole(tmp_path: Path) -> None:
    writer = VideoWriter(tmp_path / "v.mp4", 10)
    writer.write(picture())
    assert not (tmp_path / "v.mp4").exists()
    writer.close()
    writer.close()
    assert names_in(tmp_path) == ["v.mp4"]
    with pytest.raises(RecordingError, match="is closed"):
        writer.write(picture())


def test_video_is_dropped_after_an_error_and_the_old_one_kept(tmp_path: Path) -> None:
    (tmp_path / "v.mp4").write_bytes(b"old")
    with pytest.raises(RuntimeError), VideoWriter(tmp_path / "v.mp4", 10) as writer:
        writer.write(picture())
        raise RuntimeError
    assert names_in(tmp_path) == ["v.mp4"]
    assert (tmp_path / "v.mp4").read_bytes() == b"old"


def test_video_without_frames_is_none(tmp_path: Path) -> None:
    with VideoWriter(tmp_path / "v.mp4", 10):
        pass
    assert names_in(tmp_path) == []


@pytest.mark.parametrize(
    "bad",
    [np.zeros((8, 8), np.uint8), np.zeros((8, 8, 4), np.uint8), np.zeros((8, 8, 3)), np.zeros((1, 8, 3), np.uint8)],
)
def test_picture_that_is_none(tmp_path: Path, bad: np.ndarray) -> None:
    with pytest.raises(RecordingError, match=r"expected uint8 \(H, W, 3\)"):
        VideoWriter(tmp_path / "v.mp4", 10).write(bad)


@pytest.mark.parametrize(("name", "rate", "reason"), [("v.avi", 10, r"\.mp4"), ("v.mp4", 0, "rate_hz is 0")])
def test_video_that_cannot_be(tmp_path: Path, name: str, rate: float, reason: str) -> None:
    with pytest.raises(RecordingError, match=reason):
        VideoWriter(tmp_path / name, rate)


@pytest.mark.parametrize(
    ("order", "channels", "encoding"),
    [("mono", 0, "mono8"), ("rgb", 3, "rgb8"), ("bgr", 3, "bgr8"), ("rgba", 4, "rgba8"), ("bgra", 4, "bgra8")],
)
def test_bag_holds_standard_messages(tmp_path: Path, order: ChannelOrder, channels: int, encoding: str) -> None:
    rows = np.random.default_rng(1).integers(0, 256, (6, 20) + ((channels,) if channels else ()), np.uint8)
    strided = rows[:, 3:11]
    with BagWriter(tmp_path / "bag", "/cam", frame_id="front") as bag:
        bag.write(Frame(strided, order, 1_500_000_000, "whatever it was"))
    with AnyReader([tmp_path / "bag"]) as reader:
        ((connection, received_ns, raw),) = list(reader.messages())
        message: Any = reader.deserialize(raw, connection.msgtype)
    assert (connection.topic, received_ns, message.encoding) == ("/cam", 1_500_000_000, encoding)
    assert (message.header.frame_id, message.header.stamp.sec, message.header.stamp.nanosec) == (
        "front",
        1,
        500_000_000,
    )
    assert (message.height, message.width, message.step) == (6, 8, 8 * max(channels, 1))
    np.testing.assert_array_equal(message.data, strided.reshape(-1))


def test_bag_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "bag").mkdir()
    with pytest.raises(RecordingError, match="cannot be written as a bag"):
        BagWriter(tmp_path / "bag", "/cam")


def test_bag_after_an_error_is_none(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), BagWriter(tmp_path / "bag", "/cam") as bag:
        bag.write(Frame(picture()))
        raise RuntimeError
    assert names_in(tmp_path) == []
    with pytest.raises(RecordingError, match="closed"):
        bag.write(Frame(picture()))
