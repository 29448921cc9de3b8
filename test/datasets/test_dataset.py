"""What every data set shares: clips and their neighbours, runs of frames, and lists of names."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
from dataset_files import RED, neighbours, write_ids, write_pixels
from hypothesis import given
from hypothesis import strategies as st

from dcfm_ros.datasets.dataset import Clip, Dataset, DatasetError, by_number, consecutive, read_lines
from dcfm_ros.imaging.labels import CAMVID

NUMBERS = st.sets(st.integers(0, 60), min_size=1, max_size=20)


class Plain(Dataset):
    """Labels as they stand in the file."""

    def decode(self, ids: np.ndarray, path: Path) -> np.ndarray:
        return ids


def clip_of(numbers: set[int], labelled: tuple[int, ...] = (), step: int = 1) -> Clip:
    frames = {number: Path(f"{number}.png") for number in numbers}
    return Clip.of("drive", frames, {number: Path(f"l{number}.png") for number in labelled}, step)


@given(NUMBERS, st.integers(1, 4), st.integers(1, 3))
def test_neighbours_are_the_frames_that_far_away_in_time(numbers: set[int], distance: int, step: int) -> None:
    clip = clip_of(numbers, step=step)
    for index, number in enumerate(clip.numbers):
        found = [clip.numbers[other] for other in neighbours(clip, index, distance)]
        assert found == [n for n in (number - distance * step, number + distance * step) if n in numbers]


def test_a_gap_is_no_neighbour() -> None:
    clip = clip_of({7, 8, 10, 11})
    assert [neighbours(clip, index) for index in range(4)] == [(1,), (0,), (3,), (2,)]
    assert neighbours(clip, 1, 2) == (2,)


def test_a_clip_is_in_the_order_of_time_with_labels_by_index() -> None:
    clip = clip_of({12, 3, 7}, labelled=(7, 99))
    assert clip.numbers == (3, 7, 12)
    assert clip.frames == (Path("3.png"), Path("7.png"), Path("12.png"))
    assert clip.labels == {1: Path("l7.png")}
    assert len(clip) == 3


@pytest.mark.parametrize(
    ("numbers", "labels", "said"),
    [
        ((1,), {}, "has 1 numbers for 2 frames"),
        ((2, 2), {}, r"frame numbers of clip drive do not rise: \(2, 2\)"),
        ((1, 2), {2: Path("l")}, "has a label for frame 2 of 2"),
    ],
)
def test_a_clip_that_does_not_fit_together_is_refused(
    numbers: tuple[int, ...], labels: dict[int, Path], said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        Clip("drive", (Path("a"), Path("b")), numbers, labels)


def test_labelled_frames_come_clip_by_clip_in_the_order_of_time(tmp_path: Path) -> None:
    first, second = clip_of({1, 2, 3}, labelled=(3, 1)), clip_of({4}, labelled=(4,))
    dataset = Plain(tmp_path, CAMVID, [first, second])
    assert dataset.labelled() == [(first, 0), (first, 2), (second, 0)]
    assert pickle.loads(pickle.dumps(dataset)).labelled() == dataset.labelled()


def test_an_image_and_its_label_are_read_together_and_must_fit(tmp_path: Path) -> None:
    frames = {number: write_pixels(tmp_path / f"{number}.png") for number in (1, 2, 3)}
    labels = {1: write_ids(tmp_path / "l1.png", 5), 2: write_ids(tmp_path / "l2.png", 5, (4, 8))}
    clip = Clip.of("drive", frames, labels)
    dataset = Plain(tmp_path, CAMVID, [clip])
    image, label = dataset.read(clip, 0)
    np.testing.assert_array_equal(image, RED)
    np.testing.assert_array_equal(label, np.full((4, 6), 5, np.uint8))
    assert dataset.read(clip, 2)[1] is None
    with pytest.raises(DatasetError, match=r"l2.png is 8x4; expected the size of its image .*2.png, 6x4"):
        dataset.read(clip, 1)


@given(NUMBERS)
def test_runs_are_as_long_as_can_be(numbers: set[int]) -> None:
    runs = list(consecutive(numbers))
    assert [number for run in runs for number in run] == sorted(numbers)
    assert all(run.start - 1 not in numbers and run.stop not in numbers for run in runs)


def test_no_numbers_make_no_run() -> None:
    assert list(consecutive([])) == []


def test_two_files_of_one_number_are_named() -> None:
    with pytest.raises(DatasetError, match=r"a/7.jpg and 007.jpg are both frame 7"):
        by_number([(7, Path("a/007.jpg")), (7, Path("a/7.jpg"))])


def test_a_list_is_read_without_blank_lines_and_windows_line_ends(tmp_path: Path) -> None:
    (tmp_path / "train.txt").write_bytes(b"\xef\xbb\xbfone\r\n\r\n  two \n")
    assert read_lines(tmp_path / "train.txt", "names") == [(1, "one"), (3, "two")]


@pytest.mark.parametrize(
    ("content", "said"),
    [(None, r"cannot be read \(No such file"), (b"\n \n", "is empty"), (b"\xff\xfe\x00", "is not UTF-8 text")],
)
def test_a_list_that_is_none_is_refused(tmp_path: Path, content: bytes | None, said: str) -> None:
    if content is not None:
        (tmp_path / "train.txt").write_bytes(content)
    with pytest.raises(DatasetError, match=rf"train.txt {said}.*; expected names"):
        read_lines(tmp_path / "train.txt", "names")
