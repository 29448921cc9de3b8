"""CamVid: 11 classes of streets, http://mi.eng.cam.ac.uk/research/projects/VideoRec/CamVid/, with the videos' frames.

train.txt  val.txt  test.txt       a label's name in each line, like 0001TP_006690
id2id.txt                          in each line a label's name and its frame's name, like 0001TP_006690 0001TP_000001
<sequence>/<frame>.png             every frame of the video, named <sequence>_<number>
gt/<label>_L.png                   0..10 are the classes, 11 and 255 are ignored
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from dcfm_ros.datasets.dataset import Clip, Dataset, DatasetError, by_number, consecutive, read_lines
from dcfm_ros.datasets.pixels import check_ids
from dcfm_ros.imaging.files import images_in
from dcfm_ros.imaging.labels import CAMVID, UNLABELLED

# Of a video that runs for minutes, as many frames around a label as Cityscapes' snippets have around theirs: with one
# label in 30 frames the windows just meet.
_BEFORE, _AFTER = 19, 10

_VOID = len(CAMVID)
_CLASS_IDS = np.full(256, UNLABELLED, np.uint8)
_CLASS_IDS[: len(CAMVID)] = np.arange(len(CAMVID))

_OF_32 = (
    ", 11 and 255 being ignored: where these are CamVid's 32 classes, as 17 for road and 21 for sky tell, write the "
    "ids of its 11 in their place"
)


class CamvidDataset(Dataset):
    """A split of CamVid: the labels that `<split>.txt` names, each in the run of frames around it.

    A clip is named <sequence>/<frame> after its first frame.

    A label belongs to the sequence its name begins with, up to the first underscore. A clip holds the frames of one
    sequence from 19 before a label to 10 after it, windows that meet in one clip, and ends where a frame is missing.
    Names in id2id.txt are separated by white space or a comma.

    Raises DatasetError when a list, a label or a labelled frame is missing, a line is not as above, or a name twice.
    """

    def __init__(self, root: str | os.PathLike[str], split: str) -> None:
        root = Path(root)
        frame_of = _frame_names(root / "id2id.txt")
        listing = root / f"{split}.txt"
        labels: dict[str, dict[str, Path]] = {}  # sequence -> frame's name -> label
        for line, name in read_lines(listing, "the name of a label in each line, like 0001TP_006690"):
            here = f"{listing}, line {line}"
            if name not in frame_of:
                raise DatasetError(f"{here}: the label {name!r} is not in {root / 'id2id.txt'}")
            path = root / "gt" / f"{name}_L.png"
            if not path.is_file():
                raise DatasetError(f"{here}: the label {name} has no file; expected {path}")
            of_sequence = labels.setdefault(name.split("_")[0], {})
            frame = frame_of[name]
            if frame in of_sequence:
                raise DatasetError(f"{here}: the frame {frame} of the label {name} is there twice")
            of_sequence[frame] = path
        clips = [clip for sequence in sorted(labels) for clip in _clips(root / sequence, labels[sequence])]
        super().__init__(root, CAMVID, clips)

    def decode(self, ids: np.ndarray, path: Path) -> np.ndarray:
        check_ids(ids, path, _VOID + 1, _OF_32)
        return _CLASS_IDS[ids]


def _frame_names(path: Path) -> dict[str, str]:
    """Each label's frame, by their names."""
    found: dict[str, str] = {}
    for line, text in read_lines(path, "a label's name and its frame's name in each line"):
        pair = re.fullmatch(r"([^\s,]+)(?:\s*,\s*|\s+)([^\s,]+)", text)
        if not pair:
            raise DatasetError(f"{path}, line {line}: {text!r}; expected a label's name and its frame's name")
        label, frame = pair.groups()
        if found.setdefault(label, frame) != frame:
            raise DatasetError(
                f"{path}, line {line}: the label {label} has the frame {frame}, but {found[label]} above"
            )
    return found


def _clips(folder: Path, labels: Mapping[str, Path]) -> list[Clip]:
    """The runs of frames around the labels of one sequence, which are given by their frames' names."""
    frames = by_number((_number(path.stem, str(path)), path) for path in images_in(folder))
    labelled: dict[int, Path] = {}
    for name, label in labels.items():
        number = _number(name, f"{folder.parent / 'id2id.txt'}: the frame {name}")
        if number not in frames or frames[number].stem != name:
            raise DatasetError(f"{label} has no frame; expected {folder / name}.png")
        labelled[number] = label
    near = {number for at in labelled for number in range(at - _BEFORE, at + _AFTER + 1) if number in frames}
    # With the folder, because two sequences may call their frames alike.
    clips = (
        Clip.of(f"{folder.name}/{frames[run.start].stem}", {n: frames[n] for n in run}, labelled)
        for run in consecutive(near)
    )
    return [clip for clip in clips if clip.labels]  # a missing frame may have cut the rest of a window off


def _number(name: str, what: str) -> int:
    match = re.fullmatch(r".+_([0-9]+)", name)
    if not match:
        raise DatasetError(f"{what} has no number at its end; expected a name like 0001TP_000001")
    return int(match[1])
