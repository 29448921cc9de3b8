"""Masks, videos and bags, written so that what is there under its name is whole."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Literal

import numpy as np

from dcfm_ros.files import whole_file
from dcfm_ros.imaging.frame import Frame
from dcfm_ros.recordings.recording import RecordingError, check_rate, written

if TYPE_CHECKING:
    import cv2
    from typing_extensions import Self


class _Writer:
    """Closes at the end of a `with` block; after an error, drops what is unfinished."""

    def close(self) -> None: ...

    def discard(self) -> None: ...

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:
            self.discard()


class MaskWriter(_Writer):
    """Writes class ids as `000000.png`, `000001.png`, ... into a folder, made when missing.

    PNG because JPEG would change ids.
    """

    def __init__(self, folder: str | Path) -> None:
        self._folder = Path(folder)
        _make_folder(self._folder)

    def write(self, index: int, mask: np.ndarray) -> Path:
        """Writes one mask, (H, W) uint8 class ids, in place of what its index had; gives its path back.

        Raises RecordingError when the mask is of another kind, the index negative, or the file cannot be written.
        """
        from dcfm_ros.imaging.compressed import encode_png

        if index < 0:
            raise RecordingError(f"the mask's index is {index}; expected 0 or more")
        if mask.dtype != np.uint8 or mask.ndim != 2 or mask.size == 0:
            raise RecordingError(f"the mask is {mask.dtype} {mask.shape}; expected uint8 (H, W)")
        path = self._folder / f"{index:06d}.png"
        encoded = encode_png(mask)
        with written(path), whole_file(path) as partial:
            partial.write_bytes(encoded)
        return path


class VideoWriter(_Writer):
    """Writes an mp4 (MPEG-4 Part 2, OpenCV's `mp4v`: no encoder of its own licence is needed).

    The first frame gives the size. Chroma is stored at half the size, so sides must be even: an odd last row or column
    is cropped (padding would show a seam). Frames of another size are resized to the first's. The file appears under
    its name at `close()`; without frames, or after an error inside `with`, there is none.

    Raises RecordingError when the name does not end in .mp4, the rate is not positive or nothing can be written there.
    """

    def __init__(self, path: str | Path, rate_hz: float) -> None:
        self._path = Path(path)
        if self._path.suffix.lower() != ".mp4":
            raise RecordingError(f"the video's name is {self._path.name!r}; expected one that ends in .mp4")
        self._rate_hz = check_rate(rate_hz)
        _make_folder(self._path.parent)
        self._unfinished = unfinished(self._path)
        self._video: cv2.VideoWriter | None = None
        self._size = (0, 0)
        self._count = 0
        self._closed = False

    def write(self, rgb: np.ndarray) -> None:
        """Appends a picture, (H, W, 3) uint8 RGB; raises RecordingError for another kind or after `close()`."""
        import cv2

        if self._closed:
            raise RecordingError(f"{self._path} is closed; expected pictures before that")
        if rgb.dtype != np.uint8 or rgb.ndim != 3 or rgb.shape[2] != 3 or min(rgb.shape[:2]) < 2:
            raise RecordingError(f"the picture is {rgb.dtype} {rgb.shape}; expected uint8 (H, W, 3) of 2x2 or more")
        bgr = cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR)
        if self._video is None:
            self._size = (rgb.shape[1], rgb.shape[0])
            self._video = self._begin()
        if bgr.shape[:2] != self._size[::-1]:
            bgr = cv2.resize(bgr, self._size, interpolation=cv2.INTER_AREA)
        width, height = self._even_size()
        self._video.write(np.ascontiguousarray(bgr[:height, :width]))
        self._count += 1

    def close(self) -> None:
        """Finishes the file and gives it its name; may be called twice. Raises RecordingError where it is cut."""
        self._closed = True
        if self._video is None:
            return
        self._release()
        if (told := self._count_told()) != self._count:
            self.discard()
            raise RecordingError(
                f"{self._path} cannot be written: the file has {told} of {self._count} pictures; is the disk full?"
            )
        with written(self._path):
            self._unfinished.replace(self._path)

    def discard(self) -> None:
        """Drops what was written."""
        self._closed = True
        self._release()
        self._unfinished.unlink(missing_ok=True)

    def _begin(self) -> cv2.VideoWriter:
        import cv2

        fourcc = cv2.VideoWriter.fourcc(*"mp4v")
        # FFmpeg takes what stands before a colon for a protocol, but not in an absolute path.
        video = cv2.VideoWriter(str(self._unfinished.absolute()), fourcc, self._rate_hz, self._even_size())
        if not video.isOpened():
            raise RecordingError(f"{self._path} cannot be written; expected a writable folder and an OpenCV with mp4v")
        return video

    def _even_size(self) -> tuple[int, int]:
        return self._size[0] // 2 * 2, self._size[1] // 2 * 2

    def _count_told(self) -> int:
        """What the file says of itself: OpenCV passes over what a full disk refuses, and the count is written last."""
        import cv2

        reader = cv2.VideoCapture(str(self._unfinished.absolute()))
        count = int(reader.get(cv2.CAP_PROP_FRAME_COUNT)) if reader.isOpened() else 0
        reader.release()
        return max(count, 0)

    def _release(self) -> None:
        if self._video is not None:
            self._video.release()
            self._video = None


class TableWriter(_Writer):
    """Writes a CSV file, a row at a time, so that an unfinished one has all rows but the last few.

    The file appears under its name at `close()`; until then it is `unfinished(path)`, and stays that after an error.
    """

    def __init__(self, path: Path, columns: Sequence[str]) -> None:
        _make_folder(path.parent)
        self._path = path
        self._file = unfinished(path).open("w", newline="")
        self._table = csv.DictWriter(self._file, columns)
        self._table.writeheader()

    def write(self, row: Mapping[str, object]) -> None:
        """Appends a row, a value for each column; raises RecordingError when it cannot be written."""
        with written(self._path):
            self._table.writerow(row)
            self._file.flush()

    def close(self) -> None:
        """Gives the file its name; may be called twice."""
        if not self._file.closed:
            with written(self._path):
                self._file.close()
                unfinished(self._path).replace(self._path)

    def discard(self) -> None:
        """Leaves what was written as it is."""
        with suppress(OSError):  # of what could not be written, which has been told
            self._file.close()


class BagWriter(_Writer):
    """Writes frames as sensor_msgs/msg/Image into a new rosbag2 folder.

    path: a folder that must not exist yet. storage: sqlite3 or mcap.
    The encoding written is that of the frame's pixels as they lie, and the time of receipt is the frame's stamp.
    After an error inside `with` the folder is removed.

    Raises RecordingError when the folder cannot be made.
    """

    def __init__(
        self,
        path: str | Path,
        topic: str,
        frame_id: str = "camera",
        storage: Literal["sqlite3", "mcap"] = "sqlite3",
    ) -> None:
        from dcfm_ros.recordings.message_bag import MessageBag

        self._path = Path(path)
        self._topic = topic
        self._frame_id = frame_id
        self._bag: MessageBag | None = MessageBag(self._path, storage)
        self._bag.add_topic(topic, "sensor_msgs/msg/Image")

    def write(self, frame: Frame) -> None:
        """Appends a frame; raises RecordingError when the bag is closed."""
        if self._bag is None:
            raise RecordingError("the bag is closed; expected frames before that")
        self._bag.write_image(self._topic, frame.stamp_ns, self._frame_id, frame.pixels, frame.order)

    def close(self) -> None:
        """Finishes the bag, or removes it where it cannot be; may be called twice."""
        bag, self._bag = self._bag, None
        if bag is not None:
            try:
                bag.close()
            except RecordingError:
                shutil.rmtree(self._path, ignore_errors=True)
                raise

    def discard(self) -> None:
        """Removes what was written."""
        if self._bag is not None:
            with suppress(RecordingError):
                self.close()
            shutil.rmtree(self._path, ignore_errors=True)


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RecordingError(f"{folder} cannot be made a folder: {error}") from error


def unfinished(path: Path) -> Path:
    """A hidden name beside the final one, with its suffix: OpenCV chooses the format by that."""
    return path.with_name(f".{path.stem}.unfinished{path.suffix}")
