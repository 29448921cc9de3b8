"""Message buffers to frames: every encoding's values, views without copies, and buffers that belie their headers."""

from __future__ import annotations

import array
import json
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dcfm_ros.imaging.encodings import SUPPORTED_ENCODINGS, EncodingError, decode_frame, to_rgb
from dcfm_ros.imaging.frame import Frame

VIEWS = {"mono8": 1, "8UC1": 1, "rgb8": 3, "bgr8": 3, "8UC3": 3, "rgba8": 4, "bgra8": 4}
BAYER = {"bayer_rggb8": "rggb", "bayer_bggr8": "bggr", "bayer_gbrg8": "gbrg", "bayer_grbg8": "grbg"}
BAYER16 = ("bayer_rggb16", "bayer_bggr16", "bayer_gbrg16", "bayer_grbg16")
WIDE = {"mono16": 2, "rgb16": 6, "bgr16": 6, "rgba16": 8, "bgra16": 8}
PACKED = {"yuv422": 2, "uyvy": 2, "yuv422_yuy2": 2, "yuyv": 2}
BYTES_PER_PIXEL = {
    **VIEWS,
    **WIDE,
    **PACKED,
    "nv12": 1,
    "nv21": 1,
    **dict.fromkeys(BAYER, 1),
    **dict.fromkeys(BAYER16, 2),
}
# What BT.601 video range gives for Y, U, V; the primaries are exact up to rounding.
YUV_COLORS = {
    (16, 128, 128): (0, 0, 0),
    (235, 128, 128): (255, 255, 255),
    (126, 128, 128): (128, 128, 128),
    (82, 90, 240): (255, 0, 0),
    (145, 54, 34): (0, 255, 0),
    (41, 240, 110): (0, 0, 255),
}


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).integers(0, 256, shape, np.uint8)


def padded(rows: np.ndarray, padding: int) -> np.ndarray:
    """Rows of bytes with `padding` bytes of rubbish behind each."""
    return np.hstack([rows, np.full((len(rows), padding), 0xEE, np.uint8)])


def decode(
    rows: np.ndarray, encoding: str, height: int, width: int, *, is_bigendian: bool = False, stamp_ns: int = 0
) -> Frame:
    return decode_frame(
        rows.tobytes(),
        height=height,
        width=width,
        encoding=encoding,
        step=rows.shape[1],
        is_bigendian=is_bigendian,
        stamp_ns=stamp_ns,
    )


@pytest.mark.parametrize("padding", [0, 1, 5])
@pytest.mark.parametrize("encoding", VIEWS)
def test_eight_bit_pixels_are_a_view_of_the_buffer(encoding: str, padding: int) -> None:
    pixels = noise(5, 7, VIEWS[encoding])
    buffer = padded(pixels.reshape(5, -1), padding)
    frame = decode_frame(buffer, height=5, width=7, encoding=encoding, step=buffer.shape[1])
    assert np.shares_memory(frame.pixels, buffer)
    np.testing.assert_array_equal(frame.pixels.reshape(5, 7, -1), pixels)
    assert frame.pixels.ndim == (2 if VIEWS[encoding] == 1 else 3)


@pytest.mark.parametrize("encoding", SUPPORTED_ENCODINGS)
def test_frame_says_what_it_came_from(encoding: str) -> None:
    named = re.match("mono|rgba|bgra|bgr", encoding)  # all others become rgb
    order = named[0] if named else {"8UC1": "mono", "8UC3": "bgr"}.get(encoding, "rgb")
    rows = noise(6 if encoding in ("nv12", "nv21") else 4, 4 * 8)
    frame = decode(rows, encoding, 4, 4, stamp_ns=12_345)
    assert (frame.order, frame.encoding, frame.stamp_ns) == (order, encoding, 12_345)
    assert (frame.height, frame.width) == (4, 4)


