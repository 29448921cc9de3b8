"""Opening a data set by its kind."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from dcfm_ros.datasets.camvid import CamvidDataset
from dcfm_ros.datasets.cityscapes import CityscapesDataset
from dcfm_ros.datasets.dataset import Dataset, DatasetError
from dcfm_ros.datasets.folder import FolderDataset
from dcfm_ros.datasets.vspw import VspwDataset
from dcfm_ros.imaging.labels import LabelSet

KINDS: dict[str, Callable[[str | os.PathLike[str], str], Dataset]] = {
    "vspw": VspwDataset,
    "cityscapes": CityscapesDataset,
    "camvid": CamvidDataset,
}
FOLDER = "folder"


def open_dataset(kind: str, root: str | os.PathLike[str], split: str = "", labels: LabelSet | None = None) -> Dataset:
    """One split of the data set in `root`: vspw, cityscapes or camvid as published, or a folder of one's own.

    split: train, val or test; of a folder, its part that holds images/ and labels/, or empty where it holds them
    itself. labels: the classes of a folder that does not say them; the published data sets do.

    Raises DatasetError when the kind is unknown, a published data set is given no split, there is no such folder, or
    as the data set itself does.
    """
    if kind != FOLDER and kind not in KINDS:
        raise DatasetError(f"the kind of data set is {kind!r}; expected {', '.join(KINDS)} or {FOLDER}")
    if not Path(root).is_dir():
        raise DatasetError(f"{root} is no folder; expected a data set of the kind {kind}")
    if kind == FOLDER:
        return FolderDataset(root, split, labels)
    if not split:
        raise DatasetError(f"{root} is opened without a split; expected train, val or test for the kind {kind}")
    return KINDS[kind](root, split)
