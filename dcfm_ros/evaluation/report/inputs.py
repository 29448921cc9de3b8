"""Sources of a report: frames in their order, and the labels of those that have one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from dcfm_ros.datasets.dataset import Dataset, DatasetError
from dcfm_ros.datasets.pixels import check_ids, read_ids
from dcfm_ros.evaluation.runs import without_gap
from dcfm_ros.imaging.files import images_in
from dcfm_ros.imaging.frame import Frame
from dcfm_ros.imaging.labels import LabelSet
from dcfm_ros.recordings import Recording
from dcfm_ros.recordings.open import files_of

# The stamps of what has no clock begin at one second: no number below is a stamp.
_FIRST_STAMP = 1_000_000_000


@dataclass(frozen=True, eq=False)
class Sample:
    """One frame. label: (H, W) uint8 class ids of its size, 255 ignored, or None.

    name: where a person finds it: its file, or the seconds since the recording's first frame.
    begins_stream: whether it does not go on from the frame before.
    """

    frame: Frame
    name: str
    label: np.ndarray | None
    begins_stream: bool


class Input(Protocol):
    """Frames of one input; each `iter()` begins again.

    files, label_files: all that was read for it, in a fixed order. gaps: places where frames are known to be missing.
    """

    files: tuple[Path, ...]
    label_files: tuple[Path, ...]
    gaps: int

    def __len__(self) -> int:
        """Number of frames."""

    def __iter__(self) -> Iterator[Sample]:
        """Samples in the order of time, read when asked for."""


class RecordingInput:
    """A recording as one stream, and labels for some of its frames.

    path: where the recording lies. labels: a folder of 8-bit PNGs of class ids, named after the image (of a folder of
    images), the frame's index (000012.png, from 0) or its stamp in nanoseconds (1700000000050000000.png).
    classes: what the ids mean.

    Raises DatasetError when the folder holds no PNG, one whose name can be none of these, or one that holds no ids; and
    while iterating for labels of another size than their frame, and at the end where stamps met no frame.
    """

    def __init__(self, recording: Recording, path: Path, labels: Path | None, classes: LabelSet) -> None:
        self._recording, self._classes, self._folder = recording, classes, labels
        self.gaps = 0
        images = () if (path / "metadata.yaml").exists() else images_in(path) or images_in(path / "images")
        self._images = tuple(images)
        self.files = self._images or tuple(files_of(path))
        stems = {image.stem: index for index, image in enumerate(images)}
        self._labels = {} if labels is None else _by_number(labels, stems, len(recording))
        self.label_files = tuple(self._labels[number] for number in sorted(self._labels))
        for file in self.label_files:
            self._ids(file)  # now, and not after all the frames before it

    def __len__(self) -> int:
        return len(self._recording)

    def __iter__(self) -> Iterator[Sample]:
        met = set()
        first_ns = 0
        for index, frame in enumerate(self._recording):
            number = index if index in self._labels else frame.stamp_ns
            path = self._labels.get(number)
            met.add(number)
            first_ns = first_ns or frame.stamp_ns
            name = self._images[index].name if self._images else f"{(frame.stamp_ns - first_ns) / 1e9:.2f} s"
            yield Sample(frame, name, None if path is None else self._label(path, frame), index == 0)
        if lost := sorted(self._labels.keys() - met):
            raise DatasetError(
                f"{self._labels[lost[0]]} fits no frame of the recording, nor do {len(lost) - 1} others; expected an "
                f"index below {len(self)} or the stamp of a frame in nanoseconds"
            )

    def _label(self, path: Path, frame: Frame) -> np.ndarray:
        ids = self._ids(path)
        if ids.shape != (frame.height, frame.width):
            raise DatasetError(
                f"{path} is {ids.shape[1]}x{ids.shape[0]}; expected its frame's size, {frame.width}x{frame.height}"
            )
        return ids

    def _ids(self, path: Path) -> np.ndarray:
        ids = read_ids(path)
        check_ids(ids, path, len(self._classes))
        return ids


class DatasetInput:
    """The clips of a data set one after the other; each, and what follows a missing frame, begins a stream.

    gaps: how many places in its clips have a frame missing.

    Raises DatasetError when no frame follows another, as nothing could be reused, and as checking the labels does.
    """

    def __init__(self, dataset: Dataset) -> None:
        streams = sum(1 for clip in dataset.clips for _ in without_gap(clip))
        if 0 < streams == sum(map(len, dataset.clips)):
            raise DatasetError(
                f"no frame of {dataset.root} follows another, by the numbers in their names ({_first_names(dataset)}); "
                "expected numbers that rise by 1, or --labels, which takes the images as one clip in the order of "
                "their names (`dcfm evaluate` scores stills)"
            )
        dataset.check_labels()
        self.gaps = streams - len(dataset.clips)
        self._dataset = dataset
        self.files = tuple(path for clip in dataset.clips for path in clip.frames)
        self.label_files = tuple(clip.labels[index] for clip, index in dataset.labelled())

    def __len__(self) -> int:
        return len(self.files)

    def __iter__(self) -> Iterator[Sample]:
        for clip in self._dataset.clips:
            for first, after in without_gap(clip):
                for index in range(first, after):
                    pixels, label = self._dataset.read(clip, index)
                    yield Sample(Frame(pixels), clip.frames[index].name, label, index == first)


def _first_names(dataset: Dataset) -> str:
    paths = [path for clip in dataset.clips for path in clip.frames]
    return ", ".join(path.name for path in paths[:3]) + (", ..." if len(paths) > 3 else "")


def _by_number(folder: Path, stems: Mapping[str, int], count: int) -> dict[int, Path]:
    """Label files by the index of their frame or by its stamp."""
    files = images_in(folder)
    if not files:
        raise DatasetError(f"{folder} holds no label; expected PNGs of class ids")
    found: dict[int, Path] = {}
    for path in files:
        number = stems.get(path.stem, int(path.stem) if path.stem.isdecimal() else None)
        if path.suffix.lower() != ".png" or number is None or count <= number < _FIRST_STAMP:
            names = f"{next(iter(stems))}.png, ..., " if stems else ""
            names += f"000000.png to {count - 1:06d}.png, or <stamp in ns>.png"
            raise DatasetError(f"{path} is no label of a frame; expected {names}")
        if number in found:
            raise DatasetError(f"{path} and {found[number].name} label the same frame; expected one of them")
        found[number] = path
    return found
