"""Class ids and confidence of every pixel from logits on a coarse grid, against plain sums in float64."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dcfm_ros.imaging.logits import ids_from_logits

SIDES = st.integers(1, 9)
LENGTHS = st.integers(1, 60)


def upsampled(logits: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Every pixel's logits in float64, one axis after the other."""
    full = logits.astype(np.float64)
    for axis, length in zip((1, 2), size, strict=True):
        places = full.shape[axis]
        position = np.clip((np.arange(length) + 0.5) * places / length - 0.5, 0, places - 1)
        low = np.floor(position).astype(int)
        shape = [1, 1, 1]
        shape[axis] = length
        weight = (position - low).reshape(shape)
        high = np.minimum(low + 1, places - 1)
        full = full.take(low, axis) * (1 - weight) + full.take(high, axis) * weight
    return full


def assert_of_the_largest(ids: np.ndarray, full: np.ndarray) -> None:
    """Equal to argmax but where the two largest are within float32's rounding of each other."""
    assert ids.dtype == np.uint8 and ids.shape == full.shape[1:]
    chosen = np.take_along_axis(full, ids[None].astype(int), 0)[0]
    np.testing.assert_array_less(full.max(0) - chosen, 1e-5 * np.abs(full).max() + 1e-30)


def blobs(classes: int, height: int, width: int, seed: int = 0) -> np.ndarray:
    """Logits as a network's: areas of one class, with borders between them."""
    rng = np.random.default_rng(seed)
    coarse = rng.normal(size=(classes, 4, 5)).astype(np.float32) * 8
    return (upsampled(coarse, (height, width)) + rng.normal(size=(classes, height, width)) * 0.3).astype(np.float32)


@settings(max_examples=150)
@given(
    classes=st.integers(1, 9),
    grid=st.tuples(SIDES, SIDES),
    size=st.tuples(LENGTHS, LENGTHS),
    scale=st.sampled_from([1e-3, 1.0, 100.0]),
    classes_innermost=st.booleans(),
    seed=st.integers(0, 2**32 - 1),
)
def test_any_logits_at_any_size(
    classes: int, grid: tuple[int, int], size: tuple[int, int], scale: float, classes_innermost: bool, seed: int
) -> None:
    shape = (*grid, classes) if classes_innermost else (classes, *grid)
    logits = (np.random.default_rng(seed).normal(size=shape) * scale).astype(np.float32)
    if classes_innermost:
        logits = logits.transpose(2, 0, 1)
    ids, confidence = ids_from_logits(logits, size, confidence=True)
    full = upsampled(logits, size)
    assert_of_the_largest(ids, full)
    expected = 255 / np.exp(full - full.max(0)).sum(0)
    assert confidence is not None and confidence.dtype == np.uint8
    np.testing.assert_allclose(confidence, expected, atol=0.5 + 2e-3)


@pytest.mark.parametrize(
    ("grid", "size"),
    [((12, 16), (96, 128)), ((12, 16), (37, 51)), ((12, 16), (12, 16)), ((12, 16), (5, 7)), ((30, 41), (240, 331))],
)
def test_areas_with_borders(grid: tuple[int, int], size: tuple[int, int]) -> None:
    for seed, classes in enumerate((2, 11, 150)):
        logits = blobs(classes, *grid, seed)
        ids, confidence = ids_from_logits(logits, size)
        assert confidence is None
        assert_of_the_largest(ids, upsampled(logits, size))
        assert len(np.unique(ids)) > 1


def test_a_class_that_is_largest_at_no_corner_can_win_between_them() -> None:
    logits = np.array([[[5, -5]], [[-5, 5]], [[1, 1]]], np.float32)
    ids, _ = ids_from_logits(logits, (1, 20))
    np.testing.assert_array_equal(ids, upsampled(logits, (1, 20)).argmax(0))
    assert set(ids[0]) == {0, 1, 2}


@given(grid=st.tuples(SIDES, SIDES), size=st.tuples(LENGTHS, LENGTHS), seed=st.integers(0, 2**32 - 1))
def test_of_equals_the_lowest_id_wins(grid: tuple[int, int], size: tuple[int, int], seed: int) -> None:
    logits = np.random.default_rng(seed).normal(size=(3, *grid)).astype(np.float32)
    twice, _ = ids_from_logits(np.repeat(logits, 2, 0), size)
    np.testing.assert_array_equal(twice, 2 * ids_from_logits(logits, size)[0])
    assert not ids_from_logits(np.zeros((5, *grid), np.float32), size)[0].any()


def test_one_place_is_the_whole_picture() -> None:
    ids, confidence = ids_from_logits(np.array([1, 3, 2], np.float32)[:, None, None], (7, 5), confidence=True)
    assert confidence is not None
    assert (ids == 1).all()
    assert (confidence == round(255 / (1 + np.exp(-2.0) + np.exp(-1.0)))).all()


def test_confidence_of_logits_far_apart_is_finite() -> None:
    logits = np.array([[[3e4, -3e4]], [[-3e4, 3e4]]], np.float32)
    ids, confidence = ids_from_logits(logits, (2, 8), confidence=True)
    assert confidence is not None
    np.testing.assert_array_equal(ids[0], [0, 0, 0, 0, 1, 1, 1, 1])
    assert (confidence == 255).all()


def test_asking_for_confidence_changes_no_id() -> None:
    logits = blobs(11, 45, 60)
    without, _ = ids_from_logits(logits, (360, 480))
    np.testing.assert_array_equal(without, ids_from_logits(logits, (360, 480), confidence=True)[0])


def test_logits_are_left_as_they_were() -> None:
    logits = blobs(11, 9, 12)
    before = logits.copy()
    ids_from_logits(logits, (72, 96), confidence=True)
    np.testing.assert_array_equal(logits, before)


@pytest.mark.parametrize(
    ("logits", "size", "message"),
    [
        (np.zeros((2, 3), np.float32), (4, 4), r"logits are float32 \(2, 3\)"),
        (np.zeros((2, 3, 3), np.float64), (4, 4), r"logits are float64 \(2, 3, 3\)"),
        (np.zeros((0, 3, 3), np.float32), (4, 4), r"logits are float32 \(0, 3, 3\)"),
        (np.zeros((257, 1, 1), np.float32), (4, 4), r"1 to 256 classes"),
        (np.zeros((2, 3, 3), np.float32), (0, 4), r"size is \(0, 4\); expected a height and a width of at least 1"),
    ],
)
def test_what_is_no_logits_or_size_is_refused(logits: np.ndarray, size: tuple[int, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ids_from_logits(logits, size)
