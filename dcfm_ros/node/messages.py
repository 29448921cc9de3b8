"""Between ROS messages and this package's own types."""

from __future__ import annotations

import array
from dataclasses import dataclass
from typing import Any

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from dcfm_ros.imaging.encodings import ENCODING_OF_ORDER, SUPPORTED_ENCODINGS, decode_frame
from dcfm_ros.imaging.frame import ChannelOrder, Frame
from dcfm_ros.imaging.labels import LabelSet
from dcfm_ros.streaming import Segmentation


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


@dataclass(frozen=True)
class Timing:
    """What `~/timing` says of a frame. Times in milliseconds, ages in frames and seconds.

    keyframe_index: number of the keyframe that the mask was made from. background_ms: what that keyframe took beside
    the stream, told with the first frame that uses it. latency_ms: from receipt to the mask's publication.
    shares: each class's part of the picture.
    """

    index: int
    is_keyframe: bool
    reason: str
    keyframe_index: int
    age_frames: int
    age_s: float
    prepare_ms: float
    shallow_ms: float
    motion_ms: float
    common_ms: float
    align_ms: float
    decide_ms: float
    background_ms: float
    latency_ms: float
    shares: dict[str, float]


def timing_of(result: Segmentation, latency_ms: float, labels: LabelSet) -> Timing:
    """The timing of one result."""
    counts = np.bincount(result.mask.ravel(), minlength=len(labels))
    return Timing(
        index=result.index,
        is_keyframe=result.is_keyframe,
        reason=result.reason,
        keyframe_index=result.keyframe_index,
        age_frames=result.keyframe_age_frames,
        age_s=result.keyframe_age_s,
        **{f"{stage}_ms": value for stage, value in result.stage_ms.items()},
        background_ms=result.background_ms,
        latency_ms=latency_ms,
        shares={name: float(counts[i]) / result.mask.size for i, name in enumerate(labels.names)},
    )


def timing_message(header: Header, timing: Timing) -> DiagnosticArray:
    """One status with a value for each field, and `share/<class>` for each class."""
    fields = {name: value for name, value in vars(timing).items() if name != "shares"}
    fields |= {f"share/{name}": round(share, 5) for name, share in timing.shares.items()}
    values = [KeyValue(key=key, value=_text(value)) for key, value in fields.items()]
    status = DiagnosticStatus(level=DiagnosticStatus.OK, name="timing", message=timing.reason, values=values)
    return DiagnosticArray(header=header, status=[status])


def read_timing(message: DiagnosticArray) -> Timing:
    """What `timing_message` wrote. Raises ValueError when the message is another one."""
    try:
        values = {pair.key: pair.value for pair in message.status[0].values}
        return Timing(
            index=int(values["index"]),
            is_keyframe=values["is_keyframe"] == "true",
            reason=values["reason"],
            keyframe_index=int(values["keyframe_index"]),
            age_frames=int(values["age_frames"]),
            **{key: float(values[key]) for key in values if key.endswith("_ms") or key == "age_s"},
            shares={k.removeprefix("share/"): float(v) for k, v in values.items() if k.startswith("share/")},
        )
    except (IndexError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"this is not a timing message: {error!r}") from error


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"{value:.5g}" if isinstance(value, float) else str(value)


def _cv_bridge() -> Any:
    try:
        from cv_bridge import CvBridge
    except ImportError:
        return None
    return CvBridge()
