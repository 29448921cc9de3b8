"""A camera's topics going out. What nobody subscribes to is neither made nor sent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile
from rclpy.qos_overriding_options import QoSOverridingOptions
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import Header, String

from dcfm_ros.imaging.compressed import encode_jpeg, encode_png
from dcfm_ros.imaging.frame import Frame
from dcfm_ros.imaging.labels import LabelSet
from dcfm_ros.imaging.overlay import colorize, overlay
from dcfm_ros.imaging.view import View
from dcfm_ros.node import messages
from dcfm_ros.streaming import Segmentation
from dcfm_ros.streaming.timing import timing_of

_PUBLISHERS = {
    "mask": (Image, 5),
    "confidence": (Image, 5),
    "color": (Image, 5),
    "overlay": (Image, 5),
    "mask/compressed": (CompressedImage, 5),
    "overlay/compressed": (CompressedImage, 5),
    "camera_info": (CameraInfo, 5),
    "timing": (DiagnosticArray, 10),
}
"""Type and depth of each topic; all are reliable."""


@dataclass(frozen=True)
class Received:
    """A message and when its callback was entered, on the steady clock; stamp_ns is never zero."""

    message: Image | CompressedImage
    stamp_ns: int
    steady_ns: int


@dataclass(frozen=True)
class Look:
    """How a camera's frames are looked at, and their results shown."""

    view: View
    labels: LabelSet
    overlay_opacity: float
    jpeg_quality: int


@dataclass(frozen=True)
class Result:
    """The result of a message. frame: the whole picture; segmentation: of the part that is looked at.

    look: the one that the frame was taken with, whatever has changed by the time it is published.
    """

    received: Received
    frame: Frame
    segmentation: Segmentation
    look: Look


class Shown:
    """A result as it is published: in the camera's geometry, at the output's size. Each part is made once, if ever."""

    def __init__(self, result: Result) -> None:
        self.result = result
        self.look = result.look
        self.header: Header = result.received.message.header

    @property
    def mask(self) -> np.ndarray:
        return self._finished[0]

    @property
    def confidence(self) -> np.ndarray | None:
        return self._finished[1]

    @cached_property
    def overlay(self) -> np.ndarray:
        picture = self.look.view.picture(self.result.frame)
        return overlay(picture, self.mask, self.look.labels, self.look.overlay_opacity)

    @cached_property
    def _finished(self) -> tuple[np.ndarray, np.ndarray | None]:
        frame, segmentation = self.result.frame, self.result.segmentation
        return self.look.view.finish(segmentation.mask, segmentation.confidence, (frame.height, frame.width))


class CameraOutput:
    """Publishes `~/mask` and its siblings, or `~/<camera>/mask` and so on where cameras have names."""

    def __init__(self, node: Node, camera: str, run_lengths: bool) -> None:
        self._node = node
        self._prefix = f"~/{camera}/" if camera else "~/"
        self._publishers = {name: self._publisher(kind, name, depth) for name, (kind, depth) in _PUBLISHERS.items()}
        if run_lengths:
            self._publishers["mask/run_length"] = self._publisher(Image, "mask/run_length", 5)
        self._labels = self._publisher(String, "labels", 1, DurabilityPolicy.TRANSIENT_LOCAL)
        self._label_info: Any = None

    def publish_labels(self, labels: LabelSet, threshold: float) -> None:
        """Tell the classes to those who are there, and to those who come later.

        threshold: the least confidence of a pixel's class, 0 to 1.
        """
        self._labels.publish(String(data=labels.to_json()))
        header = Header(stamp=self._node.get_clock().now().to_msg())
        info = messages.label_info_message(header, labels, threshold)
        if info is None:
            return
        if self._label_info is None:
            self._label_info = self._publisher(type(info), "label_info", 1, DurabilityPolicy.TRANSIENT_LOCAL)
        self._label_info.publish(info)

    @property
    def wants_confidence(self) -> bool:
        """Whether somebody listens to it."""
        return self._is_wanted("confidence")

    def publish_mask(self, shown: Shown) -> None:
        """The mask itself, which others wait for."""
        self._send("mask", lambda: messages.image_message(shown.header, shown.mask, "mono"))

    def publish_pictures(self, shown: Shown, info: CameraInfo | None) -> None:
        """Whatever else is listened to that comes of the mask. info: of the camera, where it told."""
        header, look = shown.header, shown.look
        if shown.confidence is not None:
            confidence = shown.confidence
            self._send("confidence", lambda: messages.image_message(header, confidence, "mono"))
        if info is not None:
            frame, size = shown.result.frame, shown.mask.shape[:2]
            picture = frame.height, frame.width
            self._send("camera_info", lambda: messages.mask_camera_info(info, header, picture, size))
        self._send("color", lambda: messages.image_message(header, colorize(shown.mask, look.labels), "rgb"))
        self._send("overlay", lambda: messages.image_message(header, shown.overlay, "rgb"))
        self._send("mask/run_length", lambda: messages.run_length_message(header, shown.mask))
        self._send(
            "mask/compressed",
            lambda: messages.compressed_message(header, encode_png(shown.mask), "mono8; png compressed mono8"),
        )
        self._send(
            "overlay/compressed",
            lambda: messages.compressed_message(
                header, encode_jpeg(shown.overlay, look.jpeg_quality), "rgb8; jpeg compressed bgr8"
            ),
        )

    def publish_timing(self, shown: Sequence[Shown], latencies_ms: Sequence[float]) -> None:
        """One message for each result."""
        if not self._is_wanted("timing"):
            return
        for each, latency_ms in zip(shown, latencies_ms, strict=True):
            segmentation = replace(each.result.segmentation, mask=each.mask)
            timing = timing_of(segmentation, latency_ms, each.look.labels)
            self._publishers["timing"].publish(messages.timing_message(each.header, timing))

    def _publisher(
        self, kind: type, name: str, depth: int, durability: DurabilityPolicy = DurabilityPolicy.VOLATILE
    ) -> Any:
        return self._node.create_publisher(
            kind,
            self._prefix + name,
            QoSProfile(depth=depth, durability=durability),
            qos_overriding_options=QoSOverridingOptions.with_default_policies(),
        )

    def _is_wanted(self, name: str) -> bool:
        if name not in self._publishers or not self._node.context.ok():
            return False
        return self._publishers[name].get_subscription_count() > 0

    def _send(self, name: str, make: Any) -> None:
        if self._is_wanted(name):
            self._publishers[name].publish(make())
