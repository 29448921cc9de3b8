"""Folders of one's own as clips: which images are neighbours, what the classes are called, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from dataset_files import neighbours, write_ids, write_lines, write_pixels
from hypothesis import given
from hypothesis import strategies as st

from dcfm_ros.datasets.classes import read_classes
from dcfm_ros.datasets.dataset import DatasetError
from dcfm_ros.datasets.folder import FolderDataset, _clips
from dcfm_ros.datasets.open import open_dataset
from dcfm_ros.imaging.labels import CAMVID, LabelSet

TWO = LabelSet(("road", "sky"), ((128, 64, 128), (70, 130, 180)))
CLASSES = ("- {name: road, color: [128, 64, 128]}", "- {name: sky, color: [70, 130, 180]}")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two clips, one with a gap and a label in its midst, and a single picture."""
    for stem in ("yard_9", "yard_10", "yard_11", "yard_13", "a2_0001", "a2_0002", "portrait"):
        write_pixels(tmp_path / "images" / f"{stem}.{'png' if stem == 'yard_10' else 'jpg'}")
    for stem in ("yard_10", "portrait"):
        write_ids(tmp_path / "labels" / f"{stem}.png")
    return tmp_path


def test_images_that_differ_in_their_last_number_are_one_clip(root: Path) -> None:
    dataset = FolderDataset(str(root), labels=TWO)
    assert {clip.name: (clip.numbers, list(clip.labels)) for clip in dataset.clips} == {
        "a2_0001": ((1, 2), []),
        "portrait": ((0,), [0]),
        "yard_9": ((9, 10, 11, 13), [1]),
    }
    assert [clip.name for clip in dataset.clips] == ["a2_0001", "portrait", "yard_9"]
    assert [neighbours(clip, index) for clip, index in dataset.labelled()] == [(), (0, 2)]
    yard = dataset.clips[2]
    assert [neighbours(yard, index) for index in range(4)] == [(1,), (0, 2), (1,), ()]
    assert neighbours(yard, 2, 2) == (0, 3)
    image, label = dataset.read(yard, 1)
    assert image.shape == (4, 6, 3) and label is not None and (label == 1).all()
    assert dataset.label(yard, 0) is None


@given(st.sets(st.tuples(st.sampled_from(["", "a", "a_", "b-1_"]), st.integers(0, 30)), min_size=1))
def test_every_image_is_in_one_clip_at_its_number(names: set[tuple[str, int]]) -> None:
    clips = _clips([Path(f"{prefix}{number:03d}.png") for prefix, number in names], {})
    assert {(frame.stem[:-3], n) for clip in clips for frame, n in zip(clip.frames, clip.numbers, strict=True)} == names
    assert len(clips) == len({prefix for prefix, _ in names})


def test_a_split_is_a_folder_and_the_classes_are_beside_it(root: Path) -> None:
    write_pixels(root / "val" / "images" / "f1.png")
    write_ids(root / "val" / "labels" / "f1.png")
    write_lines(root / "classes.yaml", *CLASSES)
    dataset = FolderDataset(root, "val", CAMVID)
    assert dataset.labels == TWO
    assert [clip.name for clip in dataset.clips] == ["f1"]


def test_classes_that_nothing_names_are_asked_for(root: Path) -> None:
    with pytest.raises(DatasetError, match=r"classes.yaml is missing; expected it to say the names and colours"):
        FolderDataset(root)


def test_a_label_of_no_class_is_named(root: Path) -> None:
    path = write_ids(root / "labels" / "portrait.png", 2)
    dataset = FolderDataset(root, labels=TWO)
    with pytest.raises(DatasetError, match=f"{path} holds the label 2; expected 0 to 1, or 255"):
        dataset.label(dataset.clips[1], 0)
    np.testing.assert_array_equal(dataset.decode(np.array([[0, 1, 255]], np.uint8), path), [[0, 1, 255]])


def test_no_label_at_all_is_refused(root: Path) -> None:
    for path in (root / "labels").iterdir():
        path.unlink()
    with pytest.raises(DatasetError, match=r"labels holds no label; expected <stem>.png for some of the images"):
        FolderDataset(root, labels=TWO)


@pytest.mark.parametrize("part", ["images", "labels"])
def test_a_missing_folder_is_named(tmp_path: Path, part: str) -> None:
    (tmp_path / ("labels" if part == "images" else "images")).mkdir()
    with pytest.raises(DatasetError, match=f"{tmp_path} has no folder {part}/"):
        FolderDataset(tmp_path, labels=TWO)


def test_a_label_without_its_image_is_named(root: Path) -> None:
    path = write_ids(root / "labels" / "yard_12.png")
    with pytest.raises(DatasetError, match=f"{path} has no image; expected .*/images/yard_12 with one of .png, .jpg"):
        FolderDataset(root, labels=TWO)


def test_a_label_that_is_no_png_is_named(root: Path) -> None:
    path = write_pixels(root / "labels" / "yard_9.jpg")
    with pytest.raises(DatasetError, match=f"{path} is no PNG; expected yard_9.png"):
        FolderDataset(root, labels=TWO)


@pytest.mark.parametrize("name", ["yard_009.jpg", "yard_9.png"])
def test_two_images_of_one_frame_are_refused(root: Path, name: str) -> None:
    write_pixels(root / "images" / name)
    with pytest.raises(DatasetError, match=r"yard_0*9\.(jpg|png) are both frame 9; expected each number once"):
        FolderDataset(root, labels=TWO)


def test_classes_are_read_in_the_order_of_their_ids(tmp_path: Path) -> None:
    assert read_classes(write_lines(tmp_path / "classes.yaml", *CLASSES)) == TWO


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "yaml holds nothing; expected a list of"),
        ("road: 1", "yaml holds a dict; expected a list of"),
        ("- {name: road", "yaml cannot be read as YAML"),
        ("[]", "a label set has 0 names"),
        ("- road", "class 0 is a str; expected {name: road"),
        ("- {color: [1, 2, 3]}", "class 0 has no key 'name'; expected name and color"),
        (f"{CLASSES[0]}\n- {{name: sky}}", "class 1 has no key 'color'"),
        ("- {name: sky, color: [1, 2, 3], id: 4}", "class 0 has the key 'id'; expected name and color alone"),
        ("- {name: off, color: [1, 2, 3]}", "class 0: name is False, a bool; expected text, in quotes if need be"),
        ("- {name: sky, color: blue}", r"class 0: color is 'blue'; expected \[red, green, blue\], each 0..255"),
        ("- {name: sky, color: [1, 2]}", r"color is \[1, 2\]"),
        ("- {name: sky, color: [1, 2, 256]}", r"color is \[1, 2, 256\]"),
        ("- {name: sky, color: [1, 2, true]}", r"color is \[1, 2, True\]"),
        (f"{CLASSES[0]}\n{CLASSES[0]}", "label 1 is named 'road' like an earlier one"),
        ("- {name: '', color: [1, 2, 3]}", "label 0 has an empty name"),
    ],
)
def test_classes_that_are_none_are_refused_by_key(tmp_path: Path, text: str, said: str) -> None:
    path = write_lines(tmp_path / "classes.yaml", text)
    with pytest.raises(DatasetError, match=said) as caught:
        read_classes(path)
    assert str(caught.value).startswith(str(path))


def test_a_folder_is_opened_by_its_kind(root: Path) -> None:
    assert isinstance(open_dataset("folder", root, labels=TWO), FolderDataset)
