"""Masks as run lengths and back."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from run_length_masks import mask_of_run_lengths

from dcfm_ros.imaging.run_lengths import run_lengths

SIDES = st.integers(1, 30)


def packed(*runs: tuple[int, int]) -> bytes:
    return b"".join(struct.pack("<Bi", *run) for run in runs)


def test_runs_go_on_from_row_to_row() -> None:
    mask = np.array([[7, 7, 0], [0, 0, 255], [255, 255, 1]], np.uint8)
    assert run_lengths(mask) == packed((7, 2), (0, 3), (255, 3), (1, 1))
    assert run_lengths(mask[:, ::-1]) == packed((0, 1), (7, 2), (255, 1), (0, 2), (1, 1), (255, 2))
    assert run_lengths(np.full((300, 300), 4, np.uint8)) == packed((4, 90_000))


@given(height=SIDES, width=SIDES, classes=st.sampled_from([1, 2, 256]), seed=st.integers(0, 1000))
def test_round_trip(height: int, width: int, classes: int, seed: int) -> None:
    mask = np.random.default_rng(seed).integers(0, classes, (height, width), np.uint8)
    data = run_lengths(mask)
    ids = mask.ravel()
    assert len(data) == 5 * (1 + np.count_nonzero(ids[1:] != ids[:-1]))
    back = mask_of_run_lengths(data, (height, width))
    assert back.dtype == np.uint8
    np.testing.assert_array_equal(back, mask)


def test_what_is_no_mask_is_refused() -> None:
    with pytest.raises(ValueError, match=r"mask is uint8 \(3,\); expected uint8 \(H, W\)"):
        run_lengths(np.zeros(3, np.uint8))
