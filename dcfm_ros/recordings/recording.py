"""The interface of every recording, wherever its frames lie."""

from __future__ import annotations

import itertools
import math
import sqlite3
import statistics
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

if TYPE_CHECKING:
    from typing_extensions import Self

    from dcfm_ros.imaging.frame import Frame

Damaged = Literal["raise", "skip"]
"""The treatment of what cannot be read: an error, or a loss that is noted while the rest is read."""

DEFAULT_RATE_HZ = 10.0
"""The rate of a source that tells none: a folder of images, a bag with a single frame."""

FIRST_STAMP_NS = 1_000_000_000
"""The first stamp of a source without a clock of its own. Not zero: a zero stamp means that there is none."""


class RecordingError(ValueError):
    """A recording that cannot be read or written as asked; the message says what is wrong and what was expected."""


class RecordedFrame(NamedTuple):
    """A frame and how it was received. message: the ROS message it is in, as `rosbags` deserialises it, or None.

    received_ns: the time of receipt; the frame's stamp where the recording tells no other.
    """

    frame: Frame
    message: Any
    received_ns: int


class Recording(ABC):
    """Frames in the order they were recorded, read one at a time; each `iter()` begins again and gives equal frames.

    name: the bag's, video's or folder's own name, without a suffix.
    damaged: "raise" makes iterating raise RecordingError at the first frame that cannot be read; with "skip" all that
    can be read comes, and `losses` tells what did not. Where that is nothing, iterating raises RecordingError too.
    `close()` or leaving a `with` block frees what is held open; a closed recording is not used again.
    """

    def __init__(self, name: str, damaged: Damaged = "raise") -> None:
        self.name = name
        self._damaged = damaged
        self._losses: dict[str, None] = {}

    @property
    def losses(self) -> list[str]:
        """The losses so far: what could not be read, where, and why; complete when all frames have been read."""
        return list(self._losses)

    @property
    def frame_id(self) -> str:
        """The coordinate frame that the images are in (`header.frame_id`)."""
        return "camera"

    @property
    @abstractmethod
    def rate_hz(self) -> float:
        """Nominal frames per second: the usual distance between stamps, always positive."""

    @abstractmethod
    def __len__(self) -> int:
        """Number of frames; of a damaged recording about as many."""

    @abstractmethod
    def __iter__(self) -> Iterator[Frame]:
        """Frames with their stamps, decoded when asked for."""

    def recorded(self) -> Iterator[RecordedFrame]:
        """The same frames, with what is known of their receipt."""
        return (RecordedFrame(frame, None, frame.stamp_ns) for frame in self)

    def camera_infos(self) -> Iterator[tuple[int, Any]]:
        """Yield the time of receipt (ns) and the sensor_msgs/CameraInfo of what calibrates the images.

        Yields nothing where there is none.
        """
        return iter(())

    def close(self) -> None:  # noqa: B027 - only bags hold something open between iterations
        """Frees what is held open; may be called twice."""

    def _lose(self, what: str, cause: Exception | None = None) -> None:
        """Note what cannot be read, once; raise it as a RecordingError where damage is an error."""
        if self._damaged == "raise":
            raise RecordingError(what) from cause
        self._losses[what] = None

    def _raise_without_frames(self) -> None:
        """Where damage is skipped and nothing is left: a run over it would look like one that went well."""
        if self._losses:
            raise RecordingError(f"no frame of {self.name} can be read: {next(iter(self._losses))}")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def check_rate(rate_hz: float) -> float:
    """Gives a rate in Hz back, or raises RecordingError when it is not a positive, finite number."""
    if not (math.isfinite(rate_hz) and rate_hz > 0):
        raise RecordingError(f"rate_hz is {rate_hz}; expected a positive number of frames per second")
    return float(rate_hz)


@contextmanager
def written(path: Path) -> Iterator[None]:
    """What cannot be written to `path` is a RecordingError that names it, as a full disk's error does not."""
    try:
        yield
    except (OSError, sqlite3.Error) as error:
        raise RecordingError(f"{path} cannot be written: {error}") from error


def nominal_rate(stamps_ns: Sequence[int]) -> float:
    """Rate in Hz from the median difference of stamps (ns); DEFAULT_RATE_HZ where there is no difference to see."""
    differences = [later - earlier for earlier, later in itertools.pairwise(stamps_ns) if later > earlier]
    return 1e9 / statistics.median(differences) if differences else DEFAULT_RATE_HZ
