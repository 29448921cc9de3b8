"""Reading the files of a data set: pictures, and labels as the ids that stand in them."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import cv2
import numpy as np

from dcfm_ros.imaging.encodings import EncodingError
from dcfm_ros.imaging.labels import UNLABELLED
from dcfm_ros.imaging.picture_files import read_picture

_PNG = b"\x89PNG\r\n\x1a\n"
_GREY, _PALETTE = 0, 3  # colour types, https://www.w3.org/TR/png-3/#11IHDR


class DatasetError(ValueError):
    """A dataset that cannot be used; the message names the file, what was found and what was expected."""


def read_rgb(path: Path) -> np.ndarray:
    """(H, W, 3) uint8 RGB. Raises DatasetError when the file is not an image, or not whole."""
    try:
        return cv2.cvtColor(read_picture(path), cv2.COLOR_BGR2RGB)
    except EncodingError as error:
        raise DatasetError(str(error)) from error


def read_ids(path: Path) -> np.ndarray:
    """(H, W) uint8 ids as they stand in a PNG of 1 to 8 bits: shades of grey, or indices, whatever their colours.

    Raises DatasetError when the file is something else: other formats change ids, whatever the file's name says.
    """
    expected = "expected an 8-bit PNG with one channel of class ids"
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DatasetError(f"{path} is unreadable ({error.strerror}); {expected}") from error
    if not data.startswith(_PNG):
        raise DatasetError(f"{path} is no PNG, but begins with {data[:8]!r}; {expected}")
    scale = 1
    if data[12:16] == b"IHDR" and len(data) > 33 and data[24] <= 8 and data[25] in (_GREY, _PALETTE):
        # OpenCV spreads shades of fewer than 8 bits over 0..255. Of indices it looks the colours up, and the ids are
        # lost; with the palette taken out it takes them for shades.
        scale = 255 // (2 ** data[24] - 1)
        data = _without_palette(data) if data[25] == _PALETTE else data
    ids = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if ids is None or ids.ndim != 2 or ids.dtype != np.uint8:
        found = "unreadable" if ids is None else f"{ids.dtype} {ids.shape}"
        way_out = "" if ids is None or ids.ndim == 2 else ": write the id of each class in place of its colour"
        raise DatasetError(f"{path} is {found}; {expected}{way_out}")
    return ids if scale == 1 else ids // np.uint8(scale)


def check_ids(ids: np.ndarray, path: Path, classes: int, hint: str = "") -> None:
    """Raises DatasetError, with `hint` at its end, when an id read from `path` is neither 0..classes-1 nor 255."""
    if (stray := ids[(ids >= classes) & (ids != UNLABELLED)]).size:
        way_out = hint or f": write the id of one of the {classes} classes or {UNLABELLED} in its place"
        raise DatasetError(f"{path} holds the label {stray[0]}; expected 0 to {classes - 1}, or {UNLABELLED}{way_out}")


def _without_palette(data: bytes) -> bytes:
    """A PNG file's bytes, its indices declared to be shades of grey."""
    header = data[12:25] + bytes([_GREY]) + data[26:29]
    kept = [_PNG, data[8:12], header, struct.pack(">I", zlib.crc32(header))]
    at = 33
    while at + 8 <= len(data):
        (length,) = struct.unpack_from(">I", data, at)
        if data[at + 4 : at + 8] in (b"IDAT", b"IEND"):
            kept.append(data[at : at + 12 + length])
        at += 12 + length
    return b"".join(kept)
