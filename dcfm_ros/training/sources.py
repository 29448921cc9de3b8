"""Sources of training pairs: the labelled frames of a data set, and the frames around them."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from fnmatch import fnmatch
from pathlib import Path
from typing import Literal, NamedTuple, get_args

import numpy as np

from dcfm_ros.datasets.dataset import Clip, Dataset, DatasetError
from dcfm_ros.imaging.frame import Frame
from dcfm_ros.imaging.geometry import mask_to_size, network_size, resize_to_network
from dcfm_ros.model import ModelConfig

Direction = Literal["both", "past"]
Picture = Literal["network", "source"]

KEPT_BYTES = 1_500_000_000
"""How much a training process keeps decoded, with all its sources and workers: 2000 frames of 360x480 take it."""

_LABELS_LOOKED_AT = 1000
"""For what is wrong with them and classes that lack, spread over all: seconds, where the largest data set's labels take
a quarter of an hour.
"""

log = logging.getLogger(__name__)


class Shot(NamedTuple):
    """A frame as it is drawn: (H, W, 3) uint8 RGB and its (H, W) uint8 ids, 255 unlabelled, None without a label."""

    image: np.ndarray
    label: np.ndarray | None


class Neighbour(NamedTuple):
    """Another frame of a clip. between: pictures of the frames that lie between, from the labelled one's side on."""

    shot: Shot
    between: list[np.ndarray]


class Source:
    """The labelled frames of a data set, each with its neighbours.

    max_distance: how many frames away a neighbour may be, each distance from 1 up as often; 0 where frames are not
    consecutive, and the neighbour is the same picture seen by a camera that moved. hold_out: stems (a glob pattern)
    that are never trained on, nor are they neighbours. direction: where neighbours lie; "both", before or after with
    even chances, is the published recipe; "past" is what a robot does, whose keyframes are older than the frame.
    picture: the size that frames are resized to, the "network"'s input or their own, as in the "source".
    keep_bytes: how much of what was decoded is kept; what comes after that is read again each time.

    Raises ValueError when nothing is left, for a negative distance, or an unknown direction or picture, and
    DatasetError for labels and images that cannot be used: all of a thousand, and as many of what is larger.
    """

    def __init__(
        self,
        dataset: Dataset,
        config: ModelConfig,
        max_distance: int,
        hold_out: str = "",
        direction: Direction = "both",
        picture: Picture = "network",
        keep_bytes: int = KEPT_BYTES,
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
        looked_at = self._frames[:: -(-len(self._frames) // _LABELS_LOOKED_AT)]
        dataset.check_labels(looked_at)
        self._tell_of_classes_that_lack(looked_at)
        self._kept: dict[Path, Shot] = {}
        self._may_keep = keep_bytes
        if max_distance:
            self._tell_of_frames_without_a_neighbour()

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

    def pair(self, at: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, Neighbour | None]:
        """One of them, image and label as in `labelled`, and its neighbour.

        The neighbour is a frame 1 to `max_distance` frames away in its clip, each distance and side as often. Where
        that frame is missing (the end of a clip, or held out): "both" takes the one as far on the other side, else the
        closest; "past" the closest before, else the closest after. None where there is none at all, and for a
        `max_distance` of 0, where nothing is drawn from `rng`.

        Raises DatasetError when the two frames are of different sizes: one crop cannot be cut out of both.
        """
        clip, index = self._frames[at]
        image, label = self.labelled(at)
        if not self.max_distance:
            return image, label, None
        distance = int(rng.integers(1, self.max_distance + 1))
        side = 1 if rng.random() < 0.5 else -1  # drawn for "past" too, so that the rest of a pair stays the same
        other = self._neighbour_of(clip, index, -distance if self.direction == "past" else side * distance)
        if other is None:
            return image, label, None
        neighbour = self._read(clip, other)
        if neighbour.image.shape != image.shape:
            (height, width), (other_height, other_width) = image.shape[:2], neighbour.image.shape[:2]
            raise DatasetError(
                f"{clip.frames[index]} goes in as {width}x{height} and its neighbour {clip.frames[other]} as "
                f"{other_width}x{other_height}; expected one size in a clip, or max_distance: 0"
            )
        return image, label, Neighbour(neighbour, self._between(clip, index, other))

    def _between(self, clip: Clip, index: int, other: int) -> list[np.ndarray]:
        step = 1 if other > index else -1
        return [self._read(clip, at).image for at in range(index + step, other, step)]

    def _neighbour_of(self, clip: Clip, index: int, wanted: int) -> int | None:
        """The index of the frame `wanted` frames later, or of what `pair` takes where that one is missing."""
        before, after = range(-1, -self.max_distance - 1, -1), range(1, self.max_distance + 1)
        if self.direction == "past":
            offsets = [wanted, *before, *after]
        else:
            offsets = [wanted, -wanted, *sorted([*before, *after], key=abs)]
        others = (clip.shifted(index, offset) for offset in offsets)
        return next((i for i in others if i is not None and not self._is_held_out(clip, i)), None)

    def _tell_of_classes_that_lack(self, looked_at: Sequence[tuple[Clip, int]]) -> None:
        """Log the classes that no label has: nothing can be learnt of them, and their IoU says nothing."""
        missing = set(range(len(self._dataset.labels)))
        for clip, index in looked_at:
            label = self._dataset.label(clip, index)
            missing -= set() if label is None else set(np.unique(label).tolist())
            if not missing:
                return
        log.warning(
            "%s: no pixel of %s in the %d labels looked at of %d; expected each class to occur, as it cannot be learnt "
            "otherwise",
            self._dataset.root,
            ", ".join(self._dataset.labels.names[index] for index in sorted(missing)),
            len(looked_at),
            len(self._frames),
        )

    def _tell_of_frames_without_a_neighbour(self) -> None:
        alone = sum(self._neighbour_of(clip, index, 1) is None for clip, index in self._frames)
        if alone:
            log.info(
                "%s: %d of %d labelled frames (%.1f %%) have no neighbour within max_distance=%d; theirs is the same "
                "picture seen by a camera that moved",
                self._dataset.root,
                alone,
                len(self._frames),
                100 * alone / len(self._frames),
                self.max_distance,
            )

    def _is_held_out(self, clip: Clip, index: int) -> bool:
        return bool(self._hold_out) and fnmatch(clip.frames[index].stem, self._hold_out)

    def _read(self, clip: Clip, index: int) -> Shot:
        path = clip.frames[index]
        if path in self._kept:
            return self._kept[path]
        image, label = self._dataset.read(clip, index)
        if self._picture == "network":
            size = network_size(image.shape[0], image.shape[1], self._config.input_size, self._config.size_multiple)
            image = resize_to_network(Frame(image), size)
            label = None if label is None else mask_to_size(label, size)
        shot = Shot(image, label)
        used = image.nbytes + (0 if label is None else label.nbytes)
        if used <= self._may_keep:
            self._may_keep -= used
            self._kept[path] = shot
        return shot


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
