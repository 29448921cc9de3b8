"""Cityscapes: 19 classes of streets, https://www.cityscapes-dataset.com.

leftImg8bit_sequence/<split>/<city>/<city>_<sequence>_<frame>_leftImg8bit.png    30 frames around each label,
leftImg8bit/<split>/<city>/...                                                   or the labelled frame alone
gtFine/<split>/<city>/<city>_<sequence>_<frame>_gtFine_labelTrainIds.png         0..18, and 255 ignored
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import numpy as np

from dcfm_ros.datasets.dataset import Clip, Dataset, DatasetError, by_number, consecutive
from dcfm_ros.datasets.pixels import check_ids
from dcfm_ros.imaging.files import images_in
from dcfm_ros.imaging.labels import CITYSCAPES

_IMAGE_FOLDERS = ("leftImg8bit_sequence", "leftImg8bit")
_IMAGE_END, _LABEL_END = "_leftImg8bit.png", "_gtFine_labelTrainIds.png"
_HOW_TO_MAKE = "the raw labelIds become labelTrainIds with cityscapesScripts' csCreateTrainIdLabelImgs"

CitySequence = tuple[str, str]  # the city's name, the sequence's number


class CityscapesDataset(Dataset):
    """The snippets of one split, by city and sequence; a clip is named after its first frame.

    A clip is a run of frame numbers without a gap: several cities number all their snippets through as one sequence.
    leftImg8bit_sequence is read where the split is there, else leftImg8bit, whose clips are of one frame each.
    Only the split `test` may be without labels.

    Raises DatasetError when a folder is missing, a file is not named as above, or a label has no frame.
    """

    def __init__(self, root: str | os.PathLike[str], split: str) -> None:
        images = _images_of(Path(root), split)
        frames = _by_sequence(images, _IMAGE_END)
        if not frames:
            raise DatasetError(f"{images} holds no city's frames; expected <city>/*{_IMAGE_END}")
        labels = _by_sequence(Path(root) / "gtFine" / split, _LABEL_END)
        if split != "test" and not labels:
            raise DatasetError(f"{Path(root) / 'gtFine' / split} has no <city>/*{_LABEL_END}; {_HOW_TO_MAKE}")
        for sequence, labelled in labels.items():
            for number, path in labelled.items():
                if number not in frames.get(sequence, {}):
                    name = path.name.removesuffix(_LABEL_END) + _IMAGE_END
                    raise DatasetError(f"{path} has no frame; expected {images / path.parent.name / name}")
        clips = [
            Clip.of(of[run.start].name.removesuffix(_IMAGE_END), {n: of[n] for n in run}, labels.get(sequence, {}))
            for sequence, of in sorted(frames.items())
            for run in consecutive(of)
        ]
        super().__init__(root, CITYSCAPES, clips)

    def decode(self, ids: np.ndarray, path: Path) -> np.ndarray:
        check_ids(ids, path, len(CITYSCAPES), f": {_HOW_TO_MAKE}")
        return ids


def _images_of(root: Path, split: str) -> Path:
    """The folder of a split's cities."""
    for name in _IMAGE_FOLDERS:
        if (root / name / split).is_dir():
            return root / name / split
    there = sorted({entry.name for name in _IMAGE_FOLDERS for entry in (root / name).glob("*") if entry.is_dir()})
    raise DatasetError(
        f"{root} has neither {_IMAGE_FOLDERS[0]}/{split} nor {_IMAGE_FOLDERS[1]}/{split}; "
        f"there are the splits {', '.join(there) or 'none'}"
    )


def _by_sequence(folder: Path, end: str) -> dict[CitySequence, dict[int, Path]]:
    """The files in a split's cities whose names have that end, by city and sequence, then by frame number."""
    found: dict[CitySequence, list[tuple[int, Path]]] = {}
    form = re.compile(rf"(.+)_([0-9]+)_([0-9]+){re.escape(end)}")
    for path in (path for city in sorted(folder.glob("*")) for path in images_in(city)):
        if match := form.fullmatch(path.name):
            found.setdefault((match[1], match[2]), []).append((int(match[3]), path))
        elif end == _IMAGE_END or path.name.endswith(end):  # gtFine holds other kinds of labels too
            raise DatasetError(f"{path} is not named like its kind; expected <city>_<sequence>_<frame>{end}")
    return {sequence: by_number(files) for sequence, files in found.items()}