@pytest.mark.parametrize(
    "wrap", [bytes, bytearray, memoryview, partial(array.array, "B"), partial(np.frombuffer, dtype=np.uint8)]
)
def test_any_buffer_will_do(wrap: Callable[[bytes], Any]) -> None:
    pixels = noise(2, 3, 3)
    frame = decode_frame(wrap(pixels.tobytes()), height=2, width=3, encoding="rgb8", step=9)
    np.testing.assert_array_equal(frame.pixels, pixels)


def test_header_values_may_be_numpy_scalars() -> None:
    height, width, step = np.array([65535, 9, 65535], np.uint16)
    with pytest.raises(EncodingError, match=r"needs 4294836225 bytes"):
        decode_frame(b"", height=height, width=width, encoding="mono8", step=step)


@pytest.mark.parametrize(
    ("encoding", "expected"),
    [("mono8", (10, 10, 10)), ("rgb8", (10, 20, 30)), ("bgr8", (30, 20, 10)), ("8UC3", (30, 20, 10))]
    + [("rgba8", (10, 20, 30)), ("bgra8", (30, 20, 10))],
)
def test_to_rgb_orders_the_channels(encoding: str, expected: tuple[int, int, int]) -> None:
    rows = np.tile(np.array([10, 20, 30, 40][: VIEWS[encoding]], np.uint8), (2, 3))
    rgb = to_rgb(decode(padded(rows, 1), encoding, 2, 3))
    assert rgb.dtype == np.uint8 and rgb.flags.c_contiguous
    np.testing.assert_array_equal(rgb, np.broadcast_to(np.array(expected, np.uint8), (2, 3, 3)))


def test_to_rgb_hands_contiguous_rgb_back() -> None:
    frame = Frame(noise(4, 5, 3))
    assert np.shares_memory(to_rgb(frame), frame.pixels)


@pytest.mark.parametrize("padding", [0, 1, 4])
@pytest.mark.parametrize("is_bigendian", [False, True])
@pytest.mark.parametrize("encoding", WIDE)
def test_sixteen_bit_values_are_scaled_and_rounded(encoding: str, is_bigendian: bool, padding: int) -> None:
    channels = WIDE[encoding] // 2
    values = np.random.default_rng(0).integers(0, 65536, (6, 5, channels))
    values.ravel()[:4] = 0, 128, 129, 65535  # either side of the first rounding step
    rows = values.astype(">u2" if is_bigendian else "<u2").reshape(6, -1).view(np.uint8)
    frame = decode(padded(rows, padding), encoding, 6, 5, is_bigendian=is_bigendian)
    expected = np.rint(values * 255 / 65535).astype(np.uint8)
    np.testing.assert_array_equal(frame.pixels.reshape(6, 5, channels), expected)


def test_sixteen_bit_values_may_begin_at_an_odd_address() -> None:
    values = np.arange(6, dtype="<u2").reshape(2, 3) * 5000
    data = memoryview(b"x" + values.tobytes())[1:]
    frame = decode_frame(data, height=2, width=3, encoding="mono16", step=6)
    np.testing.assert_array_equal(frame.pixels, np.rint(values / 257))


def test_endianness_does_not_matter_to_eight_bits() -> None:
    rows = noise(4, 12)
    np.testing.assert_array_equal(decode(rows, "rgb8", 4, 4, is_bigendian=True).pixels.reshape(4, 12), rows)


@pytest.mark.parametrize("padding", [0, 1, 6])
@pytest.mark.parametrize("encoding", ["yuv422", "uyvy", "yuv422_yuy2", "yuyv"])
def test_packed_yuv_gives_known_colours(encoding: str, padding: int) -> None:
    first = list(YUV_COLORS)
    order = "UYVY" if encoding in ("yuv422", "uyvy") else "YUYV"
    rows = np.array([[dict(zip("YUV", yuv, strict=True))[letter] for letter in order * 2] for yuv in first], np.uint8)
    frame = decode(padded(rows, padding), encoding, len(first), 4)
    expected = np.array([[rgb] * 4 for rgb in YUV_COLORS.values()])
    np.testing.assert_allclose(frame.pixels, expected, atol=2)


