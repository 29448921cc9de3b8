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

from dcfm_ros.imaging.encodings import EncodingError, bytes_of, demosaiced, narrowed
from dcfm_ros.imaging.frame import Frame
from dcfm_ros.imaging.geometry import Size
from dcfm_ros.imaging.masks import check_mask

if TYPE_CHECKING:
    from dcfm_ros.imaging.encodings import ImageBytes

JPEG_SIGNATURE = b"\xff\xd8\xff"
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
MAX_PIXELS = 1 << 26  # beyond any camera's on a robot: 201 MB as BGR


def decode_compressed(data: ImageBytes, image_format: str, stamp_ns: int = 0, max_pixels: int = MAX_PIXELS) -> Frame:
    """Take the fields of a sensor_msgs/CompressedImage, a JPEG or a PNG, as a frame.

    data: the message's bytes, any contiguous buffer. They alone decide what is decoded.
    image_format: the message's `format`, which drivers fill as they like; becomes the frame's encoding. A grey file
        whose format begins with a Bayer encoding, as image_transport's does ("bayer_rggb8; png compressed "), is a
        mosaic, unless it says that it was made grey ("compressed mono8").

    The frame is "rgb" where the file is a mosaic, "mono" where it is grey, else "bgr"; alpha is dropped and 16 bits
    become 8 as in `decode_frame`. Rows are as the sensor gave them: an orientation noted in the file (EXIF) does not
    turn the picture, for that would belie the camera's calibration.

    Raises EncodingError for another format (compressedDepth, video, ...), a damaged or unfinished file, and a picture
    of more than `max_pixels`. A JPEG without its end marker, as some cameras send, is taken where its picture is whole.
    Damage within a JPEG's coded picture goes unnoticed where its end is there: its format has no checksums.
    """
    found = bytes_of(data)
    raw = found.data
    what = f"{found.size} bytes of format {image_format!r}"
    kind, size_of = _kind_of(raw, what)
    missing: _EndMissing | None = None
    try:
        height, width = size_of(raw)
    except _EndMissing as damage:
        missing, (height, width) = damage, damage.size
    except _Damaged as damage:
        raise EncodingError(f"{what} are a damaged {kind}: {damage}") from damage
    if not 0 < height * width <= max_pixels:
        raise EncodingError(f"{what} are a {kind} of {width}x{height} pixels; expected 1 to {max_pixels} in all")
    if missing is not None:
        if not _is_whole(found):
            raise EncodingError(f"{what} are a damaged {kind}: {missing}") from missing
        found = np.concatenate([found, _END])
    pixels = _decoded(found)
    if pixels is None:
        raise EncodingError(f"{what} are a {kind} of {width}x{height} pixels that cannot be decoded")
    if pixels.shape[:2] != (height, width):
        raise EncodingError(f"{what} decode to {pixels.shape[:2]}; expected {(height, width)} as in their header")
    if pixels.dtype == np.uint16:
        pixels = narrowed(pixels)
    colours = _of_mosaic(pixels, image_format)
    if colours is not None:
        return Frame(colours, "rgb", stamp_ns, image_format)
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


def _of_mosaic(pixels: np.ndarray, image_format: str) -> np.ndarray | None:
    """RGB, where the format says that a grey file is a mosaic.

    image_transport writes "<encoding>; <codec> compressed <what the file has>", the last empty where that is the same.
    """
    encoding, _, codec = image_format.partition(";")
    if pixels.ndim != 2 or codec.rpartition("compressed")[2].strip() in ("mono8", "mono16"):
        return None
    return demosaiced(pixels, encoding.strip())


class _Damaged(ValueError):
    """A file is damaged; the message says how."""


_NO_END = "it ends before its EOI marker"


class _EndMissing(_Damaged):
    """A JPEG of this size without its end, which may have all of its picture."""

    def __init__(self, size: Size) -> None:
        super().__init__(_NO_END)
        self.size = size


