"""What a camera sends: noise in the encodings of the interface, and messages that are not what they say."""

from __future__ import annotations

import array
import random
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
from rclpy.serialization import serialize_message
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, RegionOfInterest

Random = random.Random

SIZES = ((48, 64), (60, 80), (64, 96), (120, 160))
HOSTILE = "hostile"
"""The frame_id of a message that is bad: no answer may carry it."""

_PIXEL_BYTES = {"mono8": 1, "rgb8": 3, "bgr8": 3, "bgra8": 4, "mono16": 2, "rgb16": 6, "yuv422_yuy2": 2, "nv12": 1}
ENCODINGS = tuple(_PIXEL_BYTES)


def raw(encoding: str, size: tuple[int, int], rng: Random) -> Image:
    """Noise, at times with padded rows."""
    height, width = size
    step = width * _PIXEL_BYTES[encoding] + rng.choice((0, 0, 32))
    rows = height * 3 // 2 if encoding == "nv12" else height
    message = Image(height=height, width=width, encoding=encoding, step=step)
    message.data = array.array("B", rng.randbytes(rows * step))
    return message


def compressed(kind: str, size: tuple[int, int], rng: Random) -> CompressedImage:
    """kind: "jpeg" or "png"."""
    pixels = np.frombuffer(rng.randbytes(size[0] * size[1] * 3), np.uint8).reshape(*size, 3)
    return _compressed(kind, pixels)


def hostile_raw(rng: Random) -> Image:
    """A message that must be rejected, of a kind drawn by lot."""
    message = raw("rgb8", rng.choice(SIZES), rng)
    rng.choice(_HARMS)(message, rng)
    message.header.frame_id = HOSTILE
    return message


def hostile_compressed(rng: Random) -> CompressedImage:
    """As `hostile_raw`."""
    kind = rng.choice(("jpeg", "png"))
    data = compressed(kind, rng.choice(SIZES), rng).data.tobytes()
    message = CompressedImage(format=kind)
    message.data = array.array("B", rng.choice(_COMPRESSED_HARMS)(data, rng))
    message.header.frame_id = HOSTILE
    return message


def cut(message: Image | CompressedImage, rng: Random) -> bytes:
    """A message as it goes over the wire, without its end: DDS passes it on."""
    data = serialize_message(message)
    return data[: rng.randrange(4, len(data))]


def camera_info(rng: Random) -> CameraInfo:
    """A calibration, at times one that no camera can have."""
    height, width = rng.choice(SIZES)
    fields = {"height": height, "width": width, "k": [80.0, 0, 40, 0, 80, 30, 0, 0, 1]}
    return CameraInfo(**(fields | rng.choice(_INFO_HARMS)))


def _compressed(kind: str, pixels: np.ndarray) -> CompressedImage:
    message = CompressedImage(format=kind)
    message.data = array.array("B", cv2.imencode(f".{kind}", pixels)[1].tobytes())
    return message


def _set(**fields: object) -> Callable[[Image, Random], None]:
    def harm(message: Image, rng: Random) -> None:
        for name, value in fields.items():
            setattr(message, name, value)

    return harm


def _cut(message: Image, rng: Random) -> None:
    message.data = message.data[: rng.randrange(len(message.data))]


def _lengthen(message: Image, rng: Random) -> None:
    message.data = message.data + array.array("B", rng.randbytes(1000))


_HARMS: tuple[Callable[[Image, Random], None], ...] = (
    _cut,
    _lengthen,
    _set(step=7),
    _set(step=2**32 - 1),
    _set(height=2**32 - 1, width=2**32 - 1, step=2**32 - 1),
    _set(height=0),
    _set(encoding="rgb42"),
    _set(encoding="\N{SNOWMAN}" * 20_000),
    _set(encoding="mono16", step=3),
    _set(encoding="", height=0, width=0, step=0, data=array.array("B")),
)


def _bomb(data: bytes, rng: Random) -> bytes:
    """Four hundred million pixels in a few hundred bytes, for all that its header says."""
    size = (20_000).to_bytes(4, "big")
    return b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR" + size + size + b"\x08\x02\x00\x00\x00" + rng.randbytes(300)


_COMPRESSED_HARMS: tuple[Callable[[bytes, Random], bytes], ...] = (
    lambda data, rng: data[: rng.randrange(len(data) // 2)],
    lambda data, rng: data[:4] + rng.randbytes(500),
    lambda data, rng: rng.randbytes(500),
    lambda data, rng: b"",
    _bomb,
)

_INFO_HARMS: tuple[dict[str, Any], ...] = (
    {},
    {},
    {"height": 0},
    {"k": [float("nan")] * 9},
    {"width": 1, "roi": RegionOfInterest(width=2**32 - 1, height=2**32 - 1)},
)
