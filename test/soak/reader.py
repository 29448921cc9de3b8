"""`python -m soak.reader CAMERA...`: a process that subscribes to all that the node publishes, and takes its time."""

from __future__ import annotations

import sys
import time

import rclpy
from rclpy.qos import QoSProfile

from dcfm_ros.processes import end_with_parent
from soak.mischief import TOPICS
from soak.robot import quiet

_SECONDS_A_MESSAGE = 0.2


def main(cameras: list[str]) -> None:
    """cameras: their names; a single one's is empty."""
    end_with_parent()
    rclpy.init()
    node = rclpy.create_node("slow_reader")
    quiet(node)
    for camera in cameras:
        for topic, kind in TOPICS.items():
            name = f"/segmentation/{camera}/{topic}".replace("//", "/")
            node.create_subscription(kind, name, lambda message: time.sleep(_SECONDS_A_MESSAGE), QoSProfile(depth=10))
    rclpy.spin(node)


if __name__ == "__main__":
    main(sys.argv[1:])
