"""The frames of one video in one folder, and labels for some or all of them in another."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from dcfm_ros.datasets.dataset import Clip, Dataset, DatasetError
from dcfm_ros.datasets.pixels import check_ids
from dcfm_ros.imaging.files import files_in, images_in
from dcfm_ros.imaging.labels import LabelSet


class OneClip(Dataset):
    """One clip: each image follows the one before it in the natural order of their names, whatever their numbers.

    images: a folder of frames. folder: of labels, <stem>.png with class ids and 255 unlabelled. labels: the classes.
    Raises DatasetError when there is no image, or no label for any.
    """

    def __init__(self, images: str | os.PathLike[str], folder: str | os.PathLike[str], labels: LabelSet) -> None:
        frames = dict(enumerate(images_in(Path(images))))
        if not frames:
            raise DatasetError(f"{images} holds no image; expected the frames of a clip")
        files = {path.stem: path for path in files_in(Path(folder), (".png",))}
        labelled = {index: files[path.stem] for index, path in frames.items() if path.stem in files}
        if not labelled:
            raise DatasetError(f"{folder} holds no label for an image of {images}; expected, say, {frames[0].stem}.png")
        super().__init__(images, labels, [Clip.of(frames[0].stem, frames, labelled)])

    def decode(self, ids: np.ndarray, path: Path) -> np.ndarray:
        check_ids(ids, path, len(self.labels))
        return ids
