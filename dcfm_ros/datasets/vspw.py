"""VSPW at 480p: densely labelled clips of 124 classes, https://github.com/sssdddwww2/vspw_dataset_download.

train.txt  val.txt  test.txt        a clip's name in each line
data/<clip>/origin/00000001.jpg     frames
data/<clip>/mask/00000001.png       labels: 1..124 are the classes, 0 and all above 124 are ignored
"""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Mapping
from itertools import pairwise
from multiprocessing import parent_process
from pathlib import Path

import numpy as np

from dcfm_ros.datasets.dataset import Clip, Dataset, DatasetError, by_number, read_lines
from dcfm_ros.imaging.files import images_in
from dcfm_ros.imaging.labels import UNLABELLED, VSPW

log = logging.getLogger(__name__)

_CLASS_IDS = np.full(256, UNLABELLED, np.uint8)
_CLASS_IDS[1 : len(VSPW) + 1] = np.arange(len(VSPW))


class VspwDataset(Dataset):
    """The clips that `<split>.txt` names, in its order.

    A frame without a mask is unlabelled; only the split `test` may have no mask at all (its masks were never
    published). Frames lie a clip's smallest difference of numbers apart, so that a clip of every other frame has
    neighbours too.

    Labels above 124 are ignored, as published (there is a 252 here and there). Where the program itself reads, as it
    does to evaluate and to validate, each such label is logged once, with the first mask that has it, and `strays`
    counts the pixels. The processes of a data loader do neither; those of a training on several GPUs do it each.

    Masks of frames that are not there (the published set lacks some) are left out and their number is logged.

    Raises DatasetError when the list or a clip is missing or twice there, or a frame's name is no number.
    """

    def __init__(self, root: str | os.PathLike[str], split: str) -> None:
        listing = Path(root) / f"{split}.txt"
        clips: dict[str, Clip] = {}
        orphans: list[Path] = []
        for line, name in read_lines(listing, "the name of a clip in each line"):
            folder = Path(root) / "data" / name
            if name in clips:
                raise DatasetError(f"{listing}, line {line}: the clip {name} is there twice")
            if not (folder / "origin").is_dir():
                raise DatasetError(f"{listing}, line {line}: the clip {name} has no folder {folder / 'origin'}")
            clips[name] = _clip(folder, orphans)
        super().__init__(root, VSPW, list(clips.values()))
        if split != "test" and not any(clip.labels for clip in self.clips):
            raise DatasetError(f"no clip of {listing} has a mask; expected {self.root}/data/<clip>/mask/*.png")
        if orphans:
            log.warning("%d masks have no frame and are left out, the first of them %s", len(orphans), orphans[0])
        self._strays: dict[Path, Counter[int]] = {}
        self._logged: set[int] = set()

    @property
    def strays(self) -> Mapping[int, int]:
        """Pixels by label, of the labels above 124 in the masks read so far; a mask that is read again counts once."""
        return sum(self._strays.values(), Counter())

    def decode(self, ids: np.ndarray, path: Path) -> np.ndarray:
        if parent_process() is None and (ids > len(VSPW)).any():
            self._count(ids, path)
        return _CLASS_IDS[ids]

    def _count(self, ids: np.ndarray, path: Path) -> None:
        """Count the stray labels of a mask, and log those that no mask had before."""
        values, counts = np.unique(ids[ids > len(VSPW)], return_counts=True)
        found = Counter(dict(zip(values.tolist(), counts.tolist(), strict=True)))
        said = "%s holds the label %d in %d pixels; expected 0 to %d. It is ignored, in all files"
        for value in sorted(found.keys() - self._logged):
            log.warning(said, path, value, found[value], len(VSPW))
        self._logged |= found.keys()
        self._strays[path] = found


def _clip(folder: Path, orphans: list[Path]) -> Clip:
    """One clip; masks without a frame are added to `orphans`."""
    frames = by_number((_number(path), path) for path in images_in(folder / "origin"))
    masks = by_number((_number(path), path) for path in images_in(folder / "mask"))
    if not frames:
        raise DatasetError(f"{folder / 'origin'} holds no image; expected frames named like 00000001.jpg")
    orphans += [path for number, path in sorted(masks.items()) if number not in frames]
    step = min((after - before for before, after in pairwise(sorted(frames))), default=1)
    return Clip.of(folder.name, frames, masks, step)


def _number(path: Path) -> int:
    if not (path.stem.isascii() and path.stem.isdecimal()):
        raise DatasetError(f"{path} has no number for a name; expected one like 00000001{path.suffix}")
    return int(path.stem)
