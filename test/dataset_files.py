"""Small data sets for tests: pictures, labels, and lists of names."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import cv2
import numpy as np

from dcfm_ros.datasets.dataset import Clip

RED = np.full((4, 6, 3), (200, 10, 30), np.uint8)


def write_pixels(path: Path, pixels: np.ndarray = RED) -> Path:
    """An image from (H, W, 3) RGB, or a label from (H, W) ids; folders are made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), pixels[..., ::-1] if pixels.ndim == 3 else pixels)
    return path


def write_ids(path: Path, value: int = 1, shape: tuple[int, int] = (4, 6)) -> Path:
    """A label that is `value` everywhere."""
    return write_pixels(path, np.full(shape, value, np.uint8))


def write_lines(path: Path, *lines: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines))
    return path


def palette_png(ids: np.ndarray, bits: int) -> bytes:
    """(H, W) ids as a PNG of `bits` bits whose palette makes every id pink: colours alone do not tell them apart."""
    return _png(ids, bits, 3, (b"PLTE", b"\xff\x80\x80" * 2**bits))


def grey_png(ids: np.ndarray, bits: int) -> bytes:
    """(H, W) ids as a PNG of `bits` bits of grey each."""
    return _png(ids, bits, 0)


def _png(ids: np.ndarray, bits: int, colour_type: int, *palette: tuple[bytes, bytes]) -> bytes:
    height, width = ids.shape
    rows = np.unpackbits(ids.astype(np.uint8)[..., None], axis=2)[..., 8 - bits :].reshape(height, -1)
    lines = b"".join(b"\0" + np.packbits(row).tobytes() for row in rows)
    header = struct.pack(">IIBBBBB", width, height, bits, colour_type, 0, 0, 0)
    parts = ((b"IHDR", header), *palette, (b"IDAT", zlib.compress(lines)), (b"IEND", b""))
    chunks = (
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in parts
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def neighbours(clip: Clip, index: int, distance: int = 1) -> tuple[int, ...]:
    """The indices of the frames so far before and after in time: two, one or none, the earlier first."""
    found = (clip.shifted(index, -distance), clip.shifted(index, distance))
    return tuple(other for other in found if other is not None)
