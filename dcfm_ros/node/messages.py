"""Between ROS messages and this package's own types."""

from __future__ import annotations

import array
import copy
from typing import Any

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, RegionOfInterest
from std_msgs.msg import Header

from dcfm_ros.imaging.compressed import decode_compressed
from dcfm_ros.imaging.encodings import ENCODING_OF_ORDER, SUPPORTED_ENCODINGS, decode_frame
from dcfm_ros.imaging.frame import ChannelOrder, Frame, stamp_ns
from dcfm_ros.imaging.geometry import Size
from dcfm_ros.imaging.labels import LabelSet
from dcfm_ros.imaging.run_lengths import run_lengths
from dcfm_ros.streaming.timing import Timing, timing_texts


def header_of(stamp: int, frame_id: str) -> Header:
    """stamp: in nanoseconds."""
    header = Header(frame_id=frame_id)
    header.stamp.sec, header.stamp.nanosec = divmod(stamp, 1_000_000_000)
    return header


def frame_of(message: Image | CompressedImage, stamp: int, max_pixels: int) -> Frame:
    """The picture of a message, a view of its buffer where the encoding of a sensor_msgs/Image allows.

    stamp: nanoseconds to give to the frame. max_pixels: of a CompressedImage, which is refused before it is
    decompressed. An encoding this package does not know goes through cv_bridge where that is installed.
    Raises EncodingError when the message cannot be what its header says.
    """
    data = np.frombuffer(message.data, np.uint8)
    if isinstance(message, CompressedImage):
        return decode_compressed(data, message.format, stamp, max_pixels)
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
    message.data = _bytes(np.ascontiguousarray(pixels).data)
    return message


def recorded_image_message(header: Header, recorded: Any) -> Image:
    """A sensor_msgs/Image as `rosbags` reads it, in the camera's own encoding, with another header."""
    message = Image(header=header, height=int(recorded.height), width=int(recorded.width), encoding=recorded.encoding)
    message.is_bigendian, message.step = int(recorded.is_bigendian), int(recorded.step)
    message.data = _bytes(memoryview(recorded.data))
    return message


def camera_info_message(recorded: Any) -> CameraInfo:
    """A sensor_msgs/CameraInfo as `rosbags` reads it; ROS 1 has its matrices in capitals."""
    message = CameraInfo(header=header_of(stamp_ns(recorded.header), recorded.header.frame_id))
    for name in ("height", "width", "binning_x", "binning_y"):
        setattr(message, name, int(getattr(recorded, name)))
    for name in ("x_offset", "y_offset", "height", "width"):
        setattr(message.roi, name, int(getattr(recorded.roi, name)))
    message.roi.do_rectify = bool(recorded.roi.do_rectify)
    message.distortion_model = recorded.distortion_model
    for name in "dkrp":
        values = getattr(recorded, name) if hasattr(recorded, name) else getattr(recorded, name.upper())
        setattr(message, name, [float(value) for value in values])
    return message


def compressed_message(header: Header, data: bytes, image_format: str) -> CompressedImage:
    """A sensor_msgs/CompressedImage. image_format: as image_transport writes it, "rgb8; jpeg compressed bgr8"."""
    message = CompressedImage(header=header, format=image_format)
    message.data = _bytes(memoryview(data))
    return message


def run_length_message(header: Header, mask: np.ndarray) -> Image:
    """A mask in the form of Autoware's detectors: all of the mask's own header, and runs for data."""
    message = Image(header=header, height=mask.shape[0], width=mask.shape[1], encoding="mono8", step=mask.shape[1])
    message.data = _bytes(memoryview(run_lengths(mask)))
    return message


