"""How an executable lets go of ROS."""

from __future__ import annotations

from contextlib import suppress

import rclpy


def shut_down() -> None:
    """Shut rclpy down where its own handler of SIGINT and SIGTERM has not, or is not doing so at this moment."""
    with suppress(RuntimeError):  # rclpy's RCLError: between the look and the call the handler was quicker
        rclpy.try_shutdown()
