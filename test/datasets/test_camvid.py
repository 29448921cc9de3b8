"""CamVid: labels, the frames they belong to and those around them, and what is refused by name."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from dataset_files import neighbours, write_ids, write_lines, write_pixels

from dcfm_ros.datasets.camvid import CamvidDataset
from dcfm_ros.datasets.dataset import DatasetError
from dcfm_ros.imaging.labels import CAMVID


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two sequences: 100 frames with labels at 31, 61 and 62, and three frames around a label, the next one missing."""
    for number in range(1, 101):
        write_pixels(tmp_path / "0006R0" / f"0006R0_{number:06d}.png")
    for number in (7, 8, 10):
        write_pixels(tmp_path / "Seq05VD" / f"Seq05VD_{number:06d}.png")
    pairs = ["0006R0_f00930 0006R0_000031", "0006R0_f00960\t0006R0_000061", "", "0006R0_f00961 , 0006R0_000062"]
    write_lines(tmp_path / "id2id.txt", *pairs, "Seq05VD_f00000,Seq05VD_000008", "0016E5_00390 0016E5_000001")
    for label in ("0006R0_f00930", "0006R0_f00960", "0006R0_f00961", "Seq05VD_f00000"):
        write_ids(tmp_path / "gt" / f"{label}_L.png", 3)
    write_lines(tmp_path / "train.txt", "Seq05VD_f00000", "0006R0_f00961", "0006R0_f00930")
    write_lines(tmp_path / "val.txt", "0006R0_f00960")
    return tmp_path


def test_a_clip_holds_the_frames_around_its_labels_and_ends_at_a_gap(root: Path) -> None:
    dataset = CamvidDataset(str(root), "train")
    assert dataset.labels is CAMVID
    assert {clip.name: (clip.numbers[0], clip.numbers[-1], list(clip.labels)) for clip in dataset.clips} == {
        "0006R0/0006R0_000012": (12, 41, [19]),
        "0006R0/0006R0_000043": (43, 72, [19]),
        "Seq05VD/Seq05VD_000007": (7, 8, [1]),
    }
    assert [clip.frames[index].stem for clip, index in dataset.labelled()] == [
        "0006R0_000031",
        "0006R0_000062",
        "Seq05VD_000008",
    ]
    assert [neighbours(clip, index) for clip, index in dataset.labelled()] == [(18, 20), (18, 20), (0,)]


def test_windows_that_meet_are_one_clip(root: Path) -> None:
    write_lines(root / "train.txt", "0006R0_f00930", "0006R0_f00960")
    (clip,) = CamvidDataset(root, "train").clips
    assert clip.numbers == tuple(range(12, 72))
    assert list(clip.labels) == [19, 49]


def test_clips_of_sequences_that_call_their_frames_alike_have_names_of_their_own(tmp_path: Path) -> None:
    for sequence in ("one", "two"):
        write_pixels(tmp_path / sequence / "frame_0001.png")
        write_ids(tmp_path / "gt" / f"{sequence}_1_L.png")
    write_lines(tmp_path / "id2id.txt", "one_1 frame_0001", "two_1 frame_0001")
    write_lines(tmp_path / "train.txt", "one_1", "two_1")
    dataset = CamvidDataset(tmp_path, "train")
    assert [clip.name for clip in dataset.clips] == ["one/frame_0001", "two/frame_0001"]


def test_a_split_has_its_own_labels_only(root: Path) -> None:
    dataset = CamvidDataset(root, "val")
    ((clip, index),) = dataset.labelled()
    image, label = dataset.read(clip, index)
    assert clip.labels[index] == root / "gt" / "0006R0_f00960_L.png"
    assert image.shape == (4, 6, 3) and label is not None and (label == 3).all()
    assert dataset.label(clip, index + 1) is None


def test_eleven_classes_stay_and_two_ids_are_ignored(root: Path) -> None:
    ids = np.array([[*range(12), 255]], np.uint8)
    found = CamvidDataset(root, "train").decode(ids, Path("l.png"))[0]
    np.testing.assert_array_equal(found, [*range(11), 255, 255])
    assert found.dtype == np.uint8


