"""Pictures in files, read as those in messages are: whole or not at all, and with the rows as they are stored."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from dcfm_ros.imaging.compressed import JPEG_SIGNATURE, PNG_SIGNATURE, decode_compressed
from dcfm_ros.imaging.encodings import EncodingError, to_rgb

_BMP = b"BM"


def read_picture(path: Path) -> np.ndarray:
    """(H, W, 3) uint8 BGR of a JPEG, a PNG or a BMP, whatever its name says.

    An orientation that is noted in the file (EXIF) turns nothing: labels and calibrations are of the rows as stored.
    Raises EncodingError, which names the path, when the file cannot be read or is not whole.
    """
    try:
        data = path.read_bytes()
        pixels = None
        if data.startswith(_BMP):
            pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
        elif data.startswith((JPEG_SIGNATURE, PNG_SIGNATURE)):
            pixels = cv2.cvtColor(to_rgb(decode_compressed(data, path.suffix.lstrip("."))), cv2.COLOR_RGB2BGR)
    except (OSError, EncodingError) as error:
        raise EncodingError(f"{path} cannot be read as an image: {error}") from error
    if pixels is None:
        raise EncodingError(f"{path} cannot be read as an image")
    return pixels
