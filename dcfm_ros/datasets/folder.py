"""A folder of labelled images: `images/<stem>.jpg|png` and `labels/<stem>.png`, equal stems."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from dcfm_ros.datasets.dataset import DatasetError
from dcfm_ros.datasets.pixels import check_ids, read_ids, read_rgb
from dcfm_ros.imaging.files import IMAGE_SUFFIXES, images_in


class LabelledFolder:
    """Images in the natural order of their stems, so that consecutive frames of a clip lie beside each other.

    root: the folder; classes: ids 0..classes-1 are valid in the labels, and 255 for unlabelled.
    Raises DatasetError when a folder is missing, an image lacks its label, or nothing is there.
    """

    def __init__(self, root: str | os.PathLike[str], classes: int) -> None:
        self.root = Path(root)
        self.classes = classes
        for part in ("images", "labels"):
            if not (self.root / part).is_dir():
                raise DatasetError(f"{self.root} has no folder {part}/; expected images/ and labels/ with equal stems")
        self.images = images_in(self.root / "images")
        if not self.images:
            raise DatasetError(f"{self.root / 'images'} holds no image; expected {', '.join(IMAGE_SUFFIXES)}")
        for image in self.images:
            if not self._label_path(image).is_file():
                raise DatasetError(f"{image} has no label; expected {self._label_path(image)}")

    def __len__(self) -> int:
        return len(self.images)

    def stem(self, index: int) -> str:
        """The name of one image without its suffix."""
        return self.images[index].stem

    def image(self, index: int) -> np.ndarray:
        """(H, W, 3) uint8 RGB. Raises DatasetError when the file is not an image."""
        return read_rgb(self.images[index])

    def label(self, index: int) -> np.ndarray:
        """(H, W) uint8 ids, 255 unlabelled. Raises DatasetError for a value that is no class, or no label image."""
        path = self._label_path(self.images[index])
        ids = read_ids(path)
        check_ids(ids, path, self.classes)
        return ids

    def _label_path(self, image: Path) -> Path:
        return self.root / "labels" / f"{image.stem}.png"