def mask_camera_info(info: CameraInfo, header: Header, picture: Size, mask: Size) -> CameraInfo:
    """The calibration of a mask, with another header: K and P are of the mask itself, without binning or region.

    info: of the camera as REP 104 has it, with matrices of the full resolution, of which the picture shows a region,
    binned. picture, mask: (height, width) of what the camera sent and of what came of it. Distortion and rectification
    do not depend on the size.

    REP 104 puts the pixel (u, v) of a picture at (u * binning_x + x_offset, v * binning_y + y_offset) of the full
    resolution. From the picture to the mask pixels' centres are at whole numbers, so a mask of half the size has the
    centre of its first pixel between the first two. A picture that has not the size that `info` tells is taken for one
    that was resized. Of an `info` without a size the header alone is changed.
    """
    own = copy.deepcopy(info)
    own.header = header
    region = _calibrated_region(info, picture)
    if not (region.width and region.height):
        return own
    columns = _to_mask(region.x_offset, region.width, max(1, info.binning_x), picture[1], mask[1])
    rows = _to_mask(region.y_offset, region.height, max(1, info.binning_y), picture[0], mask[0])
    from_full = np.array([[columns[0], 0, columns[1]], [0, rows[0], rows[1]], [0, 0, 1]])
    own.height, own.width = mask
    own.binning_x = own.binning_y = 0
    own.roi = RegionOfInterest()
    own.k = (from_full @ info.k.reshape(3, 3)).ravel()
    own.p = (from_full @ info.p.reshape(3, 4)).ravel()
    return own


def _calibrated_region(info: CameraInfo, picture: Size) -> RegionOfInterest:
    """Return the part of the full resolution that the picture shows.

    That is all of it where a driver says nothing, or what cannot be.
    """
    whole = RegionOfInterest(height=info.height, width=info.width)
    roi = info.roi
    if not (roi.width and roi.height):
        return whole
    is_inside = roi.x_offset + roi.width <= info.width and roi.y_offset + roi.height <= info.height
    is_cropped = _is_picture_of(roi, info, picture) or not _is_picture_of(whole, info, picture)
    return roi if (is_inside and is_cropped) or not (info.width and info.height) else whole


def _is_picture_of(region: RegionOfInterest, info: CameraInfo, picture: Size) -> bool:
    """Whether a picture has the size of a region as it is binned, up to a last block that is not whole."""
    sides = (region.height, max(1, info.binning_y), picture[0]), (region.width, max(1, info.binning_x), picture[1])
    return all(abs(pixels * block - length) < block for length, block, pixels in sides)


def _to_mask(offset: int, length: int, binning: int, picture: int, mask: int) -> tuple[float, float]:
    """Factor and shift from a coordinate of the full resolution to one of the mask, along one side.

    offset, length: of the region in the full resolution; picture, mask: lengths in pixels.
    """
    scale, shift = 1 / binning, -offset / binning
    # Whole pixels alone are read out: an odd length, binned by two, is no picture that was resized.
    told = length / binning if abs(picture * binning - length) >= binning else float(picture)
    resized = mask / told
    return scale * resized, (shift + 0.5) * resized - 0.5


def label_info_message(header: Header, labels: LabelSet, threshold: float) -> Any:
    """A vision_msgs/LabelInfo, or None where vision_msgs is not installed. threshold: the least confidence, 0 to 1."""
    try:
        from vision_msgs.msg import LabelInfo, VisionClass
    except ImportError:
        return None
    classes = [VisionClass(class_id=index, class_name=name) for index, name in enumerate(labels.names)]
    return LabelInfo(header=header, class_map=classes, threshold=threshold)


def timing_message(header: Header, timing: Timing) -> DiagnosticArray:
    """One status with a value for each of `timing_texts`."""
    values = [KeyValue(key=key, value=value) for key, value in timing_texts(timing).items()]
    status = DiagnosticStatus(level=DiagnosticStatus.OK, name="timing", message=timing.reason, values=values)
    return DiagnosticArray(header=header, status=[status])


def _bytes(data: memoryview) -> array.array:
    """An array of bytes, which rclpy takes over as it is; anything else it copies, and may check, byte by byte."""
    values = array.array("B")
    values.frombytes(data.cast("B"))
    return values


def _cv_bridge() -> Any:
    try:
        from cv_bridge import CvBridge
    except ImportError:
        return None
    return CvBridge()