@pytest.mark.parametrize("value", [12, 17, 21, 31, 254])
def test_ids_of_other_classes_are_refused_with_the_way_out(root: Path, value: int) -> None:
    write_ids(root / "gt" / "0006R0_f00961_L.png", value)
    said = (
        rf"f00961_L.png holds the label {value}; expected 0 to 11, .* CamVid's 32 classes, .* write the ids of its 11"
    )
    with pytest.raises(DatasetError, match=said):
        CamvidDataset(root, "train").check_labels()


def test_labels_in_colour_are_refused(root: Path) -> None:
    write_pixels(root / "gt" / "0006R0_f00960_L.png")
    dataset = CamvidDataset(root, "val")
    with pytest.raises(
        DatasetError, match=r"f00960_L.png is uint8 \(4, 6, 3\); expected an 8-bit PNG with one channel"
    ):
        dataset.label(*dataset.labelled()[0])


@pytest.mark.parametrize("name", ["id2id.txt", "train.txt"])
def test_a_missing_list_is_named(root: Path, name: str) -> None:
    (root / name).unlink()
    with pytest.raises(DatasetError, match=rf"{name} cannot be read .*; expected .* name .*in each line"):
        CamvidDataset(root, "train")


@pytest.mark.parametrize("text", ["0006R0_f00990", "a b c", "a,,b", "a,", "a;b"])
def test_a_line_that_is_no_pair_is_named(root: Path, text: str) -> None:
    write_lines(root / "id2id.txt", "0006R0_f00930 0006R0_000031", text)
    with pytest.raises(DatasetError, match=f"id2id.txt, line 2: '{text}'; expected a label's name and its frame's"):
        CamvidDataset(root, "train")


def test_a_label_of_two_frames_is_named(root: Path) -> None:
    write_lines(root / "id2id.txt", "0006R0_f00930 0006R0_000031", "0006R0_f00930 0006R0_000032")
    with pytest.raises(
        DatasetError, match="line 2: the label 0006R0_f00930 has the frame 0006R0_000032, but 0006R0_000031"
    ):
        CamvidDataset(root, "train")


def test_two_labels_of_one_frame_are_refused_in_one_split(root: Path) -> None:
    write_lines(root / "id2id.txt", *(f"0006R0_f009{n} 0006R0_000031" for n in (30, 60)))
    assert len(CamvidDataset(root, "val").labelled()) == 1
    write_lines(root / "val.txt", "0006R0_f00930", "0006R0_f00960")
    with pytest.raises(DatasetError, match="line 2: the frame 0006R0_000031 of the label 0006R0_f00960 is there twice"):
        CamvidDataset(root, "val")


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (("0006R0_f00930", "0006R0_f00001"), r"line 2: the label '0006R0_f00001' is not in .*/id2id.txt"),
        (("0016E5_00390",), r"line 1: the label 0016E5_00390 has no file; expected .*/gt/0016E5_00390_L.png"),
        (
            ("0006R0_f00930", "0006R0_f00930"),
            "line 2: the frame 0006R0_000031 of the label 0006R0_f00930 is there twice",
        ),
    ],
)
def test_a_line_of_a_split_that_is_no_label_is_named(root: Path, lines: tuple[str, ...], said: str) -> None:
    write_lines(root / "train.txt", *lines)
    with pytest.raises(DatasetError, match=f"train.txt, {said}"):
        CamvidDataset(root, "train")


def test_a_label_without_its_frame_is_named(root: Path) -> None:
    (root / "0006R0" / "0006R0_000061.png").unlink()
    with pytest.raises(
        DatasetError, match=r"gt/0006R0_f00960_L.png has no frame; expected .*/0006R0/0006R0_000061.png"
    ):
        CamvidDataset(root, "val")


def test_names_of_frames_end_in_their_numbers(root: Path) -> None:
    write_lines(root / "id2id.txt", "0006R0_f00960 0006R0")
    with pytest.raises(DatasetError, match=r"id2id.txt: the frame 0006R0 has no number at its end"):
        CamvidDataset(root, "val")
    write_pixels(root / "0006R0" / "cover.png")
    with pytest.raises(DatasetError, match=r"0006R0/cover.png has no number at its end; expected .* 0001TP_000001"):
        CamvidDataset(root, "val")
