"""A folder where every image has a label: what is read, and what is refused by the name of the file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from dataset_files import RED
from dataset_files import write_pixels as write

from dcfm_ros.datasets.folder import DatasetError, LabelledFolder

IDS = np.array([[0, 1, 2], [10, 255, 0]], np.uint8)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Three frames, the second of them a JPEG, and things that belong to nobody."""
    for name in ("f2.png", "f10.jpg", "f1.png"):
        write(tmp_path / "images" / name, RED)
        write(tmp_path / "labels" / f"{Path(name).stem}.png", IDS)
    write(tmp_path / "labels" / "f99.png", IDS)
    (tmp_path / "images" / "notes.txt").write_text("taken in May")
    return tmp_path


def test_images_come_in_the_natural_order_of_their_stems(root: Path) -> None:
    folder = LabelledFolder(root, 11)
    assert len(folder) == 3
    assert [folder.stem(index) for index in range(3)] == ["f1", "f2", "f10"]


def test_images_are_rgb_and_labels_are_ids(root: Path) -> None:
    folder = LabelledFolder(str(root), 11)
    np.testing.assert_array_equal(folder.image(0), RED)
    np.testing.assert_allclose(folder.image(2).astype(int), RED, atol=4)  # a JPEG
    np.testing.assert_array_equal(folder.label(0), IDS)
    assert folder.label(0).dtype == np.uint8


@pytest.mark.parametrize("part", ["images", "labels"])
def test_a_missing_folder_is_named(tmp_path: Path, part: str) -> None:
    (tmp_path / ("labels" if part == "images" else "images")).mkdir()
    with pytest.raises(DatasetError, match=f"{tmp_path} has no folder {part}/"):
        LabelledFolder(tmp_path, 11)


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "labels").mkdir()
    with pytest.raises(DatasetError, match=r"images holds no image"):
        LabelledFolder(tmp_path, 11)


def test_an_image_without_a_label_is_named(root: Path) -> None:
    (root / "labels" / "f10.png").unlink()
    with pytest.raises(DatasetError, match=r"f10.jpg has no label; expected .*labels/f10\.png") as caught:
        LabelledFolder(root, 11)
    assert isinstance(caught.value, ValueError)


def test_a_value_that_is_no_class_is_named_with_its_file(root: Path) -> None:
    assert LabelledFolder(root, 11).label(1).max() == 255
    with pytest.raises(DatasetError, match=r"labels/f2.png holds the label 10; expected 0 to 9, or 255"):
        LabelledFolder(root, 10).label(1)


@pytest.mark.parametrize(
    ("pixels", "said"),
    [(RED, r"uint8 \(4, 6, 3\)"), (IDS.astype(np.uint16), r"uint16 \(2, 3\)")],
)
def test_a_label_that_is_no_picture_of_ids_is_refused(root: Path, pixels: np.ndarray, said: str) -> None:
    write(root / "labels" / "f1.png", pixels)
    with pytest.raises(DatasetError, match=f"f1.png is {said}; expected an 8-bit PNG with one channel"):
        LabelledFolder(root, 11).label(0)


def test_files_that_are_not_pictures_are_refused_when_they_are_read(root: Path) -> None:
    for part in ("images", "labels"):
        (root / part / "f1.png").write_bytes(b"nothing of the kind")
    folder = LabelledFolder(root, 11)
    with pytest.raises(DatasetError, match=r"images/f1.png cannot be read as an image"):
        folder.image(0)
    with pytest.raises(DatasetError, match=r"labels/f1.png is unreadable"):
        folder.label(0)
