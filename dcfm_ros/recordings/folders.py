"""A folder of images as a recording."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from dcfm_ros.imaging.encodings import EncodingError
from dcfm_ros.imaging.frame import Frame
from dcfm_ros.imaging.picture_files import read_picture
from dcfm_ros.recordings.recording import (
    DEFAULT_RATE_HZ,
    FIRST_STAMP_NS,
    Damaged,
    Recording,
    RecordingError,
    check_rate,
)


class FolderRecording(Recording):
    """Images in the order given, as BGR frames at a steady rate.

    Stamps begin at one second. An image of another size than the first is handed on as it is.
    Raises RecordingError with the path of an image that cannot be read; for the first image at once.
    Where damage is skipped, the next image still has its own stamp.
    """

    def __init__(
        self, name: str, images: Sequence[Path], rate_hz: float | None = None, damaged: Damaged = "raise"
    ) -> None:
        super().__init__(name, damaged)
        self._images = images
        self._rate_hz = check_rate(DEFAULT_RATE_HZ if rate_hz is None else rate_hz)
        if damaged == "raise":
            _read(self._images[0], FIRST_STAMP_NS)

    @property
    def rate_hz(self) -> float:
        return self._rate_hz

    def __len__(self) -> int:
        return len(self._images)

    def __iter__(self) -> Iterator[Frame]:
        has_any = False
        for index, path in enumerate(self._images):
            try:
                frame = _read(path, FIRST_STAMP_NS + round(index * 1e9 / self._rate_hz))
            except RecordingError as error:
                self._lose(str(error), error)
                continue
            has_any = True
            yield frame
        if not has_any:
            self._raise_without_frames()


def _read(path: Path, stamp_ns: int) -> Frame:
    try:
        return Frame(read_picture(path), "bgr", stamp_ns, "bgr8")
    except EncodingError as error:
        raise RecordingError(str(error)) from error
