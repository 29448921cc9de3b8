"""Masks as colours, alone and over the picture."""

from __future__ import annotations

import numpy as np
import pytest

from dcfm_ros.imaging.frame import Frame
from dcfm_ros.imaging.labels import CAMVID, UNLABELLED, LabelSet
from dcfm_ros.imaging.overlay import colorize, overlay

LABELS = LabelSet(("road", "sky"), ((200, 100, 0), (0, 50, 250)))
MASK = np.array([[0, 1, UNLABELLED], [7, 0, 1]], np.uint8)


def test_colorize_looks_every_id_up() -> None:
    mask = np.arange(256, dtype=np.uint8).reshape(16, 16)
    colors = colorize(mask, CAMVID)
    assert colors.dtype == np.uint8
    np.testing.assert_array_equal(colors, CAMVID.palette[mask])
    np.testing.assert_array_equal(
        colorize(MASK, LABELS),
        [[(200, 100, 0), (0, 50, 250), (0, 0, 0)], [(0, 0, 0), (200, 100, 0), (0, 50, 250)]],
    )


def test_overlay_blends_and_leaves_the_unlabelled_alone() -> None:
    frame = Frame(np.full((2, 3, 3), (40, 60, 80), np.uint8))
    np.testing.assert_array_equal(
        overlay(frame, MASK, LABELS, 0.25),
        [[(80, 70, 60), (30, 58, 122), (40, 60, 80)], [(30, 45, 60), (80, 70, 60), (30, 58, 122)]],
    )
    np.testing.assert_array_equal(overlay(frame, MASK, LABELS)[0, 0], (120, 80, 40))


def test_overlay_at_the_ends_of_opacity() -> None:
    frame = Frame(np.random.default_rng(0).integers(0, 256, (2, 3, 3), np.uint8))
    np.testing.assert_array_equal(overlay(frame, MASK, LABELS, 0), frame.pixels)
    expected = colorize(MASK, LABELS)
    expected[0, 2] = frame.pixels[0, 2]
    np.testing.assert_array_equal(overlay(frame, MASK, LABELS, 1), expected)


def test_overlay_leaves_frame_and_mask_as_they_were() -> None:
    pixels, mask = np.full((2, 3, 3), 9, np.uint8), MASK.copy()
    pixels.setflags(write=False)
    mask.setflags(write=False)
    result = overlay(Frame(pixels), mask, LABELS)
    assert not np.shares_memory(result, pixels)
    assert (pixels == 9).all() and (mask == MASK).all()


def test_overlay_takes_other_channel_orders() -> None:
    rgb = np.random.default_rng(0).integers(0, 256, (2, 3, 3), np.uint8)
    expected = overlay(Frame(rgb), MASK, LABELS)
    np.testing.assert_array_equal(overlay(Frame(rgb[:, :, ::-1], "bgr"), MASK, LABELS), expected)
    mono = overlay(Frame(rgb[:, :, 0], "mono"), MASK, LABELS)
    np.testing.assert_array_equal(mono, overlay(Frame(rgb[:, :, :1].repeat(3, 2)), MASK, LABELS))


def test_bad_masks_and_opacities_are_refused() -> None:
    frame = Frame(np.zeros((2, 3, 3), np.uint8))
    with pytest.raises(ValueError, match=r"\(4, 3\); expected the frame's, \(2, 3\)"):
        overlay(frame, np.zeros((4, 3), np.uint8), LABELS)
    for opacity in (-0.1, 1.1, float("nan")):
        with pytest.raises(ValueError, match=r"opacity is .*; expected 0 to 1"):
            overlay(frame, MASK, LABELS, opacity)
    with pytest.raises(ValueError, match=r"mask is int64 \(2, 3\); expected uint8"):
        overlay(frame, MASK.astype(np.int64), LABELS)
    with pytest.raises(ValueError, match=r"mask is uint8 \(2, 3, 1\)"):
        colorize(MASK[:, :, None], LABELS)
