"""A camera of the robot, with all that is wrong with cameras, and what the node answers to it."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from dcfm_ros.node.messages import header_of
from soak import pictures
from soak.robot import Doing, Robot

_SECOND = 1_000_000_000
_NUM_CLASSES = 11  # of the weights that ship

_STAMPS_GONE_WRONG = (
    lambda stamp: stamp - 100 * _SECOND,
    lambda stamp: stamp + 1000 * _SECOND,
    lambda stamp: 0,
    lambda stamp: (2**31 - 1) * _SECOND,
)


class RobotCamera:
    """Sends on the topic of the camera `name`, and counts what is sent and what comes back.

    transport: "raw" or "compressed". is_away: whether there is no publisher.
    """

    def __init__(self, robot: Robot, name: str, transport: str, rate_hz: float) -> None:
        self.name = name
        self.sent = self.hostile = self.masks = self.timings = 0
        self.is_away = True
        self._robot = robot
        self._is_raw = transport == "raw"
        self._period_s = 1 / rate_hz
        self._stamp = time.time_ns()
        self._prefix = f"/{name}" if name else ""
        self._message: Any = None
        answers = f"/segmentation{self._prefix}"
        robot.node.create_subscription(Image, f"{answers}/mask", self._on_mask, 10)
        robot.node.create_subscription(DiagnosticArray, f"{answers}/timing", self._on_timing, 10)

    @property
    def topic(self) -> str:
        return f"{self._prefix}/image" if self._is_raw else f"{self._prefix}/image/compressed"

    def film(self) -> Doing:
        """Send at the camera's rate; go away now and then, and come back reliable or not."""
        node, rng = self._robot.node, self._robot.random
        kind = Image if self._is_raw else CompressedImage
        while True:
            reliability = rng.choice((ReliabilityPolicy.RELIABLE, ReliabilityPolicy.BEST_EFFORT))
            publisher = node.create_publisher(kind, self.topic, QoSProfile(depth=5, reliability=reliability))
            self.is_away = False
            for _ in range(round(rng.uniform(10, 40) / self._period_s)):
                publisher.publish(self._next())
                yield self._period_s
            self.is_away = True
            node.destroy_publisher(publisher)
            yield rng.uniform(0.2, 4)

    def calibrate(self) -> Doing:
        """Send calibrations, some of which no camera can have; stop now and then."""
        node, rng = self._robot.node, self._robot.random
        while True:
            publisher = node.create_publisher(CameraInfo, f"{self._prefix}/camera_info", 5)
            for _ in range(rng.randrange(100)):
                publisher.publish(pictures.camera_info(rng))
                yield 0.2
            node.destroy_publisher(publisher)
            yield rng.uniform(0, 5)

    def _next(self) -> Any:
        """The next message, good or bad, or the last one again."""
        rng = self._robot.random
        self.sent += 1
        if self._message is not None and rng.random() < 0.02:
            return self._message
        if rng.random() < 0.05:
            self.hostile += 1
            message = pictures.hostile_raw(rng) if self._is_raw else pictures.hostile_compressed(rng)
            return pictures.cut(message, rng) if rng.random() < 0.2 else message
        if self._message is None or rng.random() < 0.01:
            self._looks = rng.choice(pictures.ENCODINGS), rng.choice(("jpeg", "png")), rng.choice(pictures.SIZES)
        encoding, kind, size = self._looks
        self._stamp += round(self._period_s * _SECOND) * (rng.random() > 0.01)
        stamp = rng.choice(_STAMPS_GONE_WRONG)(self._stamp) if rng.random() < 0.01 else self._stamp
        message = pictures.raw(encoding, size, rng) if self._is_raw else pictures.compressed(kind, size, rng)
        message.header = header_of(stamp, f"{self.name}_camera")
        self._message = message
        return message

    def _on_mask(self, mask: Image) -> None:
        self.masks += 1
        if mask.header.frame_id != f"{self.name}_camera":
            self._robot.complain(f"a mask has the frame {mask.header.frame_id!r}")
        ids = np.frombuffer(mask.data, np.uint8)
        if ids.size != mask.height * mask.width or mask.step != mask.width:
            self._robot.complain(f"a mask of {mask.width}x{mask.height} has {ids.size} bytes, step {mask.step}")
        elif not np.all((ids < _NUM_CLASSES) | (ids == 255)):
            self._robot.complain(f"a mask has the id {ids[(ids >= _NUM_CLASSES) & (ids != 255)][0]}")

    def _on_timing(self, timing: DiagnosticArray) -> None:
        self.timings += 1
