"""What cameras call a compressed image: JPEGs without their end, mosaics, video, and pictures with an orientation."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from dcfm_ros.imaging.compressed import decode_compressed
from dcfm_ros.imaging.encodings import EncodingError, decode_frame, to_rgb


@pytest.fixture
def picture() -> np.ndarray:
    rng = np.random.default_rng(3)
    return cv2.GaussianBlur(rng.integers(0, 256, (48, 64, 3), np.uint8), (0, 0), 2)


def jpeg(picture: np.ndarray, *options: int) -> bytes:
    return cv2.imencode(".jpg", picture, list(options))[1].tobytes()


@pytest.mark.parametrize("grey", [False, True])
@pytest.mark.parametrize("padding", [b"", bytes(7)])
def test_jpeg_without_its_end_marker_is_taken_where_its_picture_is_whole(
    picture: np.ndarray, grey: bool, padding: bytes
) -> None:
    data = jpeg(picture[:, :, 0] if grey else picture)
    frame = decode_compressed(data[:-2] + padding, "jpeg")
    np.testing.assert_array_equal(frame.pixels, decode_compressed(data, "jpeg").pixels)


@pytest.mark.parametrize("missing", [6, 12, 40, 200, 600])
def test_jpeg_that_was_cut_within_its_picture_is_refused(picture: np.ndarray, missing: int) -> None:
    with pytest.raises(EncodingError, match="ends before its EOI marker"):
        decode_compressed(jpeg(picture)[:-missing], "jpeg")


def test_progressive_jpeg_without_its_end_is_refused_for_a_scan_may_lack(picture: np.ndarray) -> None:
    data = jpeg(picture, cv2.IMWRITE_JPEG_PROGRESSIVE, 1)
    with pytest.raises(EncodingError, match="ends before its EOI marker"):
        decode_compressed(data[:-2], "jpeg")


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("corner", ["rggb", "bggr", "gbrg", "grbg"])
@pytest.mark.parametrize("codec", ["png compressed ", "png compressed bayer_{}", "png compressed"])
def test_mosaic_in_a_png_is_that_of_the_raw_message(picture: np.ndarray, corner: str, bits: int, codec: str) -> None:
    mosaic = picture[:, :, 0].astype(np.uint16) * 257 if bits == 16 else picture[:, :, 0].copy()
    encoding = f"bayer_{corner}{bits}"
    raw = decode_frame(
        mosaic.tobytes(), height=48, width=64, encoding=encoding, step=64 * bits // 8, is_bigendian=False
    )
    frame = decode_compressed(cv2.imencode(".png", mosaic)[1], f"{encoding}; {codec.format(f'{corner}{bits}')}")
    assert frame.order == raw.order == "rgb"
    np.testing.assert_array_equal(frame.pixels, raw.pixels)


def test_a_picture_that_is_no_mosaic_any_more_is_left_alone(picture: np.ndarray) -> None:
    grey = cv2.imencode(".png", picture[:, :, 0])[1]
    assert decode_compressed(grey, "bayer_rggb8; png compressed mono8").order == "mono"
    assert decode_compressed(grey, "png").order == "mono"
    colour = decode_compressed(cv2.imencode(".png", picture)[1], "bayer_rggb8; jpeg compressed bgr8")
    np.testing.assert_array_equal(to_rgb(colour), picture[:, :, ::-1])


@pytest.mark.parametrize(("data", "name"), [(b"\0\0\0\1\x67" + bytes(50), ""), (b"\x12\0\x0a\x0b" + bytes(50), "av1")])
def test_packets_of_video_are_named_with_the_way_out(data: bytes, name: str) -> None:
    with pytest.raises(EncodingError, match="packets of video, decode them first"):
        decode_compressed(data, name)
