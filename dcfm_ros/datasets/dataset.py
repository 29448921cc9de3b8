"""Data sets: clips of frames in order, some of which have a label.

The trainer takes the labelled frames and their neighbours, the evaluation takes the clips from front to back; both read
pixels only when they ask for them.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path

import numpy as np

from dcfm_ros.datasets.pixels import DatasetError, read_ids, read_rgb
from dcfm_ros.imaging.labels import LabelSet

_CHECKED_AT_ONCE = 4  # reading waits for the disk, and decoding has no lock
_CHECKED_IN_A_ROW = 64

__all__ = ["Clip", "Dataset", "DatasetError", "by_number", "consecutive", "read_lines"]


@dataclass(frozen=True)
class Clip:
    """Frames of one camera in the order of time. An index is a place in `frames`, from 0.

    name: as the data set calls it, or after the first frame; each data set says how. numbers: the frames' own numbers,
    rising; they tell neighbours from frames that merely follow each other in the listing. labels: index -> label file,
    for those that have one. step: how far the numbers of frames lie apart that follow each other in time.

    Raises ValueError when numbers do not fit the frames or do not rise, or a label has no frame.
    """

    name: str
    frames: tuple[Path, ...]
    numbers: tuple[int, ...]
    labels: Mapping[int, Path]
    step: int = 1

    def __post_init__(self) -> None:
        if len(self.numbers) != len(self.frames):
            raise ValueError(f"clip {self.name} has {len(self.numbers)} numbers for {len(self.frames)} frames")
        if any(after <= before for before, after in pairwise(self.numbers)):
            raise ValueError(f"the frame numbers of clip {self.name} do not rise: {self.numbers}")
        if outside := [index for index in self.labels if not 0 <= index < len(self.frames)]:
            raise ValueError(f"clip {self.name} has a label for frame {outside[0]} of {len(self.frames)}")

    @classmethod
    def of(cls, name: str, frames: Mapping[int, Path], labels: Mapping[int, Path], step: int = 1) -> Clip:
        """From frames and labels by frame number, in any order; labels of other frames are left out."""
        numbers = sorted(frames)
        indices = {index: labels[number] for index, number in enumerate(numbers) if number in labels}
        return cls(name, tuple(frames[number] for number in numbers), tuple(numbers), indices, step)

    def __len__(self) -> int:
        return len(self.frames)

    def shifted(self, index: int, offset: int) -> int | None:
        """The index of the frame `offset` frames later in time, or earlier where it is negative; None if missing."""
        return self._indices.get(self.numbers[index] + offset * self.step)

    @cached_property
    def _indices(self) -> dict[int, int]:
        return {number: index for index, number in enumerate(self.numbers)}


class Dataset(ABC):
    """Clips, and what their labels mean.

    root: the folder; labels: names and colours of the class ids; clips: those of the split, none of them empty.
    Opening one lists files and reads no pixels. A data set can be pickled, as a data loader's processes need it.
    """

    def __init__(self, root: str | os.PathLike[str], labels: LabelSet, clips: Sequence[Clip]) -> None:
        self.root = Path(root)
        self.labels = labels
        self.clips = tuple(clips)

    def labelled(self) -> list[tuple[Clip, int]]:
        """Every frame with a label, as (its clip, its index there), in the order of the clips and of time."""
        return [(clip, index) for clip in self.clips for index in sorted(clip.labels)]

    @property
    def strays(self) -> Mapping[int, int]:
        """Pixels by label, of those that should not be there and are ignored; most data sets refuse such labels."""
        return {}

    def image(self, clip: Clip, index: int) -> np.ndarray:
        """(H, W, 3) uint8 RGB. Raises DatasetError when the file is not an image."""
        return read_rgb(clip.frames[index])

    def label(self, clip: Clip, index: int) -> np.ndarray | None:
        """(H, W) uint8 class ids with 255 ignored, or None for a frame without a label.

        Raises DatasetError when the file holds no ids, or ids that the data set does not have.
        """
        path = clip.labels.get(index)
        return None if path is None else self.decode(read_ids(path), path)

    def read(self, clip: Clip, index: int) -> tuple[np.ndarray, np.ndarray | None]:
        """A frame's image and label. Raises DatasetError as those do, and when their sizes differ."""
        image, label = self.image(clip, index), self.label(clip, index)
        if label is not None and label.shape != image.shape[:2]:
            raise DatasetError(
                f"{clip.labels[index]} is {_size(label)}; expected the size of its image {clip.frames[index]}, "
                f"{_size(image)}"
            )
        return image, label

    def check_labels(self, frames: Sequence[tuple[Clip, int]] | None = None) -> None:
        """Read every label and its image, so that what is wrong with any is known before hours of work on the others.

        frames: those alone, as `labelled` gives them. Raises DatasetError as `read` does.
        """
        labelled = self.labelled() if frames is None else frames
        with ThreadPoolExecutor(_CHECKED_AT_ONCE) as pool:
            for at in range(0, len(labelled), _CHECKED_IN_A_ROW):  # not all at once: the first error ends it
                checked = pool.map(lambda frame: bool(self.read(*frame)), labelled[at : at + _CHECKED_IN_A_ROW])
                assert all(checked)  # and no picture is kept

    @abstractmethod
    def decode(self, ids: np.ndarray, path: Path) -> np.ndarray:
        """Class ids from (H, W) uint8 ids as they stand in the file `path`: the same shape, 255 ignored.

        Raises DatasetError for an id that the data set does not have.
        """


def by_number(files: Iterable[tuple[int, Path]]) -> dict[int, Path]:
    """Files by frame number. Raises DatasetError when two have the same."""
    found: dict[int, Path] = {}
    for number, path in files:
        if number in found:
            raise DatasetError(f"{path} and {found[number].name} are both frame {number}; expected each number once")
        found[number] = path
    return found


def consecutive(numbers: Iterable[int]) -> Iterator[range]:
    """The longest runs without a gap, from the smallest number on."""
    run = range(0)
    for number in sorted(numbers):
        if run and number == run.stop:
            run = range(run.start, number + 1)
            continue
        if run:
            yield run
        run = range(number, number + 1)
    if run:
        yield run


def read_lines(path: Path, expected: str) -> list[tuple[int, str]]:
    """The lines of a text file that are not blank, stripped, each with its number from 1.

    expected: what such a file says, for the message. Raises DatasetError when it is missing, no text, or blank.
    """
    try:
        text = path.read_text("utf-8-sig")
    except OSError as error:
        raise DatasetError(f"{path} cannot be read ({error.strerror}); expected {expected}") from error
    except UnicodeDecodeError as error:
        raise DatasetError(f"{path} is not UTF-8 text; expected {expected}") from error
    lines = [(number, line.strip()) for number, line in enumerate(text.splitlines(), 1) if line.strip()]
    if not lines:
        raise DatasetError(f"{path} is empty; expected {expected}")
    return lines


def _size(pixels: np.ndarray) -> str:
    return f"{pixels.shape[1]}x{pixels.shape[0]}"
