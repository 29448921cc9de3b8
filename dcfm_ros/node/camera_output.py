"""A camera's topics going out. What nobody subscribes to is neither made nor sent."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile
from rclpy.qos_overriding_options import QoSOverridingOptions
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import Header, String

from dcfm_ros.imaging.compressed import encode_jpeg, encode_png
from dcfm_ros.imaging.frame import stamp_ns
from dcfm_ros.imaging.labels import LabelSet
from dcfm_ros.imaging.overlay import colorize
from dcfm_ros.node import messages
from dcfm_ros.node.diagnostics import Latencies
from dcfm_ros.node.frames import SegmentedFrame
from dcfm_ros.node.qos import overridden
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


class CameraOutput:
    """Publishes `~/mask` and its siblings, or `~/<camera>/mask` and so on where cameras have names.

    info: the camera's calibration for the image of a stamp in
    ns, or None. latencies: of the frames that were published.
    """

    def __init__(self, node: Node, camera: str, info: Callable[[int], CameraInfo | None]) -> None:
        self._node = node
        self._info = info
        self.latencies = Latencies()
        self._prefix = f"~/{camera}/" if camera else "~/"
        self._publishers = {name: self._publisher(kind, name, depth) for name, (kind, depth) in _PUBLISHERS.items()}
        if node.get_parameter("run_length_mask").value:
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

    def publish(self, frames: Sequence[SegmentedFrame]) -> None:
        """Publish what came of frames, the oldest first: pictures of the newest, timing of all."""
        newest = frames[-1]
        # The mask first, which others wait for.
        self._send("mask", lambda: messages.image_message(newest.header, newest.mask, "mono"))
        published_ns = time.monotonic_ns()
        self._publish_pictures(newest)
        latencies_ms = [(published_ns - frame.received.steady_ns) / 1e6 for frame in frames]
        for frame, latency_ms in zip(frames, latencies_ms, strict=True):
            self.latencies.add(frame.segmentation.is_keyframe, latency_ms)
            if self._is_wanted("timing"):
                segmentation = replace(frame.segmentation, mask=frame.mask)
                timing = timing_of(segmentation, latency_ms, frame.labels)
                self._publishers["timing"].publish(messages.timing_message(frame.header, timing))

    def _publish_pictures(self, frame: SegmentedFrame) -> None:
        """Whatever else is listened to that comes of the mask."""
        header, confidence, info = frame.header, frame.confidence, self._info(stamp_ns(frame.header))
        if confidence is not None:
            self._send("confidence", lambda: messages.image_message(header, confidence, "mono"))
        if info is not None:
            picture, size = (frame.picture.height, frame.picture.width), frame.mask.shape[:2]
            self._send("camera_info", lambda: messages.mask_camera_info(info, header, picture, size))
        self._send("color", lambda: messages.image_message(header, colorize(frame.mask, frame.labels), "rgb"))
        self._send("overlay", lambda: messages.image_message(header, frame.overlay, "rgb"))
        self._send("mask/run_length", lambda: messages.run_length_message(header, frame.mask))
        self._send(
            "mask/compressed",
            lambda: messages.compressed_message(header, encode_png(frame.mask), "mono8; png compressed mono8"),
        )
        self._send(
            "overlay/compressed",
            lambda: messages.compressed_message(
                header, encode_jpeg(frame.overlay, frame.settings.jpeg_quality), "rgb8; jpeg compressed bgr8"
            ),
        )

    def _publisher(
        self, kind: type, name: str, depth: int, durability: DurabilityPolicy = DurabilityPolicy.VOLATILE
    ) -> Any:
        topic = self._prefix + name
        with overridden(self._node, topic, "publisher"):
            return self._node.create_publisher(
                kind,
                topic,
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
