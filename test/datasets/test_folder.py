"""A folder of one's own: what is read, and what is refused by the name of the file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from dataset_files import RED
from dataset_files import write_pixels as write

from dcfm_ros.datasets.folder import DatasetError, FolderDataset
from dcfm_ros.imaging.labels import CAMVID, LabelSet

IDS = np.array([[0, 1, 2], [10, 255, 0]], np.uint8)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Three frames, the second of them a JPEG, and things that belong to nobody."""
    for name in ("f2.png", "f10.jpg", "f1.png"):
        write(tmp_path / "images" / name, RED)
        write(tmp_path / "labels" / f"{Path(name).stem}.png", IDS)
    (tmp_path / "images" / "notes.txt").write_text("taken in May")
    return tmp_path


def folder(root: Path) -> FolderDataset:
    return FolderDataset(root, labels=CAMVID)


def read(root: Path, stem: str) -> tuple[np.ndarray, np.ndarray | None]:
    dataset = folder(root)
    [(clip, index)] = [(c, i) for c in dataset.clips for i, path in enumerate(c.frames) if path.stem == stem]
    return dataset.image(clip, index), dataset.label(clip, index)


def test_labelled_images_come_in_the_natural_order_of_their_stems(root: Path) -> None:
    assert [clip.frames[index].stem for clip, index in folder(root).labelled()] == ["f1", "f2", "f10"]


def test_images_are_rgb_and_labels_are_ids(root: Path) -> None:
    image, label = read(root, "f1")
    np.testing.assert_array_equal(image, RED)
    np.testing.assert_array_equal(label, IDS)
    assert label is not None
    assert label.dtype == np.uint8
    np.testing.assert_allclose(read(root, "f10")[0].astype(int), RED, atol=4)  # a JPEG


@pytest.mark.parametrize("part", ["images", "labels"])
def test_a_missing_folder_is_named(tmp_path: Path, part: str) -> None:
    (tmp_path / ("labels" if part == "images" else "images")).mkdir()
    with pytest.raises(DatasetError, match=f"{tmp_path} has no folder {part}/"):
        folder(tmp_path)


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "labels").mkdir()
    with pytest.raises(DatasetError, match=r"images holds no image"):
        folder(tmp_path)


def test_a_value_that_is_no_class_is_named_with_its_file(root: Path) -> None:
    ten = LabelSet(CAMVID.names[:10], CAMVID.colors[:10])
    dataset = FolderDataset(root, labels=ten)
    clip, index = dataset.labelled()[1]
    with pytest.raises(DatasetError, match=r"labels/f2.png holds the label 10; expected 0 to 9, or 255"):
        dataset.label(clip, index)


@pytest.mark.parametrize(
    ("pixels", "said"),
    [(RED, r"uint8 \(4, 6, 3\)"), (IDS.astype(np.uint16), r"uint16 \(2, 3\)")],
)
def test_a_label_that_is_no_picture_of_ids_is_refused(root: Path, pixels: np.ndarray, said: str) -> None:
    write(root / "labels" / "f1.png", pixels)
    with pytest.raises(DatasetError, match=f"f1.png is {said}; expected an 8-bit PNG with one channel"):
        read(root, "f1")


@pytest.mark.parametrize(
    ("part", "said"), [("images", "f1.png cannot be read as an image"), ("labels", "f1.png is no PNG")]
)
def test_files_that_are_not_pictures_are_refused_when_they_are_read(root: Path, part: str, said: str) -> None:
    (root / part / "f1.png").write_bytes(b"nothing of the kind")
    with pytest.raises(DatasetError, match=said):
        read(root, "f1")
