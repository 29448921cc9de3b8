"""The buffer of a sensor_msgs/Image as a `Frame`, without copying it where its bytes already are 8-bit pixels.

Encoding names and layouts are those of sensor_msgs/image_encodings; values are those cv_bridge gives for "rgb8".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np

from dcfm_ros.imaging.frame import ChannelOrder, Frame

if TYPE_CHECKING:
    from array import array

    ImageBytes = bytes | bytearray | memoryview | array[int] | np.ndarray


# What 8-bit pixels are called in a message.
ENCODING_OF_ORDER: dict[ChannelOrder, str] = {
    "mono": "mono8",
    "rgb": "rgb8",
    "bgr": "bgr8",
    "rgba": "rgba8",
    "bgra": "bgra8",
}


class EncodingError(ValueError):
    """An image message that is not what its own header says, or whose encoding is not known here."""


@dataclass(frozen=True)
class _Layout:
    """How one encoding lies in memory, and what makes 8-bit pixels of it."""

    order: ChannelOrder  # of the decoded frame
    channels: int  # values for each pixel of a row
    wide: bool = False  # 16 bits for each value instead of 8
    to_rgb: int | None = None  # OpenCV's conversion code, where the bytes are not pixels yet
    chroma_rows: bool = False  # height / 2 rows of interleaved chroma follow the picture's rows
    even_sides: tuple[bool, bool] = (False, False)  # height, width: two pixels share a value
    least_side: int = 1

    @property
    def bytes_per_pixel(self) -> int:
        return self.channels * (2 if self.wide else 1)


_UYVY = _Layout("rgb", 2, to_rgb=cv2.COLOR_YUV2RGB_UYVY, even_sides=(False, True))
_YUYV = _Layout("rgb", 2, to_rgb=cv2.COLOR_YUV2RGB_YUY2, even_sides=(False, True))


def _semiplanar(code: int) -> _Layout:
    return _Layout("rgb", 1, to_rgb=code, chroma_rows=True, even_sides=(True, True))


# ROS names a mosaic by its first two rows, OpenCV by the second and third pixel of the second and third row.
_BAYER: dict[str, int] = {
    "bayer_rggb": cv2.COLOR_BayerBG2RGB,
    "bayer_bggr": cv2.COLOR_BayerRG2RGB,
    "bayer_gbrg": cv2.COLOR_BayerGR2RGB,
    "bayer_grbg": cv2.COLOR_BayerGB2RGB,
}


def _bayer(code: int, wide: bool) -> _Layout:
    # OpenCV gives black below 3x3 instead of an error: there is no neighbour to interpolate from.
    return _Layout("rgb", 1, wide=wide, to_rgb=code, least_side=3)


_LAYOUTS: dict[str, _Layout] = {
    "mono8": _Layout("mono", 1),
    "8UC1": _Layout("mono", 1),
    "rgb8": _Layout("rgb", 3),
    "bgr8": _Layout("bgr", 3),
    "8UC3": _Layout("bgr", 3),
    "rgba8": _Layout("rgba", 4),
    "bgra8": _Layout("bgra", 4),
    "mono16": _Layout("mono", 1, wide=True),
    "rgb16": _Layout("rgb", 3, wide=True),
    "bgr16": _Layout("bgr", 3, wide=True),
    "rgba16": _Layout("rgba", 4, wide=True),
    "bgra16": _Layout("bgra", 4, wide=True),
    "yuv422": _UYVY,
    "uyvy": _UYVY,
    "yuv422_yuy2": _YUYV,
    "yuyv": _YUYV,
    "nv12": _semiplanar(cv2.COLOR_YUV2RGB_NV12),
    "nv21": _semiplanar(cv2.COLOR_YUV2RGB_NV21),
    **{f"{name}8": _bayer(code, wide=False) for name, code in _BAYER.items()},
    **{f"{name}16": _bayer(code, wide=True) for name, code in _BAYER.items()},
}

SUPPORTED_ENCODINGS: tuple[str, ...] = tuple(_LAYOUTS)


def decode_frame(
    data: ImageBytes,
    *,
    height: int,
    width: int,
    encoding: str,
    step: int,
    is_bigendian: bool = False,
    stamp_ns: int = 0,
) -> Frame:
    """Take the fields of a sensor_msgs/Image as a frame of the same height and width.

    data: the message's bytes, any contiguous buffer. mono8, rgb8, bgr8, rgba8, bgra8, 8UC1 and 8UC3 give a view of it,
        padded rows or not, so it must stay unchanged as long as the frame is used; the others give a new array.
    step: bytes from one row to the next, padding included; any padding will do.
    is_bigendian: matters to 16-bit values only. Those are scaled to 8 bits (v * 255 / 65535, rounded) as by cv_bridge.

    Raises EncodingError for an encoding not in SUPPORTED_ENCODINGS, and for a buffer that does not match its header.
    The message definition says "size is (step * rows)", so more bytes are refused as fewer are: either way the header
    is wrong about them. nv12 and nv21 have half as many rows of chroma behind the picture: step * height * 3 / 2 bytes.
    """
    layout = _LAYOUTS.get(encoding)
    if layout is None:
        raise EncodingError(f"encoding is {encoding!r}; expected one of {', '.join(SUPPORTED_ENCODINGS)}")
    # Python's integers do not overflow, the numpy scalars some bag readers give do.
    height, width, step = int(height), int(width), int(step)
    picture = f"{encoding} {width}x{height}"
    _check_size(layout, picture, height, width)
    values = _values(layout, picture, bytes_of(data), height, width, step)
    if layout.wide:
        values = narrowed(_wide(values, is_bigendian))
    values = values.reshape(len(values), width, -1)
    if values.shape[2] == 1:
        values = values[:, :, 0]
    if layout.to_rgb is not None:
        values = cv2.cvtColor(values, layout.to_rgb)
    return Frame(values, layout.order, stamp_ns, encoding)


_TO_RGB: dict[ChannelOrder, int] = {
    "mono": cv2.COLOR_GRAY2RGB,
    "bgr": cv2.COLOR_BGR2RGB,
    "rgba": cv2.COLOR_RGBA2RGB,
    "bgra": cv2.COLOR_BGRA2RGB,
}


def to_rgb(frame: Frame) -> np.ndarray:
    """The frame's picture as (H, W, 3) uint8 RGB, contiguous; alpha is dropped.

    Contiguous RGB is handed back as it is, and then may be read-only. Anything else costs a pass over the picture, so
    make the picture small first (`resize_to_network`) where a small one is wanted.
    """
    if frame.order == "rgb":
        return np.ascontiguousarray(frame.pixels)
    return cv2.cvtColor(frame.pixels, _TO_RGB[frame.order])


def bytes_of(data: ImageBytes) -> np.ndarray:
    """A flat uint8 view of any contiguous buffer. Raises EncodingError where it is not one."""
    try:
        return np.frombuffer(data, np.uint8)
    except (ValueError, BufferError) as error:
        raise EncodingError(f"data is not one contiguous run of bytes: {error}") from error


def demosaiced(mosaic: np.ndarray, encoding: str) -> np.ndarray | None:
    """(H, W, 3) uint8 RGB of an (H, W) uint8 mosaic; None where the encoding is no Bayer one.

    Raises EncodingError when the mosaic has fewer than 3 rows or columns.
    """
    code = _BAYER.get(encoding.removesuffix("16").removesuffix("8"))
    layout = _LAYOUTS.get(encoding)
    if code is None or layout is None:
        return None
    height, width = mosaic.shape
    _check_size(layout, f"{encoding} {width}x{height}", height, width)
    return cv2.cvtColor(mosaic, code)


def narrowed(values: np.ndarray) -> np.ndarray:
    """16-bit values scaled to 8 bits: v * 255 / 65535, rounded, as by cv_bridge. Takes two dimensions or three."""
    return cv2.convertScaleAbs(values, alpha=255 / 65535)


def _check_size(layout: _Layout, picture: str, height: int, width: int) -> None:
    for name, side, even in zip(("height", "width"), (height, width), layout.even_sides, strict=True):
        if side < layout.least_side:
            raise EncodingError(f"{picture} needs {name} >= {layout.least_side}, got {side}")
        if even and side % 2:
            raise EncodingError(f"{picture} needs an even {name}, got {side}")


def _values(layout: _Layout, picture: str, data: np.ndarray, height: int, width: int, step: int) -> np.ndarray:
    """The bytes of every row without its padding: a (rows, width * bytes per pixel) view."""
    row_bytes = width * layout.bytes_per_pixel
    if step < row_bytes:
        raise EncodingError(f"{picture} needs step >= {row_bytes}, got {step}")
    rows, formula = (height * 3 // 2, "step * height * 3 / 2") if layout.chroma_rows else (height, "step * height")
    if data.size != rows * step:
        raise EncodingError(
            f"{picture} with step {step} needs {rows * step} bytes of data ({formula}), got {data.size}"
        )
    return data.reshape(rows, step)[:, :row_bytes]


def _wide(values: np.ndarray, is_bigendian: bool) -> np.ndarray:
    """Rows of 16-bit values, given as bytes."""
    wide = np.ascontiguousarray(values).view(">u2" if is_bigendian else "<u2")
    # A bag's buffer may begin at an odd address, where C++ need not be able to read 16 bits at once.
    return np.require(wide, np.uint16, ["C", "A"])
