"""Cityscapes: snippets and their labelled frames, in both of its packages, and what is refused by name."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from dataset_files import neighbours, write_ids, write_pixels

from dcfm_ros.datasets.cityscapes import CityscapesDataset
from dcfm_ros.datasets.dataset import DatasetError
from dcfm_ros.imaging.labels import CITYSCAPES


def write_frame(root: Path, name: str, package: str = "leftImg8bit_sequence", split: str = "train") -> Path:
    return write_pixels(root / package / split / name.split("_")[0] / f"{name}_leftImg8bit.png")


def write_label(root: Path, name: str, value: int = 1, kind: str = "labelTrainIds", split: str = "train") -> Path:
    return write_ids(root / "gtFine" / split / name.split("_")[0] / f"{name}_gtFine_{kind}.png", value)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two sequences of Aachen, and one of Hamburg that holds two snippets; every snippet's middle is labelled."""
    for name in ("aachen_000001", "aachen_000000"):
        for number in (18, 19, 20):
            write_frame(tmp_path, f"{name}_{number:06d}")
        write_label(tmp_path, f"{name}_000019")
    for number in (9998, 9999, 10000, 10002, 10003):
        write_frame(tmp_path, f"hamburg_000000_{number:06d}")
    write_label(tmp_path, "hamburg_000000_009999")
    write_label(tmp_path, "hamburg_000000_009999", 33, "labelIds")
    write_label(tmp_path, "hamburg_000000_010002")
    return tmp_path


def test_a_snippet_is_a_clip_and_ends_at_a_gap(root: Path) -> None:
    dataset = CityscapesDataset(str(root), "train")
    assert dataset.labels is CITYSCAPES
    assert {clip.name: (clip.numbers, list(clip.labels)) for clip in dataset.clips} == {
        "aachen_000000_000018": ((18, 19, 20), [1]),
        "aachen_000001_000018": ((18, 19, 20), [1]),
        "hamburg_000000_009998": ((9998, 9999, 10000), [1]),
        "hamburg_000000_010002": ((10002, 10003), [0]),
    }
    assert [neighbours(clip, index) for clip, index in dataset.labelled()] == [(0, 2), (0, 2), (0, 2), (1,)]
    image, label = dataset.read(dataset.clips[0], 1)
    assert image.shape == (4, 6, 3) and label is not None and (label == 1).all()
    assert dataset.label(dataset.clips[0], 0) is None


def test_labelled_frames_alone_are_clips_without_neighbours(root: Path) -> None:
    for name in ("aachen_000000_000019", "aachen_000001_000019"):
        write_frame(root, name, "leftImg8bit", "val")
        write_label(root, name, split="val")
    dataset = CityscapesDataset(root, "val")
    assert [clip.numbers for clip in dataset.clips] == [(19,), (19,)]
    assert [neighbours(clip, index) for clip, index in dataset.labelled()] == [(), ()]


def test_sequences_are_preferred_to_the_labelled_frames_alone(root: Path) -> None:
    write_frame(root, "aachen_000000_000019", "leftImg8bit")
    assert len(CityscapesDataset(root, "train").clips[0]) == 3


def test_train_ids_stay_as_they_are_and_255_is_ignored(root: Path) -> None:
    ids = np.array([[*range(19), 255]], np.uint8)
    np.testing.assert_array_equal(CityscapesDataset(root, "train").decode(ids, Path("l.png")), ids)


@pytest.mark.parametrize("value", [19, 33, 254])
def test_a_label_that_is_no_train_id_is_refused(root: Path, value: int) -> None:
    path = write_label(root, "aachen_000000_000019", value)
    dataset = CityscapesDataset(root, "train")
    with pytest.raises(
        DatasetError, match=rf"{path} holds the label {value}; expected 0 to 18, or 255: the raw labelIds"
    ):
        dataset.label(dataset.clips[0], 1)


def test_a_missing_split_is_named_with_those_there_are(root: Path) -> None:
    with pytest.raises(
        DatasetError, match=r"has neither leftImg8bit_sequence/val nor leftImg8bit/val; .* splits train"
    ):
        CityscapesDataset(root, "val")
    with pytest.raises(DatasetError, match="there are the splits none"):
        CityscapesDataset(root / "gtFine", "val")


def test_a_split_without_frames_is_refused(root: Path) -> None:
    (root / "leftImg8bit" / "val" / "aachen").mkdir(parents=True)
    with pytest.raises(
        DatasetError, match=r"leftImg8bit/val holds no city's frames; expected <city>/\*_leftImg8bit.png"
    ):
        CityscapesDataset(root, "val")


def test_only_the_test_split_may_have_no_labels(root: Path) -> None:
    for split in ("test", "val"):
        write_frame(root, "berlin_000000_000019", split=split)
    write_label(root, "berlin_000000_000019", kind="labelIds", split="val")
    assert CityscapesDataset(root, "test").labelled() == []
    with pytest.raises(DatasetError, match=r"gtFine/val has no <city>/\*_gtFine_labelTrainIds.png; the raw labelIds"):
        CityscapesDataset(root, "val")


@pytest.mark.parametrize("name", ["aachen_000000_000021", "bonn_000000_000019"])
def test_a_label_without_its_frame_is_named(root: Path, name: str) -> None:
    path = write_label(root, name)
    city = name.split("_")[0]
    with pytest.raises(DatasetError, match=f"{path} has no frame; expected .*/train/{city}/{name}_leftImg8bit.png"):
        CityscapesDataset(root, "train")


@pytest.mark.parametrize(
    "name", ["leftImg8bit_sequence/train/aachen/cover.png", "gtFine/train/aachen/aachen_gtFine_labelTrainIds.png"]
)
def test_a_file_of_another_name_is_refused(root: Path, name: str) -> None:
    write_ids(root / name)
    with pytest.raises(DatasetError, match=f"{name} is not named like its kind; expected <city>_<sequence>_<frame>_"):
        CityscapesDataset(root, "train")
