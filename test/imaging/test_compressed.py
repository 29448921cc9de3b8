"""Compressed messages to frames: what is decoded, what is refused before it is, and masks that survive exactly."""

from __future__ import annotations

import array
import struct
import zlib

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dcfm_ros.imaging.compressed import decode_compressed, encode_jpeg, encode_png
from dcfm_ros.imaging.encodings import EncodingError, to_rgb
from dcfm_ros.imaging.masks import check_mask

SMOOTH = cv2.GaussianBlur(np.random.default_rng(3).integers(0, 256, (24, 40, 3), np.uint8), (0, 0), 4)
WIDE = np.random.default_rng(4).integers(0, 65536, (24, 40, 3), np.uint16)
JPEG = encode_jpeg(SMOOTH, 90)
FRAME_HEADER = JPEG.index(b"\xff\xc0")
SCAN = JPEG.index(b"\xff\xda")


def png(pixels: np.ndarray) -> bytes:
    return cv2.imencode(".png", pixels)[1].tobytes()


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png_of(width: int, height: int, rows: bytes) -> bytes:
    """An 8-bit grey PNG whose header says what it likes."""
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(kind, content) for kind, content in chunks)


def jpeg_of(width: int, height: int) -> bytes:
    """JPEG with another size in its frame header."""
    return JPEG[: FRAME_HEADER + 5] + struct.pack(">HH", height, width) + JPEG[FRAME_HEADER + 9 :]


PNG = png(SMOOTH)


@pytest.mark.parametrize(
    ("pixels", "order", "expected"),
    [
        (SMOOTH, "bgr", SMOOTH),
        (SMOOTH[:, :, 0], "mono", SMOOTH[:, :, 0]),
        (np.dstack([SMOOTH, SMOOTH[:, :, 0]]), "bgr", SMOOTH),
        (WIDE, "bgr", np.rint(WIDE * (255 / 65535))),
        (WIDE[:, :, 0], "mono", np.rint(WIDE[:, :, 0] * (255 / 65535))),
    ],
    ids=["colour", "grey", "alpha", "16-bit colour", "16-bit grey"],
)
def test_png_is_exact(pixels: np.ndarray, order: str, expected: np.ndarray) -> None:
    frame = decode_compressed(png(pixels), "png", 12_345)
    assert (frame.order, frame.encoding, frame.stamp_ns) == (order, "png", 12_345)
    np.testing.assert_array_equal(frame.pixels, expected)


@pytest.mark.parametrize(
    "parameters",
    [[], [cv2.IMWRITE_JPEG_PROGRESSIVE, 1], [cv2.IMWRITE_JPEG_RST_INTERVAL, 1]],
    ids=["baseline", "progressive", "restart markers"],
)
@pytest.mark.parametrize(("pixels", "order"), [(SMOOTH, "bgr"), (SMOOTH[:, :, 0], "mono")])
def test_jpeg_is_close(pixels: np.ndarray, order: str, parameters: list[int]) -> None:
    data = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, 95, *parameters])[1]
    frame = decode_compressed(data, "bgr8; jpeg compressed bgr8")
    assert (frame.order, frame.encoding) == (order, "bgr8; jpeg compressed bgr8")
    assert np.abs(frame.pixels.astype(int) - pixels).mean() < 3


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview, lambda data: array.array("B", data)])
@pytest.mark.parametrize("data", [JPEG, PNG], ids=["JPEG", "PNG"])
def test_any_buffer_will_do_and_the_bytes_decide(data: bytes, kind: type) -> None:
    frame = decode_compressed(kind(data), "no such format")
    assert (frame.height, frame.width) == (24, 40)