@pytest.mark.parametrize("encoding", ["uyvy", "yuyv"])
def test_packed_yuv_keeps_both_lumas_in_order(encoding: str) -> None:
    bytes_ = (128, 16, 128, 235) if encoding == "uyvy" else (16, 128, 235, 128)
    frame = decode(np.array([bytes_], np.uint8), encoding, 1, 2)
    np.testing.assert_array_equal(frame.pixels[0], [(0, 0, 0), (255, 255, 255)])


@pytest.mark.parametrize("padding", [0, 1, 6])
@pytest.mark.parametrize("encoding", ["nv12", "nv21"])
@pytest.mark.parametrize("yuv", YUV_COLORS)
def test_semiplanar_yuv_gives_known_colours(yuv: tuple[int, int, int], encoding: str, padding: int) -> None:
    luma, u, v = yuv
    chroma = (u, v) if encoding == "nv12" else (v, u)
    rows = np.vstack([np.full((4, 6), luma), np.tile(chroma, (2, 3))]).astype(np.uint8)
    frame = decode(padded(rows, padding), encoding, 4, 6)
    np.testing.assert_allclose(frame.pixels, np.broadcast_to(YUV_COLORS[yuv], (4, 6, 3)), atol=2)


@pytest.mark.parametrize("padding", [0, 3])
@pytest.mark.parametrize(("encoding", "pattern"), BAYER.items())
def test_mosaic_of_one_colour_gives_that_colour(encoding: str, pattern: str, padding: int) -> None:
    value = {"r": 200, "g": 120, "b": 30}
    tile = np.array([value[letter] for letter in pattern], np.uint8).reshape(2, 2)
    frame = decode(padded(np.tile(tile, (3, 4)), padding), encoding, 6, 8)
    np.testing.assert_array_equal(frame.pixels, np.broadcast_to(np.array([200, 120, 30], np.uint8), (6, 8, 3)))


def test_values_are_those_of_cv_bridge(shared_reference: Path) -> None:
    cases = json.loads((shared_reference / "image_encodings.json").read_text())
    arrays = np.load(shared_reference / "image_encodings.npz")
    assert cases
    for case in cases:
        name, encoding = case["name"], case["encoding"]
        frame = decode_frame(
            arrays[f"{name}/data"],
            height=case["height"],
            width=case["width"],
            encoding=encoding,
            step=case["step"],
            is_bigendian=case.get("is_bigendian", False),
        )
        tolerance = 2 if encoding.startswith(("bayer", "yuv")) else 0
        np.testing.assert_allclose(
            to_rgb(frame).astype(int), arrays[f"{name}/rgb8"].astype(int), atol=tolerance, rtol=0, err_msg=name
        )


