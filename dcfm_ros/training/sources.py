"""What pairs are drawn from: the labelled frames of a data set, and the frames around them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fnmatch import fnmatch
from typing import Literal, get_args

import numpy as np

from dcfm_ros.datasets.dataset import Clip, Dataset
from dcfm_ros.imaging.frame import Frame
from dcfm_ros.imaging.geometry import mask_to_size, network_size, resize_to_network
from dcfm_ros.model import ModelConfig

Direction = Literal["both", "past"]
Picture = Literal["network", "source"]

_MOST_KEPT = 2000
"""How many frames a source keeps decoded: 1 GB at 360x480. A larger data set is read again each time."""


class Source:
    """The labelled frames of a data set, each with its neighbours.

    max_distance: how many frames away a neighbour may be, each distance from 1 up as often; 0 where frames are not
    consecutive, and the neighbour is the same picture seen by a camera that moved. hold_out: stems (a glob pattern)
    that are never trained on, nor are they neighbours. direction: where neighbours lie; "both", before or after with
    even chances, is the published recipe; "past" is what a robot does, whose keyframes are older than the frame.
    picture: the size that frames are brought to, the "network"'s input or their own, as in the "source".

    Raises ValueError when nothing is left, for a negative distance, or an unknown direction or picture.
    """

    def __init__(
        self,
        dataset: Dataset,
        config: ModelConfig,
        max_distance: int,
        hold_out: str = "",
        direction: Direction = "both",
        picture: Picture = "network",
    ) -> None:
        if max_distance < 0:
            raise ValueError(f"{dataset.root}: max_distance is {max_distance}; expected at least 0")
        for name, value, kind in (("direction", direction, Direction), ("picture", picture, Picture)):
            if value not in get_args(kind):
                raise ValueError(f"{dataset.root}: {name} is {value!r}; expected one of {', '.join(get_args(kind))}")
        self.max_distance = max_distance
        self.direction = direction
        self._dataset = dataset
        self._config = config
        self._hold_out = hold_out
        self._picture = picture
        self._frames = [(clip, index) for clip, index in dataset.labelled() if not self._is_held_out(clip, index)]
        if not self._frames:
            raise ValueError(f"{dataset.root}: hold_out={hold_out!r} leaves no frame to train on")
        self._keeps = sum(len(clip) for clip in dataset.clips) <= _MOST_KEPT
        self._kept: dict[tuple[str, int], tuple[np.ndarray, np.ndarray | None]] = {}

    def __len__(self) -> int:
        """Number of labelled frames."""
        return len(self._frames)

    def labelled(self, at: int) -> tuple[np.ndarray, np.ndarray]:
        """One of them: (H, W, 3) uint8 RGB and (H, W) uint8 ids, 255 unlabelled."""
        image, label = self._read(*self._frames[at])
        assert label is not None
        return image, label

    def labels(self) -> Iterator[np.ndarray]:
        """The labels of all, one after the other."""
        return (self.labelled(at)[1] for at in range(len(self)))

    def neighbour(self, at: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray | None]:
        """A frame 1 to `max_distance` frames away in its clip, each distance and side as often: (H, W, 3) uint8 RGB,
        and its (H, W) uint8 ids, None where it has no label.

        Where that frame is missing (the end of a clip, or held out): "both" takes the one as far on the other side,
        else the closest; "past" the closest before, else the closest after. The frame itself where there is none.
        """
        clip, index = self._frames[at]
        reach = self.max_distance
        distance = int(rng.integers(1, reach + 1))
        side = 1 if rng.random() < 0.5 else -1  # drawn for "past" too, so that the rest of a pair stays the same
        before, after = range(-1, -reach - 1, -1), range(1, reach + 1)
        if self.direction == "past":
            wanted = [-distance, *before, *after, 0]
        else:
            wanted = [side * distance, -side * distance, *sorted([*before, *after], key=abs), 0]
        others = (clip.shifted(index, offset) for offset in wanted)
        other = next(i for i in others if i is not None and not self._is_held_out(clip, i))
        return self._read(clip, other)

    def _is_held_out(self, clip: Clip, index: int) -> bool:
        return bool(self._hold_out) and fnmatch(clip.frames[index].stem, self._hold_out)

    def _read(self, clip: Clip, index: int) -> tuple[np.ndarray, np.ndarray | None]:
        key = (clip.name, index)
        if key in self._kept:
            return self._kept[key]
        image, label = self._dataset.read(clip, index)
        if self._picture == "network":
            size = network_size(image.shape[0], image.shape[1], self._config.input_size, self._config.size_multiple)
            image = resize_to_network(Frame(image), size)
            label = None if label is None else mask_to_size(label, size)
        if self._keeps:
            self._kept[key] = image, label
        return image, label


def class_frequencies(sources: Sequence[Source], shares: Sequence[float], classes: int) -> np.ndarray:
    """(classes,) float64: how much of the labelled area each class has when sources are drawn by their shares.

    Raises ValueError when no source has a labelled pixel.
    """
    total = np.zeros(classes)
    for source, share in zip(sources, shares, strict=True):
        counts = sum(np.bincount(label.ravel(), minlength=256)[:classes] for label in source.labels())
        total += share * counts / max(np.sum(counts), 1)
    if not total.any():
        raise ValueError("no frame of any source has a labelled pixel; expected class ids in the labels")
    return total / total.sum()
