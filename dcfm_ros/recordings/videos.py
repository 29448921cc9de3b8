"""A video file as a recording, through OpenCV."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path

import cv2

from dcfm_ros.imaging.frame import Frame
from dcfm_ros.recordings.recording import FIRST_STAMP_NS, Damaged, Recording, RecordingError, check_rate, nominal_rate

_MOST_HZ = 480.0  # above it, a container tells the ticks of its clock and not a camera's rate
_FRAMES_FOR_RATE = 100


class VideoRecording(Recording):
    """A video's frames as BGR.

    Stamps are the positions the container gives (so a changing frame rate is kept), the first at one second; a position
    that does not advance is replaced by one period after the last. With `rate_hz` they are evenly spaced instead.

    A video that was cut ends where it can be read no further. Where damage is skipped that is a loss, if its container
    tells a count of frames; it is never an error, for many tell a wrong one.

    Raises RecordingError when OpenCV cannot read a first frame.
    """

    def __init__(self, path: Path, rate_hz: float | None = None, damaged: Damaged = "raise") -> None:
        super().__init__(path.stem, damaged)
        self._path = path
        self._given_rate = None if rate_hz is None else check_rate(rate_hz)
        with self._capture() as capture:
            if not capture.grab():
                raise RecordingError(f"{path} {_why_unreadable(capture)}")

    @cached_property
    def rate_hz(self) -> float:
        if self._given_rate is not None:
            return self._given_rate
        with self._capture() as capture:
            told = capture.get(cv2.CAP_PROP_FPS)
            if 0 < told <= _MOST_HZ:
                return float(told)
            positions: list[int] = []
            while len(positions) < _FRAMES_FOR_RATE and capture.grab():
                positions.append(_position_ns(capture))
        return nominal_rate(positions)

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Frame]:
        with self._capture() as capture:
            clock = _Clock(self.rate_hz, even=self._given_rate is not None)
            told = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
            count = 0
            while True:
                read, pixels = capture.read()
                if not read:
                    break
                count += 1
                yield Frame(pixels, "bgr", clock.stamp(_position_ns(capture)), "bgr8")
        if count < told and self._damaged == "skip":
            self._lose(f"{self._path.name} tells of {told} frames, and {count} can be read")

    @cached_property
    def _count(self) -> int:
        """The container's own count where the last frame proves it, else a count of what can be read."""
        with self._capture() as capture:
            told = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
            if told > 0 and capture.set(cv2.CAP_PROP_POS_FRAMES, told - 1) and capture.grab() and not capture.grab():
                return told
        with self._capture() as capture:
            count = 0
            while capture.grab():
                count += 1
        return count

    @contextmanager
    def _capture(self) -> Iterator[cv2.VideoCapture]:
        capture = cv2.VideoCapture(str(self._path.absolute()))  # else what stands before a colon is a protocol
        # Rows as they are stored, as of pictures in files and messages, whatever way up a player would show them.
        capture.set(cv2.CAP_PROP_ORIENTATION_AUTO, 0)
        try:
            yield capture
        finally:
            capture.release()


def _why_unreadable(capture: cv2.VideoCapture) -> str:
    """OpenCV's wheels open a container, and count its frames, of codecs that they cannot decode, such as AV1."""
    told = int(capture.get(cv2.CAP_PROP_FOURCC)) if capture.isOpened() else 0
    codec = max(told, 0).to_bytes(4, "little").decode("ascii", "replace").strip("\0 ")
    if not (codec and codec.isprintable()):
        return "is not a video that OpenCV can read"
    return (
        f"is a video of the codec {codec}, of which OpenCV {cv2.__version__} decodes no frame; expected one that it "
        "decodes: ffmpeg -i IN -c:v libx264 OUT.mp4"
    )


class _Clock:
    """Turns positions in a video into stamps that always advance."""

    def __init__(self, rate_hz: float, even: bool) -> None:
        self._period_ns = 1e9 / rate_hz
        self._even = even
        self._index = 0
        self._first_position = 0
        self._last = 0

    def stamp(self, position_ns: int) -> int:
        if self._index == 0:
            self._first_position = position_ns
        if self._even:
            stamp = FIRST_STAMP_NS + round(self._index * self._period_ns)
        else:
            stamp = FIRST_STAMP_NS + position_ns - self._first_position
            if stamp <= self._last:
                stamp = self._last + round(self._period_ns)
        self._index += 1
        self._last = stamp
        return stamp


def _position_ns(capture: cv2.VideoCapture) -> int:
    return round(capture.get(cv2.CAP_PROP_POS_MSEC) * 1e6)
