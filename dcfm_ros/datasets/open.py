"""Opening a data set by its kind."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from dcfm_ros.datasets.camvid import CamvidDataset
from dcfm_ros.datasets.cityscapes import CityscapesDataset
from dcfm_ros.datasets.dataset import Dataset, DatasetError
from dcfm_ros.datasets.folder import FolderDataset, own_classes
from dcfm_ros.datasets.vspw import VspwDataset
from dcfm_ros.imaging.labels import LABEL_SETS, LabelSet

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
    _check_kind(kind)
    if not Path(root).is_dir():
        raise DatasetError(f"{root} is no folder; expected a data set of the kind {kind}")
    if kind == FOLDER:
        return FolderDataset(root, split, labels)
    if not split:
        raise DatasetError(f"{root} is opened without a split; expected train, val or test for the kind {kind}")
    return KINDS[kind](root, split)


def classes_of(kind: str, root: str | os.PathLike[str]) -> LabelSet | None:
    """The classes of the data set in `root`, without opening it; None of a folder that does not say them.

    Raises DatasetError when the kind is unknown, or the folder's classes.yaml is wrong.
    """
    _check_kind(kind)
    return own_classes(root) if kind == FOLDER else LABEL_SETS[kind]


def kind_of(root: str | os.PathLike[str], split: str = "") -> str:
    """The kind of the data set in `root`, told from what lies there; no picture is read.

    leftImg8bit or leftImg8bit_sequence: cityscapes. id2id.txt: camvid. data/ and a list of clips: vspw. images/, in
    `root` or in its folder `split`: folder. Raises DatasetError when there is no such folder, or none of these or
    several lie there.
    """
    root = Path(root)
    if not root.is_dir():
        raise DatasetError(f"{root} is no folder; expected a data set")
    lists = any((root / f"{name}.txt").is_file() for name in ("train", "val", "test"))
    marks = {
        "cityscapes": (root / "leftImg8bit").is_dir() or (root / "leftImg8bit_sequence").is_dir(),
        "camvid": (root / "id2id.txt").is_file(),
        "vspw": (root / "data").is_dir() and lists,
        FOLDER: (root / split / "images").is_dir(),
    }
    kinds = [kind for kind, there in marks.items() if there]
    if not kinds:
        raise DatasetError(
            f"{root} is no data set that is known; expected leftImg8bit/ or leftImg8bit_sequence/ (cityscapes), "
            "id2id.txt (camvid), data/ with train.txt, val.txt or test.txt (vspw), or "
            f"{Path(split) / 'images'}/ ({FOLDER})"
        )
    if len(kinds) > 1:
        raise DatasetError(f"{root} looks like {' and '.join(kinds)}; expected one of them, or to be told which")
    return kinds[0]


def _check_kind(kind: str) -> None:
    if kind != FOLDER and kind not in KINDS:
        raise DatasetError(f"the kind of data set is {kind!r}; expected {', '.join(KINDS)} or {FOLDER}")