def test_an_orientation_in_the_file_does_not_turn_the_picture() -> None:
    turned = struct.pack(">2sHIHHHIHHI", b"MM", 42, 8, 1, 0x0112, 3, 1, 6, 0, 0)
    exif = b"Exif\0\0" + turned
    data = JPEG[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + JPEG[2:]
    turned_by_opencv = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    assert turned_by_opencv is not None and turned_by_opencv.shape == (40, 24, 3)
    np.testing.assert_array_equal(decode_compressed(data, "jpeg").pixels, decode_compressed(JPEG, "jpeg").pixels)


def test_an_end_marker_within_a_segment_is_not_the_files() -> None:
    comment = b"\xff\xfe" + struct.pack(">H", 6) + b"\xff\xd9\xff\xd9"
    data = JPEG[:2] + comment + JPEG[2:]
    assert decode_compressed(data, "jpeg").height == 24
    with pytest.raises(EncodingError, match="ends before its EOI marker"):
        decode_compressed(data[:-20], "jpeg")


@pytest.mark.parametrize("data", [JPEG, PNG], ids=["JPEG", "PNG"])
def test_padding_behind_the_file_is_left_alone(data: bytes) -> None:
    np.testing.assert_array_equal(decode_compressed(data + bytes(37), "").pixels, decode_compressed(data, "").pixels)


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (jpeg_of(60_000, 50_000), "JPEG of 60000x50000"),
        (png_of(60_000, 50_000, bytes(100)), "PNG of 60000x50000"),
        (png_of(2**31 - 1, 2**31 - 1, bytes(100)), "PNG of 2147483647x2147483647"),
    ],
    ids=["JPEG", "PNG", "largest PNG"],
)
def test_a_bomb_is_refused_by_its_header(data: bytes, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    decoded = []
    monkeypatch.setattr(cv2, "imdecode", lambda *arguments: decoded.append(arguments))
    with pytest.raises(EncodingError, match=rf"^{len(data)} bytes of format 'x' are a {kind} .*1 to 67108864 in all"):
        decode_compressed(data, "x")
    assert not decoded


@pytest.mark.parametrize("data", [JPEG, PNG], ids=["JPEG", "PNG"])
def test_the_bound_is_on_pixels(data: bytes) -> None:
    assert decode_compressed(data, "", max_pixels=24 * 40).width == 40
    with pytest.raises(EncodingError, match="of 40x24 pixels; expected 1 to 959"):
        decode_compressed(data, "", max_pixels=24 * 40 - 1)


def test_scans_without_end_are_refused() -> None:
    header = JPEG[SCAN : SCAN + 2 + int.from_bytes(JPEG[SCAN + 2 : SCAN + 4], "big")]
    with pytest.raises(EncodingError, match="more than 100 scans"):
        decode_compressed(JPEG[:-2] + header * 100 + b"\xff\xd9", "jpeg")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", r"^0 bytes of format 'x' begin with b''; expected JPEG or PNG"),
        (bytes(12) + PNG, r"begin with b'\\x00.*expected JPEG or PNG"),  # as compressedDepth has it
        (cv2.imencode(".bmp", SMOOTH)[1].tobytes(), "begin with b'BM.*expected JPEG or PNG"),
        (b"\xff\xd8\xff\xd9", "damaged JPEG: it has no frame header"),
        (b"\xff\xd8\xff\xc0\x00", "damaged JPEG: it ends at byte 5"),
        (JPEG[:2] + b"\xff\xfe\x00\x00" + JPEG[2:], r"damaged JPEG: expected a marker at byte 4, found b'\\x00\\x00"),
        (JPEG[:FRAME_HEADER] + JPEG[FRAME_HEADER + 19 :], "damaged JPEG: it has no frame header"),
        (jpeg_of(40, 0), "of 40x0 pixels; expected 1 to"),
        (PNG[:8] + PNG[33:], "damaged PNG: expected its IHDR chunk of 13 bytes"),
        (png_of(0, 3, b""), "of 0x3 pixels; expected 1 to"),
        (png_of(3, 3, bytes(2)), "PNG of 3x3 pixels that cannot be decoded"),
    ],
)
def test_other_data_is_named(data: bytes, message: str) -> None:
    with pytest.raises(EncodingError, match=message):
        decode_compressed(data, "x")


@settings(max_examples=60)
@given(data=st.sampled_from([JPEG, PNG]), cut=st.data())
def test_a_file_that_is_cut_anywhere_is_refused(data: bytes, cut: st.DataObject) -> None:
    # A JPEG that lacks its end marker alone is whole: some cameras never send it.
    end = cut.draw(st.integers(0, len(data) - (3 if data is JPEG else 1)))
    with pytest.raises(EncodingError, match=f"^{end} bytes of format 'png'"):
        decode_compressed(data[:end], "png")


@settings(max_examples=100)
@given(data=st.sampled_from([JPEG, PNG]), changes=st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), max_size=5))
def test_a_damaged_file_gives_a_frame_or_an_error(data: bytes, changes: list[tuple[float, int]]) -> None:
    damaged = bytearray(data)
    for where, value in changes:
        damaged[int(where * (len(data) - 1))] = value
    try:
        frame = decode_compressed(damaged, "x", max_pixels=10_000)
    except EncodingError:
        return
    assert frame.height * frame.width <= 10_000


@settings(max_examples=100)
@given(data=st.binary(max_size=200), start=st.sampled_from([b"", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", JPEG[:SCAN]]))
def test_random_bytes_are_refused(data: bytes, start: bytes) -> None:
    with pytest.raises(EncodingError):
        decode_compressed(start + data, "x", max_pixels=100)


@settings(max_examples=30)
@given(
    shape=st.tuples(st.integers(1, 40), st.integers(1, 40)), seed=st.integers(0, 100), classes=st.sampled_from([3, 256])
)
def test_every_id_survives_a_png(shape: tuple[int, int], seed: int, classes: int) -> None:
    mask = np.random.default_rng(seed).integers(0, classes, shape, np.uint8)
    frame = decode_compressed(encode_png(mask), "mono8; png compressed mono8")
    assert frame.order == "mono"
    np.testing.assert_array_equal(frame.pixels, mask)


def test_jpeg_keeps_colours_and_quality_costs_bytes() -> None:
    decoded = to_rgb(decode_compressed(encode_jpeg(SMOOTH, 95), "jpeg"))
    assert np.abs(decoded.astype(int) - SMOOTH).mean() < 3
    assert len(encode_jpeg(SMOOTH, 95)) > len(encode_jpeg(SMOOTH, 50)) > len(encode_jpeg(SMOOTH, 5))


@pytest.mark.parametrize("mask", [SMOOTH, np.zeros((2, 2), np.int64), np.zeros((0, 3), np.uint8)])
def test_what_is_no_mask_is_refused(mask: np.ndarray) -> None:
    for function in (check_mask, encode_png):
        with pytest.raises(ValueError, match=r"mask is .*; expected uint8 \(H, W\)"):
            function(mask)


def test_what_is_no_picture_is_refused() -> None:
    with pytest.raises(ValueError, match=r"the picture is uint8 \(24, 40\); expected uint8 \(H, W, 3\)"):
        encode_jpeg(SMOOTH[:, :, 0], 90)
    with pytest.raises(ValueError, match="quality is 0; expected 1 to 100"):
        encode_jpeg(SMOOTH, 0)