def _kind_of(data: memoryview, what: str) -> tuple[str, Callable[[memoryview], Size]]:
    """The file's format and what reads its size."""
    for kind, signature, size_of in (("JPEG", JPEG_SIGNATURE, _jpeg_size), ("PNG", PNG_SIGNATURE, _png_size)):
        if data[: len(signature)] == signature:
            return kind, size_of
    begin = bytes(data[:8])
    is_video = any(word in what.lower() for word in _VIDEOS) or _NAL_UNIT.match(begin)
    way_out = ": these are packets of video, decode them first (`ros2 run image_transport republish`)"
    raise EncodingError(f"{what} begin with {begin!r}; expected JPEG or PNG{way_out if is_video else ''}")


def _decoded(data: np.ndarray) -> np.ndarray | None:
    """(H, W) or (H, W, 3) BGR, uint8 or uint16."""
    try:
        return cv2.imdecode(data, cv2.IMREAD_ANYCOLOR | cv2.IMREAD_ANYDEPTH | cv2.IMREAD_IGNORE_ORIENTATION)
    except cv2.error:  # its own limits on sizes
        return None


_VIDEOS = ("h264", "h265", "h.264", "h.265", "hevc", "av1", "vp8", "vp9")
_NAL_UNIT = re.compile(rb"\x00\x00\x00?\x01")  # Annex B of H.264 and H.265

# ITU-T T.81, annex B. A marker may have fill bytes before it; in coded data FF stands before 00 or a restart marker.
_MARKER = re.compile(rb"\xff+([\xc0-\xcf\xd9-\xfe])")
_END_OF_SCAN = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
_EOI, _SOS = 0xD9, 0xDA
_SOF = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
# A progressive JPEG has about ten. Each costs a pass over the whole picture, and a few bytes are enough for one.
_MAX_SCANS = 100


_END = np.frombuffer(b"\xff\xd9", np.uint8)
_SEQUENTIAL = (0xC0, 0xC1)
# Coded values where a decoder that finds no more of them fills the picture up with zeros.
_STRAYS = (np.full(64, 0x55, np.uint8), np.full(64, 0xAA, np.uint8))


def _is_whole(data: np.ndarray) -> bool:
    """Whether a JPEG without its end has all of its picture: then what stands behind changes nothing in it."""
    if data[-1] == 0xFF:
        return False
    pixels = _decoded(np.concatenate([data, _END]))
    others = [_decoded(np.concatenate([data, stray, _END])) for stray in _STRAYS]
    return pixels is not None and all(other is not None and np.array_equal(pixels, other) for other in others)


def _jpeg_size(data: memoryview) -> Size:
    """Height and width, from the frame header (SOF) of a file that has all its segments up to the last (EOI).

    Raises _EndMissing where only the last may lack: behind the one scan that has all components of the picture.
    """
    size: Size | None = None
    components = scans = at_start = 0
    at = 2
    while marker := _MARKER.match(data, at):
        kind, at = marker[1][0], marker.end()
        if kind == _EOI:
            if size is None:
                raise _Damaged("it has no frame header (SOF)")
            return size
        length = _unpacked(">H", data, at)[0]
        if kind in _SOF and size is None:
            _, height, width, count = _unpacked(">BHHB", data, at + 2)
            size = height, width
            components = count if kind in _SEQUENTIAL else 0
        at_start, at = at, at + length
        if kind == _SOS:
            scans += 1
            if scans > _MAX_SCANS:
                raise _Damaged(f"it has more than {_MAX_SCANS} scans")
            end = _END_OF_SCAN.search(data, at)
            if end is None and size is not None and data[at_start + 2 : at_start + 3] == bytes([components]):
                raise _EndMissing(size)
            at = end.start() if end else len(data)
    if at < len(data):
        raise _Damaged(f"expected a marker at byte {at}, found {bytes(data[at : at + 4])!r}")
    raise _Damaged(_NO_END)


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
