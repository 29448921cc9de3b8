"""Sizes for the network, pictures at those sizes, masks at the size somebody wants."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from dcfm_ros.imaging.encodings import to_rgb
from dcfm_ros.imaging.frame import ChannelOrder, Frame
from dcfm_ros.imaging.geometry import mask_to_size, network_size, resize_to_network

CHANNELS: dict[ChannelOrder, int] = {"mono": 1, "rgb": 3, "bgr": 3, "rgba": 4, "bgra": 4}
SIDES = st.integers(64, 4096)
MULTIPLES = st.sampled_from([8, 32])


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).integers(0, 256, shape, np.uint8)


@pytest.mark.parametrize(
    ("source", "trained", "multiple", "expected"),
    [
        ((1024, 2048), (512, 1024), 8, (512, 1024)),
        ((512, 1024), (512, 1024), 32, (512, 1024)),
        ((480, 853), (480, 853), 8, (480, 856)),
        ((720, 1280), (512, 1024), 8, (544, 968)),
        ((720, 1280), (512, 1024), 32, (544, 960)),
        ((1280, 720), (512, 1024), 8, (968, 544)),
        ((240, 320), (720, 960), 8, (720, 960)),
        ((1, 1000), (64, 64), 8, (8, 2024)),
        ((12, 12), (12, 12), 8, (16, 16)),
        ((20, 20), (20, 20), 8, (24, 24)),
    ],
)
def test_network_size(
    source: tuple[int, int], trained: tuple[int, int], multiple: int, expected: tuple[int, int]
) -> None:
    assert network_size(*source, trained, multiple) == expected


@given(height=SIDES, width=SIDES, trained_height=SIDES, trained_width=SIDES, multiple=MULTIPLES)
def test_network_size_keeps_aspect_and_pixel_count(
    height: int, width: int, trained_height: int, trained_width: int, multiple: int
) -> None:
    sides = network_size(height, width, (trained_height, trained_width), multiple)
    assert all(side % multiple == 0 and side >= multiple for side in sides)
    exact_height = (trained_height * trained_width * height / width) ** 0.5
    exact_width = (trained_height * trained_width * width / height) ** 0.5
    for side, exact in zip(sides, (exact_height, exact_width), strict=True):
        assert side == multiple or abs(side - exact) <= multiple / 2 + 1e-6


@given(height=SIDES, width=SIDES, multiple=MULTIPLES, factor=st.integers(1, 4))
def test_the_trained_shape_goes_in_at_the_trained_size(height: int, width: int, multiple: int, factor: int) -> None:
    expected = tuple(max(1, (side + multiple // 2) // multiple) * multiple for side in (height, width))
    assert network_size(height, width, (height, width), multiple) == expected
    assert network_size(height * factor, width * factor, (height, width), multiple) == expected


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0, 5, (8, 8), 8), "height is 0; expected at least 1"),
        ((5, -2, (8, 8), 8), "width is -2"),
        ((5, 5, (8, 8), 0), "multiple is 0"),
        ((5, 5, (8, 0), 8), r"trained_size is \(8, 0\)"),
    ],
)
def test_network_size_refuses_what_is_no_size(arguments: tuple[int, int, tuple[int, int], int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        network_size(*arguments)


@pytest.mark.parametrize("size", [(4, 6), (16, 24), (4, 24), (8, 12)])
@pytest.mark.parametrize("order", CHANNELS)
def test_resized_is_contiguous_rgb_of_the_right_colour(order: ChannelOrder, size: tuple[int, int]) -> None:
    color = {"mono": [90], "rgb": [10, 20, 30], "bgr": [30, 20, 10], "rgba": [10, 20, 30, 0], "bgra": [30, 20, 10, 0]}
    pixels = np.tile(np.array(color[order], np.uint8), (8, 12, 1))
    resized = resize_to_network(Frame(pixels[:, :, 0] if order == "mono" else pixels, order), size)
    assert resized.shape == (*size, 3) and resized.dtype == np.uint8 and resized.flags.c_contiguous
    expected = np.array([90] * 3 if order == "mono" else [10, 20, 30])
    assert (resized == expected).all()


def test_shrinking_averages_areas() -> None:
    pixels = noise(8, 12, 3)
    means = pixels.reshape(4, 2, 4, 3, 3).mean((1, 3))
    np.testing.assert_allclose(resize_to_network(Frame(pixels), (4, 4)), means, atol=0.51)


def test_shrinking_one_side_alone_averages_too() -> None:
    pixels = noise(8, 12, 3)
    np.testing.assert_allclose(resize_to_network(Frame(pixels), (8, 4)), pixels.reshape(8, 4, 3, 3).mean(2), atol=0.51)


def test_enlarging_interpolates_linearly() -> None:
    pixels = np.array([[0, 100]], np.uint8)
    enlarged = resize_to_network(Frame(pixels, "mono"), (1, 4))
    np.testing.assert_array_equal(enlarged[0, :, 0], [0, 25, 75, 100])


def test_the_right_size_is_not_resampled_or_copied() -> None:
    frame = Frame(noise(8, 16, 3))
    assert np.shares_memory(resize_to_network(frame, (8, 16)), frame.pixels)
    swapped = Frame(frame.pixels[:, :, ::-1].copy(), "bgr")
    np.testing.assert_array_equal(resize_to_network(swapped, (8, 16)), frame.pixels)


@given(
    order=st.sampled_from(list(CHANNELS)),
    source=st.tuples(st.integers(1, 20), st.integers(1, 20)),
    size=st.tuples(st.integers(1, 30), st.integers(1, 30)),
    padding=st.integers(0, 3),
)
def test_order_of_resizing_and_swapping_does_not_show(
    order: ChannelOrder, source: tuple[int, int], size: tuple[int, int], padding: int
) -> None:
    height, width = source
    row = noise(height, width * CHANNELS[order] + padding)[:, : width * CHANNELS[order]]
    pixels = row if order == "mono" else row.reshape(height, width, -1)
    frame = Frame(pixels, order)
    np.testing.assert_array_equal(resize_to_network(frame, size), resize_to_network(Frame(to_rgb(frame)), size))


@given(
    source=st.tuples(st.integers(1, 20), st.integers(1, 20)),
    size=st.tuples(st.integers(1, 40), st.integers(1, 40)),
)
def test_mask_to_size_invents_no_id(source: tuple[int, int], size: tuple[int, int]) -> None:
    mask = noise(*source)
    resized = mask_to_size(mask, size)
    assert resized.shape == size and resized.dtype == np.uint8
    assert set(resized.ravel()) <= set(mask.ravel())


def test_mask_to_size_takes_the_id_at_each_centre() -> None:
    mask = noise(3, 4)
    np.testing.assert_array_equal(mask_to_size(mask, (6, 8)), mask.repeat(2, 0).repeat(2, 1))
    np.testing.assert_array_equal(mask_to_size(mask.repeat(3, 0).repeat(3, 1), (3, 4)), mask)
    large = noise(9, 12)
    np.testing.assert_array_equal(mask_to_size(large, (3, 4)), large[1::3, 1::3])
    assert mask_to_size(mask, (3, 4)) is mask


@given(source=st.integers(1, 2000), target=st.integers(1, 2000))
@example(1280, 480)  # every third centre lies on an edge: versions of OpenCV differ there
@example(360, 250)
def test_mask_to_size_takes_the_same_pixels_whatever_the_version_of_opencv(source: int, target: int) -> None:
    mask = noise(1, source)
    centres = [Fraction(2 * index + 1, 2) * source / target for index in range(target)]
    expected = mask[:, [math.floor(centre) for centre in centres]]
    np.testing.assert_array_equal(mask_to_size(mask, (1, target)), expected)
    np.testing.assert_array_equal(mask_to_size(mask.T, (target, 1)), expected.T)


def test_bad_masks_and_sizes_are_refused() -> None:
    with pytest.raises(ValueError, match=r"mask is uint8 \(2, 2, 3\); expected uint8 \(H, W\)"):
        mask_to_size(noise(2, 2, 3), (4, 4))
    with pytest.raises(ValueError, match="mask is int64"):
        mask_to_size(np.zeros((2, 2), np.int64), (4, 4))
    with pytest.raises(ValueError, match=r"size is \(0, 4\)"):
        mask_to_size(noise(2, 2), (0, 4))
    with pytest.raises(ValueError, match=r"size is \(4, 0\)"):
        resize_to_network(Frame(noise(2, 2, 3)), (4, 0))
