"""One picture of a stream, as it lies in memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

ChannelOrder = Literal["mono", "rgb", "bgr", "rgba", "bgra"]

_CHANNELS: dict[str, int] = {"mono": 1, "rgb": 3, "bgr": 3, "rgba": 4, "bgra": 4}


@dataclass(frozen=True, eq=False)
class Frame:
    """A picture with its time. `pixels` may be a read-only view of a message's buffer.

    pixels: uint8, (H, W) when `order` is "mono", else (H, W, 3) or (H, W, 4); rows may be padded (strided view).
    order: what the channels mean. Reordering is left to whoever needs it, after the picture has been made small.
    stamp_ns: time of capture in nanoseconds (`header.stamp`); 0 where the source has none.
    encoding: the source's own name of its encoding (sensor_msgs/image_encodings); a change of it begins a new stream.

    Raises ValueError when `pixels` is not uint8, is empty, or its shape does not fit `order`.
    """

    pixels: np.ndarray
    order: ChannelOrder = "rgb"
    stamp_ns: int = 0
    encoding: str = "rgb8"

    def __post_init__(self) -> None:
        if self.order not in _CHANNELS:
            raise ValueError(f"order is {self.order!r}; expected one of {', '.join(_CHANNELS)}")
        channels = _CHANNELS[self.order]
        expected = "(H, W)" if channels == 1 else f"(H, W, {channels})"
        fits = self.pixels.ndim == 2 if channels == 1 else self.pixels.ndim == 3 and self.pixels.shape[2] == channels
        if not fits or self.pixels.dtype != np.uint8:
            raise ValueError(
                f"pixels of order {self.order!r} are {self.pixels.dtype} {self.pixels.shape}; expected uint8 {expected}"
            )
        if self.pixels.size == 0:
            raise ValueError(f"the picture is empty: {self.pixels.shape}")

    @property
    def height(self) -> int:
        """Rows."""
        return self.pixels.shape[0]

    @property
    def width(self) -> int:
        """Columns."""
        return self.pixels.shape[1]


def stamp_ns(header: Any) -> int:
    """The stamp in nanoseconds of a message's header, as rclpy or `rosbags` reads it."""
    return int(header.stamp.sec) * 1_000_000_000 + int(header.stamp.nanosec)
