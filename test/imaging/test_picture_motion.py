"""Motion between two pictures, and the grid that it gives."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from moving_pictures import moved, texture

from dcfm_ros.imaging.motion import Align, Motion, motion_between, small_grey


@pytest.mark.parametrize("kind", ["shift", "flow"])
@pytest.mark.parametrize(("right", "down"), [(8, 0), (0, -6), (-5, 7)])
def test_a_shift_of_the_picture_is_found(kind: Align, right: int, down: int) -> None:
    one, other = small_grey(texture()), small_grey(moved(texture(), right, down))
    motion = motion_between(other, one, kind)
    inside = motion.grid((45, 60))[8:-8, 8:-8]
    resting = Motion(None).grid((45, 60))[8:-8, 8:-8]
    expected = resting - [2 * right / 480, 2 * down / 360]
    assert np.abs(np.median(inside - expected, (0, 1))).max() < 2 * 1 / 480
    assert motion.magnitude == pytest.approx(np.hypot(right, down) / 480, abs=0.004)


def test_where_nothing_moves_but_noise_nothing_is_done() -> None:
    noise = np.random.default_rng(1).normal(0, 3, (360, 480, 3))
    noisy = np.clip(texture() + noise, 0, 255).astype(np.uint8)
    motion = motion_between(small_grey(noisy), small_grey(texture()))
    assert motion.flow is None
    assert motion.magnitude == 0


@pytest.mark.parametrize("kind", ["shift", "flow"])
def test_plain_pictures_have_a_finite_motion(kind: Align) -> None:
    black, white = (small_grey(np.full((360, 480, 3), value, np.uint8)) for value in (0, 255))
    assert np.isfinite(motion_between(white, black, kind).grid((45, 60))).all()


def test_the_same_pictures_give_the_same_motion() -> None:
    one, other = small_grey(texture()), small_grey(moved(texture(), 9, 3))
    assert np.array_equal(motion_between(one, other).flow, motion_between(one, other).flow)


@given(
    st.integers(8, 90), st.integers(8, 90), st.integers(1, 40), st.integers(1, 40), st.sampled_from(["shift", "flow"])
)
@settings(max_examples=40, deadline=None)
def test_any_size_has_a_grid_of_any_size(height: int, width: int, rows: int, columns: int, kind: Align) -> None:
    pixels = np.random.default_rng(height * width).integers(0, 256, (2, height, width, 3), np.uint8)
    motion = motion_between(small_grey(pixels[0]), small_grey(pixels[1]), kind)
    grid = motion.grid((rows, columns))
    assert (grid.shape, grid.dtype) == ((rows, columns, 2), np.float32)
    assert np.isfinite(grid).all()
    resting = Motion(None).grid((rows, columns))
    assert np.abs(resting).max() < 1
    np.testing.assert_allclose(resting, -resting[::-1, ::-1], atol=1e-6)
