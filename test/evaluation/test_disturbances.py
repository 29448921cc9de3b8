"""What disturbances do to pictures."""

from __future__ import annotations

from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dcfm_ros.evaluation.disturbances import DISTURBANCES, disturbance_names

NAMES = sorted(DISTURBANCES)


def picture(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def grey(value: int, height: int = 40, width: int = 60) -> np.ndarray:
    return np.full((height, width, 3), value, np.uint8)


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=15)
@given(height=st.integers(1, 40), width=st.integers(1, 60), seed=st.integers(0, 9))
def test_a_picture_stays_one_and_the_same_gives_the_same(name: str, height: int, width: int, seed: int) -> None:
    pixels = picture(height, width, seed)
    before = pixels.copy()
    first, again = DISTURBANCES[name](pixels), DISTURBANCES[name](pixels[:, ::-1][:, ::-1])
    assert (first.shape, first.dtype) == (pixels.shape, np.uint8)
    np.testing.assert_array_equal(first, again)
    np.testing.assert_array_equal(pixels, before)


@pytest.mark.parametrize("name", NAMES)
def test_each_changes_a_picture(name: str) -> None:
    pixels = picture(48, 480)
    assert np.abs(DISTURBANCES[name](pixels).astype(int) - pixels).mean() > 5


@pytest.mark.parametrize(
    ("name", "before", "after"),
    [
        ("dark", 100, 50),
        ("bright", 100, 160),
        ("bright", 200, 255),
        ("fog", 0, 120),
        ("fog", 200, 200),
        ("blur", 77, 77),
        ("motion_blur", 77, 77),
    ],
)
def test_an_even_shade_becomes(name: str, before: int, after: int) -> None:
    np.testing.assert_array_equal(DISTURBANCES[name](grey(before)), grey(after))


@pytest.mark.parametrize(("name", "shade", "mean", "sigma"), [("noise", 128, 128, 12), ("night", 128, 45.6, 6)])
def test_noise_has_its_mean_and_strength_and_differs_between_pictures(
    name: str, shade: int, mean: float, sigma: float
) -> None:
    noisy = DISTURBANCES[name](grey(shade, 200, 300))
    assert noisy.mean() == pytest.approx(mean, abs=0.3)
    assert noisy.std() == pytest.approx(sigma, rel=0.03)
    other = grey(shade, 200, 300)
    other[0, 0] += 1
    assert (DISTURBANCES[name](other)[1:] != noisy[1:]).mean() > 0.5


def test_night_leaves_the_lights() -> None:
    night = DISTURBANCES["night"]
    assert night(grey(255)).mean() > 245 and night(grey(64)).mean() < 16


@pytest.mark.parametrize(("width", "reach"), [(480, 10), (960, 19)])
def test_motion_blurs_along_the_rows_alone_by_2_percent_of_the_width(width: int, reach: int) -> None:
    pixels = grey(0, 21, width)
    pixels[10, width // 2] = 255
    rows, columns, _ = np.nonzero(DISTURBANCES["motion_blur"](pixels))
    assert set(rows) == {10} and len(set(columns)) == reach


@pytest.mark.parametrize("width", [480, 960])
def test_blur_follows_the_width(width: int) -> None:
    pixels = grey(0, 41, width)
    pixels[:, width // 2 :] = 255
    blurred, sigma = DISTURBANCES["blur"](pixels), 2 * width // 480
    # The edge lies between two pixels. Where it was, the shades follow the normal distribution's sum.
    expected = 255 * NormalDist(0, sigma).cdf(sigma + 0.5)
    assert blurred[20, width // 2 + sigma, 0] == pytest.approx(expected, abs=2)


def test_names_are_read_and_all_stands_for_every_one() -> None:
    assert disturbance_names("night") == ["night"]
    assert disturbance_names("jpeg, dark,jpeg") == ["jpeg", "dark"]
    assert disturbance_names("all") == list(DISTURBANCES)
    assert disturbance_names("fog,all")[0] == "fog" and sorted(disturbance_names("fog,all")) == NAMES


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("nigth", "unknown disturbance 'nigth'; did you mean 'night'"),
        ("dark,xyz", "unknown disturbance 'xyz'; expected all, dark, bright"),
        ("", "unknown disturbance ''"),
    ],
)
def test_an_unknown_name_is_refused_with_the_nearest(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        disturbance_names(text)
