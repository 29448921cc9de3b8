"""The colours of training pictures, against the formula written out on pictures of floats."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dcfm_ros.training.augmentation import coloured

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def plainly(image: np.ndarray, strength: float, rng: np.random.Generator) -> np.ndarray:
    """Saturation, contrast about the mean grey, brightness and tint, one after the other."""
    brightness, contrast, saturation = 1 + strength * rng.uniform(-1, 1, 3)
    tint = 1 + 0.3 * strength * rng.uniform(-1, 1, 3)
    pixels = image.astype(np.float32) / 255
    grey = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)[..., None]
    pixels = grey + saturation * (pixels - grey)
    pixels = (pixels - grey.mean()) * contrast + grey.mean()
    pixels = np.clip(pixels * brightness * tint, 0, 1)
    return ((pixels - MEAN) / STD).transpose(2, 0, 1)


@settings(max_examples=40)
@given(st.integers(0, 2**32), st.floats(0, 1), st.integers(1, 12), st.integers(1, 12))
def test_colours_are_what_the_formula_says(seed: int, strength: float, height: int, width: int) -> None:
    image = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    found = coloured(image, strength, MEAN, STD, np.random.default_rng(seed))
    expected = plainly(image, strength, np.random.default_rng(seed))
    assert found.dtype == np.float32 and found.flags["C_CONTIGUOUS"]
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("strength", [0.0, 0.3, 1.0])
def test_as_many_numbers_are_drawn_whatever_the_strength(strength: float) -> None:
    rng, other = (np.random.default_rng(1) for _ in range(2))
    coloured(np.zeros((2, 3, 3), np.uint8), strength, MEAN, STD, rng)
    other.uniform(size=6)
    assert rng.random() == other.random()
