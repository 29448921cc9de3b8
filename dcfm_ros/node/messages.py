"""Between ROS messages and this package's own types."""

from __future__ import annotations

import array
from typing import Any

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from dcfm_ros.imaging.encodings import ENCODING_OF_ORDER, SUPPORTED_ENCODINGS, decode_frame
from dcfm_ros.imaging.frame import ChannelOrder, Frame
from dcfm_ros.streaming.timing import Timing, timing_texts


def stamp_ns(header: Header) -> int:
    """header.stamp in nanoseconds."""
    return header.stamp.sec * 1_000_000_000 + header.stamp.nanosec


def frame_of(message: Image, stamp: int) -> Frame:
    """The picture of a sensor_msgs/Image, a view of its buffer where the encoding allows.

    stamp: nanoseconds to give to the frame. An encoding this package does not know goes through cv_bridge where that is
    installed. Raises EncodingError when the message cannot be what its header says.
    """
    data = np.frombuffer(message.data, np.uint8)
    if message.encoding not in SUPPORTED_ENCODINGS and (bridge := _cv_bridge()):
        return Frame(bridge.imgmsg_to_cv2(message, "bgr8"), "bgr", stamp, message.encoding)
    return decode_frame(
        data,
        height=message.height,
        width=message.width,
        encoding=message.encoding,
        step=message.step,
        is_bigendian=bool(message.is_bigendian),
        stamp_ns=stamp,
    )


def image_message(header: Header, pixels: np.ndarray, order: ChannelOrder) -> Image:
    """A sensor_msgs/Image of (H, W) or (H, W, C) uint8 pixels with step == width * channels.

    order: as in `Frame.order`.
    """
    message = Image(header=header, height=pixels.shape[0], width=pixels.shape[1], encoding=ENCODING_OF_ORDER[order])
    message.step = pixels.shape[1] * (pixels.shape[2] if pixels.ndim == 3 else 1)
    # An array of bytes is taken over as it is; anything else is copied, and in debug builds checked, byte by byte.
    data = array.array("B")
    data.frombytes(np.ascontiguousarray(pixels).data.cast("B"))
    message.data = data
    return message


def timing_message(header: Header, timing: Timing) -> DiagnosticArray:
    """One status with a value for each of `timing_texts`."""
    values = [KeyValue(key=key, value=value) for key, value in timing_texts(timing).items()]
    status = DiagnosticStatus(level=DiagnosticStatus.OK, name="timing", message=timing.reason, values=values)
    return DiagnosticArray(header=header, status=[status])


def _cv_bridge() -> Any:
    try:
        from cv_bridge import CvBridge
    except ImportError:
        return None
    return CvBridge()
