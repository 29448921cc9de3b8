"""The bytes of a sensor_msgs/CompressedImage as a `Frame`, and masks and pictures as such bytes.

A file of a few kilobytes can decode to gigabytes, so what it says of itself is read before it is decoded.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable
from typing import TYPE_CHECKING

import cv2
import numpy as np

from dcfm_ros.imaging.encodings import EncodingError, bytes_of, narrowed
from dcfm_ros.imaging.frame import Frame
from dcfm_ros.imaging.geometry import Size
from dcfm_ros.imaging.masks import check_mask

if TYPE_CHECKING:
    from dcfm_ros.imaging.encodings import ImageBytes

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
MAX_PIXELS = 1 << 26  # beyond any camera's on a robot: 201 MB as BGR


def decode_compressed(data: ImageBytes, image_format: str, stamp_ns: int = 0, max_pixels: int = MAX_PIXELS) -> Frame:
    """Take the fields of a sensor_msgs/CompressedImage, a JPEG or a PNG, as a frame.

    data: the message's bytes, any contiguous buffer. They alone decide what is decoded.
    image_format: the message's `format`, which drivers fill as they like; becomes the frame's encoding.

    The frame is "mono" where the file is grey, else "bgr"; alpha is dropped and 16 bits become 8 as in `decode_frame`.
    Rows are as the sensor gave them: an orientation noted in the file (EXIF) does not turn the picture, for that would
    belie the camera's calibration.

    Raises EncodingError for another format (compressedDepth, AVIF, ...), a damaged or unfinished file, and a picture of
    more than `max_pixels`. Damage within a JPEG's coded picture goes unnoticed where its end is there: its format has
    no checksums.
    """
    found = bytes_of(data)
    raw = found.data
    what = f"{found.size} bytes of format {image_format!r}"
    kind, size_of = _kind_of(raw, what)
    try:
        height, width = size_of(raw)
    except _Damaged as damage:
        raise EncodingError(f"{what} are a damaged {kind}: {damage}") from damage
    if not 0 < height * width <= max_pixels:
        raise EncodingError(f"{what} are a {kind} of {width}x{height} pixels; expected 1 to {max_pixels} in all")
    pixels = _decoded(found)
    if pixels is None:
        raise EncodingError(f"{what} are a {kind} of {width}x{height} pixels that cannot be decoded")
    if pixels.shape[:2] != (height, width):
        raise EncodingError(f"{what} decode to {pixels.shape[:2]}; expected {(height, width)} as in their header")
    if pixels.dtype == np.uint16:
        pixels = narrowed(pixels)
    return Frame(pixels, "mono" if pixels.ndim == 2 else "bgr", stamp_ns, image_format)


def encode_png(mask: np.ndarray) -> bytes:
    """A mask's (H, W) uint8 class ids as a PNG, which keeps each of them.

    Raises ValueError when the mask is of another kind.
    """
    check_mask(mask)
    # No level is asked for: OpenCV then takes the filter and strategy that are fastest, and a third of the time.
    return cv2.imencode(".png", mask)[1].tobytes()


def encode_jpeg(rgb: np.ndarray, quality: int) -> bytes:
    """An (H, W, 3) uint8 RGB picture as a JPEG of a quality of 1 to 100.

    Raises ValueError when the picture is of another kind, or for another quality.
    """
    if rgb.ndim != 3 or rgb.shape[2] != 3 or rgb.dtype != np.uint8 or rgb.size == 0:
        raise ValueError(f"the picture is {rgb.dtype} {rgb.shape}; expected uint8 (H, W, 3)")
    if not 1 <= quality <= 100:
        raise ValueError(f"quality is {quality}; expected 1 to 100")
    bgr = cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR)
    return cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()


class _Damaged(ValueError):
    """What is wrong with a file."""


def _kind_of(data: memoryview, what: str) -> tuple[str, Callable[[memoryview], Size]]:
    """The file's format and what reads its size."""
    for kind, signature, size_of in (("JPEG", _JPEG, _jpeg_size), ("PNG", PNG_SIGNATURE, _png_size)):
        if data[: len(signature)] == signature:
            return kind, size_of
    raise EncodingError(f"{what} begin with {bytes(data[:8])!r}; expected JPEG or PNG")


def _decoded(data: np.ndarray) -> np.ndarray | None:
    """(H, W) or (H, W, 3) BGR, uint8 or uint16."""
    try:
        return cv2.imdecode(data, cv2.IMREAD_ANYCOLOR | cv2.IMREAD_ANYDEPTH | cv2.IMREAD_IGNORE_ORIENTATION)
    except cv2.error:  # its own limits on sizes
        return None


# ITU-T T.81, annex B. A marker may have fill bytes before it; in coded data FF stands before 00 or a restart marker.
_JPEG = b"\xff\xd8\xff"
_MARKER = re.compile(rb"\xff+([\xc0-\xcf\xd9-\xfe])")
_END_OF_SCAN = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
_EOI, _SOS = 0xD9, 0xDA
_SOF = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
# A progressive JPEG has about ten. Each costs a pass over the whole picture, and a few bytes are enough for one.
_MAX_SCANS = 100


def _jpeg_size(data: memoryview) -> Size:
    """Height and width, from the frame header (SOF) of a file that has all its segments up to the last (EOI)."""
    size: Size | None = None
    scans = 0
    at = 2
    while marker := _MARKER.match(data, at):
        kind, at = marker[1][0], marker.end()
        if kind == _EOI:
            if size is None:
                raise _Damaged("it has no frame header (SOF)")
            return size
        length = _unpacked(">H", data, at)[0]
        if kind in _SOF and size is None:
            _, height, width = _unpacked(">BHH", data, at + 2)
            size = height, width
        at += length
        if kind == _SOS:
            scans += 1
            if scans > _MAX_SCANS:
                raise _Damaged(f"it has more than {_MAX_SCANS} scans")
            end = _END_OF_SCAN.search(data, at)
            at = end.start() if end else len(data)
    if at < len(data):
        raise _Damaged(f"expected a marker at byte {at}, found {bytes(data[at : at + 4])!r}")
    raise _Damaged("it ends before its EOI marker")


# https://www.w3.org/TR/png-3/#5Chunk-layout: length, type, content, checksum
_IHDR = struct.pack(">I4s", 13, b"IHDR")
_IEND = re.compile(re.escape(bytes.fromhex("0000000049454e44ae426082")))


def _png_size(data: memoryview) -> Size:
    """Height and width, from the header (IHDR) of a file that has its last chunk (IEND)."""
    if data[8:16] != _IHDR:
        raise _Damaged(f"expected its IHDR chunk of 13 bytes, found {bytes(data[8:16])!r}")
    width, height = _unpacked(">II", data, 16)
    if not _IEND.search(data, 33):
        raise _Damaged("it ends before its IEND chunk")
    return height, width


def _unpacked(layout: str, data: memoryview, at: int) -> tuple[int, ...]:
    try:
        return struct.unpack_from(layout, data, at)
    except struct.error:
        raise _Damaged(f"it ends at byte {len(data)}, within its header") from None
