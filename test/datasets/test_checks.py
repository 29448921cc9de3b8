"""What is wrong with a data set is found before the work on it, and said with the way out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import numpy as np
import pytest
from dataset_files import write_ids, write_pixels
from report_inputs import SIZE, label, picture, with_small_network

from dcfm_ros.datasets.dataset import DatasetError
from dcfm_ros.datasets.folder import FolderDataset
from dcfm_ros.imaging.labels import CAMVID
from dcfm_ros.streaming import StreamSegmenter

Call = Callable[..., CompletedProcess[str]]
COUNT = 70


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for number in range(COUNT):
        write_pixels(tmp_path / "images" / f"{number}.png")
        write_ids(tmp_path / "labels" / f"{number}.png", number % 5)
    return tmp_path


@pytest.mark.parametrize(
    ("write", "said"),
    [
        (lambda root: write_ids(root / "labels" / "69.png", 17), "69.png holds the label 17; expected 0 to 10"),
        (lambda root: write_pixels(root / "labels" / "69.png"), "69.png is uint8 .*one channel of class ids"),
        (
            lambda root: write_ids(root / "labels" / "69.png", 1, (2, 6)),
            "69.png is 6x2; expected the size of its",
        ),
        (lambda root: (root / "labels" / "69.png").write_bytes(b"x"), "69.png is no PNG"),
        (lambda root: (root / "images" / "69.png").write_bytes(b"x"), "69.png cannot be read as an image"),
        (lambda root: _cut(root / "images" / "69.png"), "69.png cannot be read as an image: .* damaged PNG"),
    ],
    ids=["id", "colour", "size", "no label", "no picture", "half a picture"],
)
def test_the_last_file_is_checked_as_the_first(root: Path, write: Callable[[Path], object], said: str) -> None:
    write(root)
    dataset = FolderDataset(root, labels=CAMVID)
    with pytest.raises(DatasetError, match=said):
        dataset.check_labels()


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-20])


@pytest.fixture
def street(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Four frames with labels, of which the last is wrong, and a segmenter that must not be asked for any."""

    def push(self: object, frame: object) -> None:
        raise AssertionError("a frame was segmented before all labels were checked")

    monkeypatch.setattr(StreamSegmenter, "push", push)
    for number in range(4):
        write_pixels(tmp_path / "street" / "images" / f"{number}.png", picture(number))
        write_pixels(tmp_path / "street" / "labels" / f"{number}.png", label(number))
    write_pixels(tmp_path / "street" / "labels" / "3.png", np.full(SIZE, 21, np.uint8))
    return tmp_path / "street"


def test_commands_check_labels_before_they_segment(called: Call, street: Path) -> None:
    network = with_small_network(street.parent)
    output = ["--output", str(street.parent / "report")]
    for arguments in (
        ["evaluate", str(street), *network],
        ["evaluate", "--images", str(street / "images"), "--labels", str(street / "labels"), *network],
        ["report", str(street), *network, *output],
        ["report", str(street / "images"), "--labels", str(street / "labels"), *network, *output],
    ):
        done = called(*arguments)
        assert (done.returncode, "3.png holds the label 21; expected 0 to 10" in done.stderr) == (1, True), done.stderr
