"""Opening a data set by its kind."""

from __future__ import annotations

from pathlib import Path

import pytest
from dataset_files import write_ids, write_lines, write_pixels

from dcfm_ros.datasets.dataset import Dataset, DatasetError
from dcfm_ros.datasets.open import KINDS, classes_of, kind_of, open_dataset
from dcfm_ros.imaging.labels import CAMVID, CITYSCAPES, LABEL_SETS, VSPW, LabelSet


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """One labelled frame as each kind of data set, side by side."""
    write_pixels(tmp_path / "data" / "clip" / "origin" / "00000001.jpg")
    write_ids(tmp_path / "data" / "clip" / "mask" / "00000001.png")
    write_lines(tmp_path / "train.txt", "clip")
    write_pixels(tmp_path / "leftImg8bit" / "train" / "aachen" / "aachen_000000_000019_leftImg8bit.png")
    write_ids(tmp_path / "gtFine" / "train" / "aachen" / "aachen_000000_000019_gtFine_labelTrainIds.png", 0)
    write_pixels(tmp_path / "0001TP" / "0001TP_000001.png")
    write_ids(tmp_path / "gt" / "0001TP_006690_L.png", 0)
    write_lines(tmp_path / "val.txt", "0001TP_006690")
    write_lines(tmp_path / "id2id.txt", "0001TP_006690 0001TP_000001")
    write_pixels(tmp_path / "images" / "f1.png")
    write_ids(tmp_path / "labels" / "f1.png", 0)
    return tmp_path


@pytest.mark.parametrize(
    ("kind", "split", "labels"),
    [("vspw", "train", VSPW), ("cityscapes", "train", CITYSCAPES), ("camvid", "val", CAMVID), ("folder", "", CAMVID)],
)
def test_every_kind_is_opened_and_read_alike(root: Path, kind: str, split: str, labels: LabelSet) -> None:
    dataset: Dataset = open_dataset(kind, str(root), split, CAMVID)
    assert dataset.root == root
    assert dataset.labels is labels
    ((clip, index),) = dataset.labelled()
    image, label = dataset.read(clip, index)
    assert image.shape == (4, 6, 3) and label is not None and (label == 0).all()


def test_classes_are_known_without_opening(root: Path) -> None:
    assert classes_of("vspw", "nowhere") is VSPW
    assert classes_of("folder", root) is None
    write_lines(root / "classes.yaml", "- {name: road, color: [1, 2, 3]}")
    assert classes_of("folder", str(root)) == LabelSet(("road",), ((1, 2, 3),))
    with pytest.raises(DatasetError, match="the kind of data set is 'kitti'"):
        classes_of("kitti", root)


def test_every_published_data_set_with_labels_can_be_opened() -> None:
    assert set(KINDS) == set(LABEL_SETS)


@pytest.mark.parametrize(
    ("kind", "name", "split", "said"),
    [
        ("kitti", "", "train", "the kind of data set is 'kitti'; expected vspw, cityscapes, camvid or folder"),
        ("vspw", "gone", "train", "gone is no folder; expected a data set of the kind vspw"),
        ("camvid", "", "", "is opened without a split; expected train, val or test for the kind camvid"),
        ("vspw", "", "valid", "valid.txt cannot be read"),
        ("folder", "", "", "classes.yaml is missing"),
    ],
)
def test_what_cannot_be_opened_is_said(root: Path, kind: str, name: str, split: str, said: str) -> None:
    with pytest.raises(DatasetError, match=said):
        open_dataset(kind, root / name, split)


@pytest.mark.parametrize(
    ("marks", "split", "kind"),
    [
        (("leftImg8bit/",), "", "cityscapes"),
        (("leftImg8bit_sequence/", "train.txt"), "", "cityscapes"),
        (("id2id.txt", "val.txt", "0001TP/", "gt/"), "", "camvid"),
        (("data/", "test.txt"), "", "vspw"),
        (("images/", "labels/", "data/"), "", "folder"),
        (("day/images/", "train.txt"), "day", "folder"),
    ],
)
def test_the_kind_is_told_from_what_lies_there(tmp_path: Path, marks: tuple[str, ...], split: str, kind: str) -> None:
    lay(tmp_path, marks)
    assert kind_of(tmp_path, split) == kind


@pytest.mark.parametrize(
    ("marks", "said"),
    [
        ((), r"expected leftImg8bit/ or leftImg8bit_sequence/ \(cityscapes\), id2id.txt \(camvid\), data/ with"),
        (("data/",), "is no data set that is known"),
        (("day/images/",), r"or images/ \(folder\)"),
        (("leftImg8bit/", "images/"), "looks like cityscapes and folder; expected one of them"),
    ],
)
def test_a_kind_that_cannot_be_told_is_said(tmp_path: Path, marks: tuple[str, ...], said: str) -> None:
    lay(tmp_path, marks)
    with pytest.raises(DatasetError, match=said):
        kind_of(tmp_path)


def lay(root: Path, marks: tuple[str, ...]) -> None:
    """Empty files, and folders for the names that end in a slash."""
    for mark in marks:
        if mark.endswith("/"):
            (root / mark).mkdir(parents=True)
        else:
            (root / mark).touch()
