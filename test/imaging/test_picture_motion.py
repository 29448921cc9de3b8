"""Motion between two pictures, and the grid that it gives."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from moving_pictures import motion_between, moved, texture

from dcfm_ros.imaging.motion import Motion, MotionSince, small_grey


@pytest.mark.parametrize(("right", "down"), [(8, 0), (0, -6), (-5, 7)])
def test_a_shift_of_the_picture_is_found(right: int, down: int) -> None:
    one, other = small_grey(texture()), small_grey(moved(texture(), right, down))
    motion = motion_between(other, one)
    inside = motion.grid((45, 60))[8:-8, 8:-8]
    resting = Motion(None).grid((45, 60))[8:-8, 8:-8]
    expected = resting - [2 * right / 480, 2 * down / 360]
    assert np.abs(np.median(inside - expected, (0, 1))).max() < 2 * 1 / 480


def test_where_nothing_moves_but_noise_nothing_is_done() -> None:
    noise = np.random.default_rng(1).normal(0, 3, (360, 480, 3))
    noisy = np.clip(texture() + noise, 0, 255).astype(np.uint8)
    motion = motion_between(small_grey(noisy), small_grey(texture()))
    assert motion.flow is None


def test_plain_pictures_have_a_finite_motion() -> None:
    black, white = (small_grey(np.full((360, 480, 3), value, np.uint8)) for value in (0, 255))
    assert np.isfinite(motion_between(white, black).grid((45, 60))).all()


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
def test_places_whose_motion_is_no_number_stay_where_they_are(wrong: float, monkeypatch: pytest.MonkeyPatch) -> None:
    class Search:
        def calc(self, grey: np.ndarray, other: np.ndarray, flow: None) -> np.ndarray:
            found = np.full((*grey.shape, 2), 3, np.float32)
            found[:80, :, 0] = wrong
            return found

    monkeypatch.setattr(cv2, "DISOpticalFlow_create", lambda preset: Search())
    greys = [small_grey(moved(texture(), 6 * step, 0)) for step in range(3)]
    since = MotionSince(greys[0])
    for motion in (motion_between(greys[1], greys[0]), *map(since.follow, greys[1:])):
        assert motion.flow is not None
        assert np.isfinite(motion.grid((45, 60))).all()
        assert (motion.flow[:70, :, 0] == 0).all() and (motion.flow[-40:] >= 3).all()


def test_the_same_pictures_give_the_same_motion() -> None:
    one, other = small_grey(texture()), small_grey(moved(texture(), 9, 3))
    first, again = (motion_between(one, other).flow for _ in range(2))
    assert first is not None and again is not None
    assert np.array_equal(first, again)


@given(st.integers(8, 90), st.integers(8, 90), st.integers(1, 40), st.integers(1, 40))
@settings(max_examples=40)
def test_any_size_has_a_grid_of_any_size(height: int, width: int, rows: int, columns: int) -> None:
    pixels = np.random.default_rng(height * width).integers(0, 256, (2, height, width, 3), np.uint8)
    motion = motion_between(small_grey(pixels[0]), small_grey(pixels[1]))
    grid = motion.grid((rows, columns))
    assert (grid.shape, grid.dtype) == ((rows, columns, 2), np.float32)
    assert np.isfinite(grid).all()
    resting = Motion(None).grid((rows, columns))
    assert np.abs(resting).max() < 1
    np.testing.assert_allclose(resting, -resting[::-1, ::-1], atol=1e-6)


def offset_of(motion: Motion) -> np.ndarray:
    """The median move inside the picture, x and y, in pixels of a picture of 360x480."""
    size = (45, 60)
    inside = (motion.grid(size) - Motion(None).grid(size))[8:-8, 8:-8]
    return np.median(inside, (0, 1)) * (240, 180)


def test_motion_since_a_keyframe_goes_on_where_a_straight_search_breaks() -> None:
    greys = [small_grey(moved(texture(), 14 * step, -6 * step)) for step in range(10)]
    since = MotionSince(greys[0])
    offsets = [offset_of(since.follow(grey)) for grey in greys[1:]]
    np.testing.assert_allclose(offsets, [(-14 * step, 6 * step) for step in range(1, 10)], atol=2.5)
    assert np.abs(offset_of(motion_between(greys[9], greys[0])) - (-126, 54)).max() > 20


def test_what_creeps_is_followed_although_each_step_is_less_than_noise() -> None:
    calm = cv2.convertScaleAbs(cv2.GaussianBlur(texture(), (0, 0), 9), alpha=0.4, beta=70)
    greys = [small_grey(moved(calm, step, 0)) for step in range(13)]
    assert motion_between(greys[1], greys[0]).flow is None
    since = MotionSince(greys[0])
    offsets = [offset_of(since.follow(grey))[0] for grey in greys[1:]]
    assert offsets[-1] == pytest.approx(-12, abs=1.5)


def test_a_picture_that_is_the_keyframes_again_has_not_moved() -> None:
    greys = [small_grey(moved(texture(), 5 * step, 0)) for step in range(3)]
    since = MotionSince(greys[0])
    assert [since.follow(grey).flow is None for grey in (*greys[1:], greys[0], greys[1])] == [False, False, True, False]
