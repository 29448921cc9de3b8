"""What is noted of each frame of a report."""

from __future__ import annotations

import numpy as np
import pytest

from dcfm_ros.evaluation.metrics import SegmentationScore
from dcfm_ros.evaluation.report.frames import FLICKER_WINDOW, Flicker, Overlap, shares_of

CLASSES = 5


def noise(seed: int, *others: int) -> np.ndarray:
    """Random ids, and `others` here and there."""
    return np.random.default_rng(seed).choice([*range(CLASSES), *others], (20, 30)).astype(np.uint8)


def test_overlaps_add_up_to_the_score_of_all_frames() -> None:
    score = SegmentationScore(CLASSES)
    pairs = [(noise(seed), noise(seed + 10, 255)) for seed in range(3)]
    for prediction, label in pairs:
        score.update(prediction, label)
    total = Overlap.sum([None, *(Overlap.of(*pair, CLASSES) for pair in pairs)])
    assert total is not None
    assert total.ious().tolist() == pytest.approx(score.per_class(), abs=1e-12)
    assert total.miou() == pytest.approx(score.miou(), abs=1e-12)


def test_pixels_without_a_class_in_the_mask_agree_with_nothing() -> None:
    overlap = Overlap.of(np.array([[0, 255, 255]], np.uint8), np.array([[0, 1, 255]], np.uint8), 2)
    assert (overlap.hits.tolist(), overlap.union.tolist()) == ([1, 0], [1, 1])


def test_no_overlap_is_none() -> None:
    assert Overlap.sum([None, None]) is None


def masks(*pixels: str) -> list[np.ndarray]:
    """A mask for each text, one digit a pixel."""
    return [np.array([[int(digit) for digit in text]], np.uint8) for text in pixels]


@pytest.mark.parametrize(
    "frames, expected",
    [
        (("00", "00", "00"), 0.0),
        (("00", "01", "00"), 0.5),  # there and back
        (("00", "11", "22"), 0.0),  # changed, and changed on
        (("00", "11", "11", "11", "00"), 1.0),  # back after four frames
        (("00", "11", "11", "11", "11", "00"), 0.0),  # the same after five: a thing that came and went
    ],
)
def test_flicker_is_what_changes_back_within_its_window(frames: tuple[str, ...], expected: float) -> None:
    assert FLICKER_WINDOW == 4
    flicker = Flicker()
    found = [flicker.update(mask) for mask in masks(*frames)]
    assert found[:2] == [None, None]
    assert found[-1] == expected


def test_flicker_does_not_look_back_beyond_a_stream_or_another_size() -> None:
    flicker = Flicker()
    for mask in masks("00", "11"):
        flicker.update(mask)
    flicker.begin_stream()
    assert [flicker.update(mask) for mask in masks("00", "11", "00")] == [None, None, 1.0]
    assert [flicker.update(mask) for mask in masks("000", "000", "000")] == [None, None, 0.0]


def test_shares_leave_out_what_has_no_class() -> None:
    assert shares_of(np.array([[0, 2, 2, 255]], np.uint8), 3).tolist() == [0.25, 0, 0.5]
