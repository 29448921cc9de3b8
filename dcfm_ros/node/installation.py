"""Facts about ROS 2 on this machine, for `dcfm doctor`; importing this needs what the node needs."""

from __future__ import annotations

import os
from importlib.util import find_spec

import rclpy

OPTIONAL = ("vision_msgs", "cv_bridge")
"""ROS packages that the node uses where they are installed."""


def describe_ros() -> dict[str, object]:
    """Return the distribution (as the environment names it), the middleware that loads, and which of OPTIONAL lack.

    A middleware that RMW_IMPLEMENTATION names and that is not installed ends the process: rcl calls exit.
    """
    return {
        "distribution": os.environ.get("ROS_DISTRO", ""),
        "middleware": rclpy.get_rmw_implementation_identifier(),
        "lacking": [name for name in OPTIONAL if find_spec(name) is None],
    }
