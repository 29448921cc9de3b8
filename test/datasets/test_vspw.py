"""VSPW: which clips a split has, what the numbers in its masks become, and what is refused by name."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
from dataset_files import neighbours, write_ids, write_lines, write_pixels
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as Items

from dcfm_ros.datasets import vspw
from dcfm_ros.datasets.dataset import DatasetError
from dcfm_ros.datasets.vspw import VspwDataset
from dcfm_ros.imaging.labels import VSPW


def write_clip(root: Path, name: str, frames: tuple[int, ...], masks: tuple[int, ...]) -> None:
    for number in frames:
        write_pixels(root / "data" / name / "origin" / f"{number:08d}.jpg")
    for number in masks:
        write_ids(root / "data" / name / "mask" / f"{number:08d}.png")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A clip with a missing frame, one of every other frame, one without masks, and what macOS leaves behind."""
    write_clip(tmp_path, "b_cooking", (8, 9, 10, 12), (8, 9, 10, 12))
    write_clip(tmp_path, "a_street", (1, 3, 5), (3,))
    write_clip(tmp_path, "c_hidden", (1,), ())
    (tmp_path / "data" / "b_cooking" / "origin" / "._00000008.jpg").write_bytes(b"macOS")
    write_lines(tmp_path / "train.txt", "b_cooking", "a_street")
    write_lines(tmp_path / "test.txt", "c_hidden")
    return tmp_path


def test_clips_come_as_listed_with_frames_in_the_order_of_time(root: Path) -> None:
    dataset = VspwDataset(str(root), "train")
    assert dataset.labels is VSPW
    assert [clip.name for clip in dataset.clips] == ["b_cooking", "a_street"]
    assert [path.name for path in dataset.clips[0].frames] == [f"{n:08d}.jpg" for n in (8, 9, 10, 12)]
    assert dataset.clips[1].labels == {1: root / "data" / "a_street" / "mask" / "00000003.png"}
    image, label = dataset.read(dataset.clips[1], 1)
    assert image.shape == (4, 6, 3) and label is not None and (label == 0).all()
    assert dataset.label(dataset.clips[1], 0) is None


def test_neighbours_do_not_reach_across_a_missing_frame(root: Path) -> None:
    cooking, street = VspwDataset(root, "train").clips
    assert [neighbours(cooking, index) for index in range(4)] == [(1,), (0, 2), (1,), ()]
    assert [neighbours(street, index) for index in range(3)] == [(1,), (0, 2), (1,)]


def test_only_the_test_split_may_have_no_masks(root: Path) -> None:
    assert VspwDataset(root, "test").labelled() == []
    write_lines(root / "val.txt", "c_hidden")
    with pytest.raises(DatasetError, match=r"no clip of .*val.txt has a mask; expected .*mask/\*\.png"):
        VspwDataset(root, "val")


def test_every_value_of_a_mask_becomes_its_class_or_is_ignored(root: Path) -> None:
    ids = np.arange(256, dtype=np.uint8).reshape(16, 16)
    found = VspwDataset(root, "train").decode(ids, Path("mask.png")).ravel()
    assert found[0] == 255
    np.testing.assert_array_equal(found[1:125], np.arange(124))
    assert (found[125:] == 255).all() and found.dtype == np.uint8


def test_stray_labels_are_counted_and_each_is_reported_once(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    dataset = VspwDataset(root, "train")
    write_ids(root / "data" / "b_cooking" / "mask" / "00000008.png", 252)
    write_ids(root / "data" / "b_cooking" / "mask" / "00000009.png", 252)
    with caplog.at_level(logging.WARNING):
        for clip, index in dataset.labelled():
            dataset.label(clip, index)
        for _ in range(2):  # a mask that is read again counts once
            dataset.decode(np.array([[125, 252]], np.uint8), Path("more.png"))
    assert dataset.strays == {252: 49, 125: 1}
    first, second = [record.getMessage() for record in caplog.records]
    assert first.endswith(
        "00000008.png holds the label 252 in 24 pixels; expected 0 to 124. It is ignored, in all files"
    )
    assert second.startswith("more.png holds the label 125 in 1 pixels")


class Warned(Items[int]):
    """Reads a mask with a stray label for each item, which is how many warnings that gave."""

    def __init__(self, dataset: VspwDataset) -> None:
        self._dataset = dataset

    def __len__(self) -> int:
        return 3

    def __getitem__(self, item: int) -> int:
        records: list[logging.LogRecord] = []

        class Kept(logging.Handler):
            def emit(self, record: logging.LogRecord) -> None:
                records.append(record)

        handler = Kept()
        vspw.log.addHandler(handler)
        self._dataset.decode(np.array([[252]], np.uint8), Path(f"{item}.png"))
        vspw.log.removeHandler(handler)
        return len(records)


@pytest.mark.parametrize(("workers", "warned", "counted"), [(0, [1, 0, 0], {252: 3}), (2, [0, 0, 0], {})])
def test_stray_labels_are_the_programs_own_to_report(
    root: Path, workers: int, warned: list[int], counted: dict[int, int]
) -> None:
    dataset = VspwDataset(root, "train")
    assert list(DataLoader(Warned(dataset), batch_size=None, num_workers=workers)) == warned
    assert dataset.strays == counted


def test_masks_of_missing_frames_are_left_out_and_counted(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_clip(root, "a_street", (), (9, 11))
    dataset = VspwDataset(root, "train")
    assert list(dataset.clips[1].labels) == [1]
    assert "2 masks have no frame and are left out, the first of them" in caplog.text
    assert "a_street/mask/00000009.png" in caplog.text


def test_a_missing_list_is_named(root: Path) -> None:
    with pytest.raises(DatasetError, match=r"val.txt cannot be read .*; expected the name of a clip in each line"):
        VspwDataset(root, "val")


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (("a_street", "", "d_gone"), r"train.txt, line 3: the clip d_gone has no folder .*data/d_gone/origin"),
        (("a_street", "a_street"), "train.txt, line 2: the clip a_street is there twice"),
    ],
)
def test_a_line_that_names_no_clip_is_refused(root: Path, lines: tuple[str, ...], said: str) -> None:
    write_lines(root / "train.txt", *lines)
    with pytest.raises(DatasetError, match=said):
        VspwDataset(root, "train")


def test_frames_need_numbers_for_names(root: Path) -> None:
    write_pixels(root / "data" / "a_street" / "origin" / "cover.jpg")
    with pytest.raises(
        DatasetError, match=r"origin/cover.jpg has no number for a name; expected one like 00000001.jpg"
    ):
        VspwDataset(root, "train")


def test_a_clip_without_frames_is_refused(root: Path) -> None:
    (root / "data" / "c_hidden" / "origin" / "00000001.jpg").unlink()
    with pytest.raises(DatasetError, match=r"c_hidden/origin holds no image"):
        VspwDataset(root, "test")