@pytest.mark.parametrize(
    ("encoding", "width", "height", "step", "size", "message"),
    [
        ("rgb8", 640, 480, 100, 48000, "rgb8 640x480 needs step >= 1920, got 100"),
        ("rgb8", 4, 2, 12, 23, r"rgb8 4x2 with step 12 needs 24 bytes of data \(step \* height\), got 23"),
        ("rgb8", 4, 2, 12, 25, r"needs 24 bytes of data \(step \* height\), got 25"),
        ("mono8", 4, 2, 6, 10, r"needs 12 bytes of data \(step \* height\), got 10"),
        ("mono16", 4, 2, 7, 14, "mono16 4x2 needs step >= 8, got 7"),
        ("rgba16", 2, 2, 15, 30, "rgba16 2x2 needs step >= 16, got 15"),
        ("rgb8", 0, 4, 12, 48, "rgb8 0x4 needs width >= 1, got 0"),
        ("rgb8", 4, 0, 12, 0, "rgb8 4x0 needs height >= 1, got 0"),
        ("rgb8", -1, 4, 12, 48, "needs width >= 1, got -1"),
        ("mono8", 4, 4, 0, 0, "needs step >= 4, got 0"),
        ("mono8", 2**32 - 1, 2**32 - 1, 2**32 - 1, 9, "needs 18446744065119617025 bytes"),
        ("bgr8", 2**31, 2**31, 0, 0, "bgr8 2147483648x2147483648 needs step >= 6442450944, got 0"),
        ("yuv422", 5, 2, 10, 20, "yuv422 5x2 needs an even width, got 5"),
        ("yuyv", 5, 2, 10, 20, "yuyv 5x2 needs an even width, got 5"),
        ("nv12", 4, 3, 4, 18, "nv12 4x3 needs an even height, got 3"),
        ("nv21", 5, 2, 5, 15, "nv21 5x2 needs an even width, got 5"),
        ("nv12", 4, 2, 4, 8, r"nv12 4x2 with step 4 needs 12 bytes of data \(step \* height \* 3 / 2\), got 8"),
        ("bayer_rggb8", 2, 4, 2, 8, "bayer_rggb8 2x4 needs width >= 3, got 2"),
    ],
)
def test_a_buffer_that_belies_its_header_is_refused(
    encoding: str, width: int, height: int, step: int, size: int, message: str
) -> None:
    with pytest.raises(EncodingError, match=message):
        decode_frame(bytes(size), height=height, width=width, encoding=encoding, step=step)


def test_scattered_bytes_are_refused() -> None:
    with pytest.raises(EncodingError, match="contiguous"):
        decode_frame(memoryview(bytes(16))[::2], height=2, width=4, encoding="mono8", step=4)


@pytest.mark.parametrize("encoding", ["", "RGB8", "32FC1", "16UC1"])
def test_an_unknown_encoding_names_those_known(encoding: str) -> None:
    with pytest.raises(EncodingError) as caught:
        decode_frame(bytes(12), height=2, width=2, encoding=encoding, step=6)
    assert repr(encoding) in str(caught.value)
    assert all(name in str(caught.value) for name in SUPPORTED_ENCODINGS)


def test_every_encoding_of_the_interface_is_supported() -> None:
    assert set(SUPPORTED_ENCODINGS) == set(BYTES_PER_PIXEL)


SMALL = st.integers(-1, 9)
ANY_UINT32 = st.integers(0, 2**32 - 1)


@settings(max_examples=300)
@given(
    encoding=st.sampled_from([*SUPPORTED_ENCODINGS, "mono9"]),
    height=SMALL | ANY_UINT32,
    width=SMALL | ANY_UINT32,
    step=st.integers(0, 80) | ANY_UINT32,
    is_bigendian=st.booleans(),
    data=st.binary(max_size=400),
)
def test_any_message_gives_a_frame_or_an_encoding_error(
    encoding: str, height: int, width: int, step: int, is_bigendian: bool, data: bytes
) -> None:
    try:
        frame = decode_frame(data, height=height, width=width, encoding=encoding, step=step, is_bigendian=is_bigendian)
    except EncodingError:
        return
    assert (frame.height, frame.width) == (height, width)


@settings(max_examples=300)
@given(
    encoding=st.sampled_from(SUPPORTED_ENCODINGS),
    half_height=st.integers(2, 5),
    half_width=st.integers(2, 5),
    padding=st.integers(0, 9),
    seed=st.integers(0, 99),
)
def test_padding_changes_nothing(encoding: str, half_height: int, half_width: int, padding: int, seed: int) -> None:
    height, width = 2 * half_height, 2 * half_width
    rows = height * 3 // 2 if encoding.startswith("nv") else height
    tight = np.random.default_rng(seed).integers(0, 256, (rows, width * BYTES_PER_PIXEL[encoding]), np.uint8)
    plain = decode(tight, encoding, height, width)
    wide = decode(padded(tight, padding), encoding, height, width)
    np.testing.assert_array_equal(wide.pixels, plain.pixels)
    assert plain.order == wide.order
