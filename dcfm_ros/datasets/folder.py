"""Folders of labelled images of one's own: equal stems, and what the classes are called.

classes.yaml                       optional, see `dcfm_ros.datasets.classes`
[<split>/]images/<stem>.jpg|png
[<split>/]labels/<stem>.png        class ids, and 255 unlabelled
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import numpy as np

from dcfm_ros.datasets.classes import read_classes
from dcfm_ros.datasets.dataset import Clip, Dataset, DatasetError, by_number
from dcfm_ros.datasets.pixels import check_ids
from dcfm_ros.imaging.files import IMAGE_SUFFIXES, images_in
from dcfm_ros.imaging.labels import LabelSet


class FolderDataset(Dataset):
    """The images of a folder, or of one of its splits; some of them have a label.

    Images whose stems differ only in the number at their end are the frames of one clip, and consecutive numbers are
    neighbours; an image without such a number is a clip of its own. A clip is named after its first frame; clips come
    in the natural order of their stems.

    split: the folder under `root` that holds images/ and labels/; empty: `root` does. labels: the classes where
    `root` has no classes.yaml. Raises DatasetError when the classes are unknown or that file is wrong, a folder is
    missing, there is no image or no label, a label has no image, or two images are the same frame.
    """

    def __init__(self, root: str | os.PathLike[str], split: str = "", labels: LabelSet | None = None) -> None:
        labels = own_classes(root) or labels
        if labels is None:
            missing = Path(root) / "classes.yaml"
            raise DatasetError(f"{missing} is missing; expected it to say the names and colours of the classes")
        folder = Path(root) / split
        images = _images(folder)
        stems = {path.stem for path in images}
        files = {path.stem: path for path in images_in(folder / "labels")}
        if not files:
            raise DatasetError(f"{folder / 'labels'} holds no label; expected <stem>.png for some of the images")
        if others := [path for path in files.values() if path.suffix.lower() != ".png"]:
            raise DatasetError(f"{others[0]} is no PNG; expected {others[0].stem}.png, which keeps ids as they are")
        if orphans := [path for stem, path in files.items() if stem not in stems]:
            expected = folder / "images" / orphans[0].stem
            raise DatasetError(
                f"{orphans[0]} has no image; expected {expected} with one of {', '.join(IMAGE_SUFFIXES)}"
            )
        super().__init__(root, labels, _clips(images, files))

    def decode(self, ids: np.ndarray, path: Path) -> np.ndarray:
        check_ids(ids, path, len(self.labels))
        return ids


def own_classes(root: str | os.PathLike[str]) -> LabelSet | None:
    """Read `root`/classes.yaml; None where there is none. Raises DatasetError when that file is wrong."""
    path = Path(root) / "classes.yaml"
    return read_classes(path) if path.exists() else None


def _images(root: Path) -> list[Path]:
    """A folder's images in their natural order. Raises DatasetError when a part of it is missing, or none is there."""
    for part in ("images", "labels"):
        if not (root / part).is_dir():
            raise DatasetError(f"{root} has no folder {part}/; expected images/ and labels/ with equal stems")
    images = images_in(root / "images")
    if not images:
        raise DatasetError(f"{root / 'images'} holds no image; expected {', '.join(IMAGE_SUFFIXES)}")
    return images


def _clips(images: list[Path], labels: dict[str, Path]) -> list[Clip]:
    """Images by what their stems begin with."""
    found: dict[str, list[tuple[int, Path]]] = {}
    for path in images:
        prefix, number = _split(path.stem)
        found.setdefault(prefix, []).append((number, path))
    clips = []
    for numbered in found.values():
        frames = by_number(numbered)
        labelled = {number: labels[path.stem] for number, path in frames.items() if path.stem in labels}
        clips.append(Clip.of(frames[min(frames)].stem, frames, labelled))
    return clips


def _split(stem: str) -> tuple[str, int]:
    """Return the beginning of a stem, and the number at its end; a stem without one is a clip of its own.

    No stem holds a slash, so that what stands for such a clip is no other's beginning.
    """
    match = re.fullmatch(r"(.*?)([0-9]+)", stem)
    return (match[1], int(match[2])) if match else (f"{stem}/", 0)
