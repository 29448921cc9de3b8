"""Views: what is cut out of a frame, and its mask back in the camera's geometry."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dcfm_ros.imaging.class_map import ClassMap
from dcfm_ros.imaging.compressed import encode_jpeg, encode_png
from dcfm_ros.imaging.frame import ChannelOrder, Frame
from dcfm_ros.imaging.geometry import mask_to_size
from dcfm_ros.imaging.labels import UNLABELLED, LabelSet
from dcfm_ros.imaging.view import View, load_ignore_mask

SIDES = st.integers(1, 12)
CLASSES = 8
MERGED = ClassMap.parse(
    ["c1=c0", "c3=", "c6=c2"], LabelSet(tuple(f"c{i}" for i in range(CLASSES)), ((9, 9, 9),) * CLASSES)
)


def noise(*shape: int, values: int = 256, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, values, shape, np.uint8)


def test_a_view_of_everything_hands_everything_through() -> None:
    view = View()
    frame, mask, confidence = Frame(noise(6, 8, 3)), noise(6, 8), noise(6, 8, seed=1)
    assert view.crop(frame) is frame
    assert view.finish(mask, confidence, (6, 8)) == (mask, confidence)
    assert view.finish(mask, None, (6, 8)) == (mask, None)
    assert np.shares_memory(view.picture(frame).pixels, frame.pixels)
    assert not view.needs_confidence


@pytest.mark.parametrize("order", ["mono", "bgr", "rgba"])
def test_cropping_is_a_view_of_the_frames_pixels(order: ChannelOrder) -> None:
    pixels = noise(6, 8) if order == "mono" else noise(6, 8, len(order))
    cropped = View(region=(2, 1, 5, 3)).crop(Frame(pixels, order, 77, "any"))
    assert np.shares_memory(cropped.pixels, pixels)
    np.testing.assert_array_equal(cropped.pixels, pixels[1:4, 2:7])
    assert (cropped.order, cropped.stamp_ns, cropped.encoding) == (order, 77, "any")


def test_outside_the_region_there_is_no_class() -> None:
    mask, confidence = View(region=(2, 1, 5, 3)).finish(noise(3, 5, values=9), noise(3, 5), (6, 8))
    assert confidence is not None
    inside = np.zeros((6, 8), bool)
    inside[1:4, 2:7] = True
    np.testing.assert_array_equal(mask[1:4, 2:7], noise(3, 5, values=9))
    np.testing.assert_array_equal(confidence[1:4, 2:7], noise(3, 5))
    assert (mask[~inside] == UNLABELLED).all() and not confidence[~inside].any()


def test_ignored_pixels_have_no_class() -> None:
    ignore = np.zeros((6, 8), np.uint8)
    ignore[4:, 2:6] = 1
    mask, confidence = View(ignore=ignore).finish(noise(6, 8, values=9), noise(6, 8) | 1, (6, 8))
    np.testing.assert_array_equal(mask == UNLABELLED, ignore != 0)
    np.testing.assert_array_equal(confidence == 0, ignore != 0)


def test_an_ignore_mask_of_another_size_is_brought_to_the_frames() -> None:
    ignore = np.array([[0, 0], [0, 9]], np.uint8)
    mask, _ = View(ignore=ignore).finish(np.zeros((6, 8), np.uint8), None, (6, 8))
    expected = np.zeros((6, 8), np.uint8)
    expected[3:, 4:] = UNLABELLED
    np.testing.assert_array_equal(mask, expected)


@pytest.mark.parametrize(("least", "kept"), [(0.25, 64), (0.3, 77), (1 / 255, 1), (1.0, 255)])
def test_pixels_of_too_little_confidence_have_no_class(least: float, kept: int) -> None:
    every = np.arange(256, dtype=np.uint8).reshape(16, 16)
    view = View(min_confidence=least)
    mask, confidence = view.finish(np.full((16, 16), 3, np.uint8), every, (16, 16))
    assert view.needs_confidence and confidence is every
    np.testing.assert_array_equal(mask, np.where(every >= kept, 3, UNLABELLED))


@given(
    sides=st.tuples(SIDES, SIDES, SIDES, SIDES),
    margins=st.tuples(*[st.integers(0, 5)] * 4),
    has_region=st.booleans(),
    has_output=st.booleans(),
    ignore=st.none() | st.tuples(SIDES, SIDES),
    least=st.sampled_from([0.0, 0.3, 0.9]),
    class_map=st.sampled_from([None, MERGED]),
)
def test_a_mask_is_what_each_of_its_pixels_is(
    sides: tuple[int, int, int, int],
    margins: tuple[int, int, int, int],
    has_region: bool,
    has_output: bool,
    ignore: tuple[int, int] | None,
    least: float,
    class_map: ClassMap | None,
) -> None:
    size, output_size = sides[:2], sides[2:]
    x, y, right, below = margins if has_region else (0, 0, 0, 0)
    whole = size[0] + y + below, size[1] + x + right
    ignored = None if ignore is None else noise(*ignore, values=2, seed=2)
    view = View(
        (x, y, *size[::-1]) if has_region else None, ignored, output_size if has_output else None, least, class_map
    )
    mask, confidence = noise(*size, values=CLASSES), noise(*size, seed=1)
    given_mask, given_confidence = mask.copy(), confidence.copy()
    found = view.finish(mask, confidence, whole)

    labelled = mask if class_map is None else class_map.table[mask]
    labelled = np.where(confidence < 255 * least, UNLABELLED, labelled)
    around = ((y, below), (x, right))
    labelled, confident = (
        np.pad(values, around, constant_values=fill) for values, fill in ((labelled, UNLABELLED), (confidence, 0))
    )
    if ignored is not None:
        hidden = mask_to_size(ignored, whole) != 0
        labelled, confident = np.where(hidden, UNLABELLED, labelled), np.where(hidden, 0, confident)
    expected = (
        (labelled, confident)
        if not has_output
        else (mask_to_size(labelled, output_size), mask_to_size(confident, output_size))
    )
    for values, wanted in zip(found, expected, strict=True):
        assert values is not None and values.dtype == np.uint8
        np.testing.assert_array_equal(values, wanted)
    np.testing.assert_array_equal(mask, given_mask)
    np.testing.assert_array_equal(confidence, given_confidence)


def test_the_picture_has_the_size_of_the_masks() -> None:
    frame = Frame(noise(6, 8, 3), "bgr", 77, "bgr8")
    shown = View(region=(2, 1, 5, 3), output_size=(3, 4)).picture(frame)
    assert (shown.order, shown.stamp_ns, shown.encoding) == ("bgr", 77, "bgr8")
    means = frame.pixels.reshape(3, 2, 4, 2, 3).mean((1, 3))
    np.testing.assert_allclose(shown.pixels, means, atol=0.51)


@pytest.mark.parametrize("region", [(4, 0, 5, 3), (0, 4, 5, 3), (8, 0, 1, 1), (0, 0, 9, 6)])
def test_a_region_outside_the_frame_is_refused(region: tuple[int, int, int, int]) -> None:
    view = View(region=region)
    message = rf"region is {region[2]}x{region[3]} at \({region[0]}, {region[1]}\); .*frame of 8x6"
    with pytest.raises(ValueError, match=message):
        view.crop(Frame(noise(6, 8, 3)))
    with pytest.raises(ValueError, match=message):
        view.finish(noise(3, 5), None, (6, 8))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"region": (-1, 0, 5, 3)}, r"region is \(-1, 0, 5, 3\); expected x and y of at least 0"),
        ({"region": (0, 0, 5, 0)}, "width and height of at least 1"),
        ({"output_size": (0, 4)}, r"output_size is \(0, 4\)"),
        ({"min_confidence": 1.01}, "min_confidence is 1.01; expected 0 to 1"),
        ({"min_confidence": float("nan")}, "min_confidence is nan"),
        ({"ignore": noise(3, 4, 3)}, r"mask is uint8 \(3, 4, 3\); expected uint8 \(H, W\)"),
    ],
)
def test_values_that_cannot_be_are_refused(fields: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        View(**fields)


def test_masks_of_another_size_are_refused() -> None:
    view = View(region=(2, 1, 5, 3), min_confidence=0.5)
    with pytest.raises(ValueError, match=r"mask is uint8 \(6, 8\); expected uint8 \(3, 5\), as cropped"):
        view.finish(noise(6, 8), noise(3, 5), (6, 8))
    with pytest.raises(ValueError, match=r"confidence is float64 \(3, 5\); expected uint8"):
        view.finish(noise(3, 5), np.zeros((3, 5)), (6, 8))
    with pytest.raises(ValueError, match=r"min_confidence is 0.5, but there is no confidence"):
        view.finish(noise(3, 5), None, (6, 8))


def test_an_ignore_mask_comes_from_a_png(tmp_path: Path) -> None:
    drawn = np.zeros((6, 8, 3), np.uint8)
    drawn[4:, :, 1] = 200
    for name, pixels in (("grey", drawn[:, :, 1]), ("colour", drawn)):
        path = tmp_path / f"{name}.png"
        cv2.imwrite(str(path), pixels)
        np.testing.assert_array_equal(load_ignore_mask(path) != 0, drawn[:, :, 1] != 0)


def test_a_file_that_is_no_ignore_mask_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"none\.png cannot be read: No such file"):
        load_ignore_mask(tmp_path / "none.png")
    path = tmp_path / "bonnet.png"
    # A JPEG of black is not black everywhere.
    for data, message in (
        (b"", r"bonnet\.png begins with b''; expected a PNG"),
        (encode_jpeg(noise(6, 8, 3), 90), r"bonnet\.png begins with .*; expected a PNG"),
        (encode_png(noise(6, 8))[:-12], r"bonnet\.png cannot be used: .* ends before its IEND chunk"),
    ):
        path.write_bytes(data)
        with pytest.raises(ValueError, match=message):
            load_ignore_mask(path)
