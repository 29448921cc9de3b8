"""Starts the installed node as `ros2 run` would, waits until it is active, interrupts it: it must end with 0.

Usage, with the workspace's overlay sourced: check_node.py <install prefix of dcfm_ros>
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import rclpy
from lifecycle_msgs.srv import GetState

START_S = 90.0
STOP_S = 20.0


def main() -> int:
    prefix = Path(sys.argv[1]).resolve()
    os.environ["ROS_DOMAIN_ID"] = str(random.randint(1, 101))
    profile = str(prefix / "share" / "dcfm_ros" / "config" / "fastdds_large_images.xml")
    os.environ.update(FASTRTPS_DEFAULT_PROFILES_FILE=profile, FASTDDS_DEFAULT_PROFILES_FILE=profile)
    check_installed(prefix)
    began = time.monotonic()
    node = subprocess.Popen([prefix / "lib" / "dcfm_ros" / "segmentation_node"])
    try:
        wait_until_active(node)
        print(f"active after {time.monotonic() - began:.1f} s")
        node.send_signal(signal.SIGINT)
        code = node.wait(timeout=STOP_S)
    finally:
        node.kill()
    if code != 0:
        sys.exit(f"the node ended with {code} on SIGINT")
    return 0


def check_installed(prefix: Path) -> None:
    """The overlay must be what is imported, and must hold what launch and ROS look for."""
    import dcfm_ros

    if prefix.parent not in Path(dcfm_ros.__file__).parents:
        sys.exit(f"dcfm_ros is imported from {dcfm_ros.__file__}")
    files = ["package.xml", "launch/segmentation.launch.py", "config/fastdds_large_images.xml"]
    share = prefix / "share"
    wanted = [share / "dcfm_ros" / file for file in files]
    wanted += [share / "ament_index" / "resource_index" / "packages" / "dcfm_ros"]
    wanted += [share / "dcfm_ros" / "hook" / "ament_prefix_path.sh"]
    missing = [str(path) for path in wanted if not path.exists()]
    if missing:
        sys.exit(f"not installed: {', '.join(missing)}")


def wait_until_active(process: subprocess.Popen[bytes]) -> None:
    rclpy.init()
    node = rclpy.create_node("check_node")
    client = node.create_client(GetState, "/segmentation/get_state")
    deadline = time.monotonic() + START_S
    label = ""
    while label != "active":
        if process.poll() is not None:
            sys.exit(f"the node ended with {process.returncode} before it was active")
        if time.monotonic() > deadline:
            sys.exit(f"the node is not active after {START_S:.0f} s: {label or 'it does not answer'}")
        if client.wait_for_service(timeout_sec=0.5):
            answer = client.call_async(GetState.Request())
            rclpy.spin_until_future_complete(node, answer, timeout_sec=2.0)
            result = answer.result() if answer.done() else None
            label = result.current_state.label if result is not None else ""
    node.destroy_node()
    rclpy.shutdown()


if __name__ == "__main__":
    sys.exit(main())
