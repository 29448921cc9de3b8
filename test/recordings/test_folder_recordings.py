"""Folders of images, and the way in for paths that hold nothing."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from recording_types import MakeFrames

from dcfm_ros.imaging.files import _natural
from dcfm_ros.imaging.frame import Frame
from dcfm_ros.recordings import RecordingError, open_recording


def write_images(folder: Path, frames: Sequence[Frame], name: str = "frame{}.png") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for index, frame in enumerate(frames):
        cv2.imwrite(str(folder / name.format(index)), frame.pixels)
    return folder


def test_frames_in_natural_order_with_stamps(tmp_path: Path, make_frames: MakeFrames) -> None:
    frames = make_frames(12)
    with open_recording(write_images(tmp_path / "town", frames)) as recording:
        assert (recording.name, len(recording), recording.rate_hz) == ("town", 12, 10.0)
        read = list(recording)
        again = list(recording)
    assert [f.stamp_ns for f in read] == [1_000_000_000 + i * 100_000_000 for i in range(12)]
    assert {(f.order, f.encoding) for f in read} == {("bgr", "bgr8")}
    for one, two, written in zip(read, again, frames, strict=True):
        np.testing.assert_array_equal(one.pixels, written.pixels)
        np.testing.assert_array_equal(two.pixels, written.pixels)


def test_rate_given(tmp_path: Path, make_frames: MakeFrames) -> None:
    recording = open_recording(write_images(tmp_path, make_frames(4)), rate_hz=30)
    assert recording.rate_hz == 30
    assert [f.stamp_ns - 1_000_000_000 for f in recording] == [0, 33_333_333, 66_666_667, 100_000_000]


@pytest.mark.parametrize("suffix", ["png", "jpg", "jpeg", "bmp", "PNG", "JPG"])
def test_kinds_of_images(tmp_path: Path, make_frames: MakeFrames, suffix: str) -> None:
    recording = open_recording(write_images(tmp_path, make_frames(2), "{}." + suffix))
    assert [f.pixels.shape for f in recording] == [(24, 32, 3)] * 2


def test_other_files_are_left_out(tmp_path: Path, make_frames: MakeFrames) -> None:
    write_images(tmp_path, make_frames(2))
    (tmp_path / "notes.txt").write_text("notes")
    (tmp_path / "._frame0.png").write_bytes(b"what macOS leaves")
    (tmp_path / "folder.png").mkdir()
    assert len(open_recording(tmp_path)) == 2


def test_images_in_a_subfolder(tmp_path: Path, make_frames: MakeFrames) -> None:
    write_images(tmp_path / "town" / "images", make_frames(3))
    write_images(tmp_path / "town" / "labels", make_frames(5))
    recording = open_recording(tmp_path / "town")
    assert (recording.name, len(recording)) == ("town", 3)


def test_grey_images_and_alpha_become_bgr(tmp_path: Path, make_frames: MakeFrames) -> None:
    (grey,) = make_frames(1, order="mono")
    cv2.imwrite(str(tmp_path / "0.png"), grey.pixels)
    cv2.imwrite(str(tmp_path / "1.png"), cv2.cvtColor(grey.pixels, cv2.COLOR_GRAY2BGRA))
    for frame in open_recording(tmp_path):
        np.testing.assert_array_equal(frame.pixels, np.dstack([grey.pixels] * 3))


def test_image_of_another_size_is_handed_on(tmp_path: Path, make_frames: MakeFrames) -> None:
    write_images(tmp_path, make_frames(2))
    write_images(tmp_path, make_frames(1, (10, 20)), "frame9{}.png")
    assert [f.pixels.shape[:2] for f in open_recording(tmp_path)] == [(24, 32), (24, 32), (10, 20)]


def test_images_are_read_when_asked_for(tmp_path: Path, make_frames: MakeFrames) -> None:
    recording = open_recording(write_images(tmp_path, make_frames(5)))
    frames = iter(recording)
    next(frames)
    for path in list(tmp_path.iterdir()):
        cv2.imwrite(str(path), np.zeros((24, 32, 3), np.uint8))
    assert not next(frames).pixels.any()


def test_unreadable_first_image_is_told_at_once(tmp_path: Path) -> None:
    for index in range(3):
        (tmp_path / f"{index}.png").write_bytes(b"no image")
    with pytest.raises(RecordingError, match=r"0\.png cannot be read as an image"):
        open_recording(tmp_path)


@pytest.mark.parametrize("content", [b"", b"no image"])
def test_unreadable_later_image_is_told_with_its_path(tmp_path: Path, make_frames: MakeFrames, content: bytes) -> None:
    (write_images(tmp_path, make_frames(4)) / "frame2.png").write_bytes(content)
    frames = iter(open_recording(tmp_path))
    next(frames)
    next(frames)
    with pytest.raises(RecordingError, match=r"frame2\.png cannot be read as an image"):
        next(frames)


def test_folder_without_anything(tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match="has nothing to read; expected a bag or images"):
        open_recording(tmp_path)
    (tmp_path / "notes.txt").write_text("notes")
    (tmp_path / "images").mkdir()
    with pytest.raises(RecordingError, match="has nothing to read"):
        open_recording(tmp_path)


def test_path_that_is_missing(tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match="gone does not exist"):
        open_recording(tmp_path / "gone")


@pytest.mark.parametrize("name", ["notes.txt", "noname", "single.png", "points.pcd"])
def test_file_of_another_kind(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("text " * 200)
    with pytest.raises(RecordingError, match=f"{name} is not a recording; expected a bag"):
        open_recording(tmp_path / name)


@pytest.mark.parametrize("rate", [0, -3.0, float("nan")])
def test_rate_that_is_none(tmp_path: Path, make_frames: MakeFrames, rate: float) -> None:
    with pytest.raises(RecordingError, match="expected a positive number"):
        open_recording(write_images(tmp_path, make_frames(1)), rate_hz=rate)


def test_folder_has_no_topics(tmp_path: Path, make_frames: MakeFrames) -> None:
    with pytest.raises(RecordingError, match="has no topics"):
        open_recording(write_images(tmp_path, make_frames(1)), topic="/camera")


@given(st.lists(st.integers(0, 10**9), min_size=2, unique=True), st.sampled_from(["", "a", "cam_1_"]))
def test_natural_order_is_that_of_numbers(numbers: list[int], prefix: str) -> None:
    paths = [Path(f"{prefix}{number}.png") for number in numbers]
    assert sorted(paths, key=_natural) == [Path(f"{prefix}{number}.png") for number in sorted(numbers)]


def test_natural_order_of_mixed_names() -> None:
    names = ["1.png", "2.jpg", "10.png", "a.png", "a1.png", "A2.png", "a10.png", "b1_9.png", "b1_10.png"]
    assert [p.name for p in sorted(map(Path, reversed(names)), key=_natural)] == names


def test_the_package_loads_without_opencv_and_rosbags() -> None:
    code = "import sys, dcfm_ros.recordings; print({'cv2', 'rosbags', 'numpy'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set()\n"


def test_folders_and_videos_do_without_rosbags(tmp_path: Path, make_frames: MakeFrames) -> None:
    write_images(tmp_path, make_frames(2))
    code = (
        "import sys; sys.modules['rosbags'] = None\n"
        "from dcfm_ros.recordings import open_recording, videos\n"
        "from dcfm_ros.recordings.writers import MaskWriter, VideoWriter\n"
        f"print(len(list(open_recording({str(tmp_path)!r}))))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "2\n"
