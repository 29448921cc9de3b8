"""Videos: frames, stamps, counts, and files that are none."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from recording_types import MakeFrames

from dcfm_ros.imaging.encodings import to_rgb
from dcfm_ros.recordings import RecordingError, open_recording, videos
from dcfm_ros.recordings.writers import VideoWriter


class Capture:
    """OpenCV's capture with answers of ours; its own class crashes the interpreter when it is inherited from."""

    def __init__(self, path: str, answers: dict[int, float], read: list[int]) -> None:
        self._capture = cv2.VideoCapture(path)
        self._answers = answers
        self._read = read

    def get(self, what: int) -> float:
        return self._answers.get(what, self._capture.get(what))

    def read(self) -> tuple[bool, np.ndarray]:
        self._read.append(1)
        return self._capture.read()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._capture, name)


class OpenCV:
    """The module `cv2` as `videos` sees it, whose captures give `answers`."""

    def __init__(self, answers: dict[int, float] | None = None) -> None:
        self.answers = answers or {}
        self.read: list[int] = []

    def VideoCapture(self, path: str) -> Capture:
        return Capture(path, self.answers, self.read)

    def __getattr__(self, name: str) -> Any:
        return getattr(cv2, name)


@pytest.fixture
def video(tmp_path: Path, make_frames: MakeFrames) -> Path:
    """Twelve frames of 32x24 at 25 Hz."""
    with VideoWriter(tmp_path / "clip.mp4", 25) as writer:
        for frame in make_frames(12):
            writer.write(to_rgb(frame))
    return tmp_path / "clip.mp4"


def test_frames_stamps_and_rate(video: Path, make_frames: MakeFrames) -> None:
    with open_recording(video) as recording:
        assert (recording.name, len(recording), recording.rate_hz) == ("clip", 12, pytest.approx(25))
        frames = list(recording)
    assert [f.stamp_ns for f in frames] == [1_000_000_000 + i * 40_000_000 for i in range(12)]
    assert {(f.order, f.encoding, f.pixels.shape) for f in frames} == {("bgr", "bgr8", (24, 32, 3))}
    for read, written in zip(frames, make_frames(12), strict=True):
        assert np.abs(read.pixels.astype(int) - written.pixels).mean() < 8


def test_iterating_again_gives_equal_frames(video: Path) -> None:
    recording = open_recording(video)
    for one, two in zip(recording, recording, strict=True):
        assert one.stamp_ns == two.stamp_ns
        np.testing.assert_array_equal(one.pixels, two.pixels)


def test_frames_are_decoded_when_asked_for(video: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opencv = OpenCV()
    monkeypatch.setattr(videos, "cv2", opencv)
    frames = iter(open_recording(video))
    next(frames)
    next(frames)
    assert len(opencv.read) == 2


def test_given_rate_replaces_the_videos_own(video: Path) -> None:
    recording = open_recording(video, rate_hz=7.5)
    assert recording.rate_hz == 7.5
    assert [f.stamp_ns for f in recording][:3] == [1_000_000_000, 1_133_333_333, 1_266_666_667]


def test_changing_frame_rate_is_kept_and_a_standing_clock_is_not(video: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    positions = iter([80, 120, 200, 200, 0, 400, *[401] * 6])
    monkeypatch.setattr(videos, "_position_ns", lambda capture: next(positions) * 1_000_000)
    stamps = [f.stamp_ns // 1_000_000 for f in open_recording(video)]
    assert stamps[:6] == [1000, 1040, 1120, 1160, 1200, 1320]
    assert all(later > earlier for earlier, later in itertools.pairwise(stamps))


def test_rate_that_is_a_clocks_is_measured_instead(video: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(videos, "cv2", OpenCV({cv2.CAP_PROP_FPS: 90_000.0}))
    assert open_recording(video).rate_hz == pytest.approx(25)


@pytest.mark.parametrize("told", [0, -5, 11, 13, 5000])
def test_count_is_verified(video: Path, monkeypatch: pytest.MonkeyPatch, told: int) -> None:
    monkeypatch.setattr(videos, "cv2", OpenCV({cv2.CAP_PROP_FRAME_COUNT: float(told)}))
    assert len(open_recording(video)) == 12


def test_cut_video_counts_what_can_be_read(cut_video: Path) -> None:
    recording = open_recording(cut_video)
    assert 1 <= len(recording) < 30
    assert len(list(recording)) == len(recording)


@pytest.mark.parametrize("content", [b"", b"not a video\n" * 300, bytes(5000)])
def test_file_that_is_no_video(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "clip.mp4"
    path.write_bytes(content)
    with pytest.raises(RecordingError, match=r"clip\.mp4 is not a video that OpenCV can read"):
        open_recording(path)


def test_a_codec_that_opencv_does_not_decode_is_named(tmp_path: Path, make_frames: MakeFrames) -> None:
    path = tmp_path / "clip.mp4"
    with VideoWriter(path, 10) as writer:
        for frame in make_frames():
            writer.write(to_rgb(frame))
    content = path.read_bytes()
    assert content.count(b"stsd") == 1
    at = content.index(b"stsd") + 16  # behind version, count and size: the codec of the samples
    # Its details, which name MPEG-4 again, become a box that readers pass over.
    path.write_bytes((content[:at] + b"av01" + content[at + 4 :]).replace(b"esds", b"free"))
    with pytest.raises(RecordingError, match=r"clip\.mp4 is a video of the codec (av01|AV01), .* decodes no frame"):
        open_recording(path)


def test_video_has_no_topics(video: Path) -> None:
    with pytest.raises(RecordingError, match="has no topics"):
        open_recording(video, topic="/camera")


@pytest.mark.parametrize("rate", [0, -1, float("nan"), float("inf")])
def test_rate_that_is_none(video: Path, rate: float) -> None:
    with pytest.raises(RecordingError, match="expected a positive number"):
        open_recording(video, rate_hz=rate)
