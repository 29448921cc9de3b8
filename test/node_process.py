"""A node in a process of its own, and a camera in the test's process, over real DDS."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from rcl_interfaces.msg import Parameter as ParameterMessage
from rcl_interfaces.srv import SetParameters
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.parameter import Parameter
from rclpy.qos import QoSProfile
from sensor_msgs.msg import Image

from dcfm_ros.imaging.frame import stamp_ns
from dcfm_ros.node.messages import image_message
from dcfm_ros.processes import start
from dcfm_ros.streaming.timing import Timing, read_timing

SMALL = {"input_size": "[64, 96]"}
"""A network input that takes milliseconds."""


class NodeProcess:
    """`segmentation_node` as a user starts it."""

    def __init__(self, environment: dict[str, str], parameters: dict[str, str], log: Path) -> None:
        settings = [part for name, value in parameters.items() for part in ("-p", f"{name}:={value}")]
        self._log = log
        with log.open("w") as file:
            self.process = start(
                [sys.executable, "-m", "dcfm_ros.node.segmentation_node", "--ros-args", *settings],
                environment,
                stdout=file,
                stderr=subprocess.STDOUT,
            )

    @property
    def output(self) -> str:
        return self._log.read_text()

    def stop(self, how: signal.Signals = signal.SIGINT, timeout_s: float = 20) -> int:
        self.process.send_signal(how)
        return self.process.wait(timeout_s)


class Camera:
    """Publishes images to the node and collects what it says."""

    def __init__(self, context: Context) -> None:
        self._node = rclpy.create_node("camera", context=context)
        self._executor = SingleThreadedExecutor(context=context)
        self._executor.add_node(self._node)
        self._publisher = self._node.create_publisher(Image, "image", QoSProfile(depth=10))
        self.received: dict[str, list[Any]] = {"mask": [], "color": [], "overlay": [], "timing": [], "diagnostics": []}
        for name in ("mask", "color", "overlay"):
            self._listen(Image, f"/segmentation/{name}", name)
        self._listen(DiagnosticArray, "/segmentation/timing", "timing")
        self._listen(DiagnosticArray, "/diagnostics", "diagnostics")
        self._stamp = 1_000_000_000

    @property
    def node(self) -> Any:
        return self._node

    def wait(self, condition: Callable[..., Any], timeout_s: float = 30, what: str = "") -> Any:
        """Spin until the condition holds; fail the test when it never does."""
        deadline = time.monotonic() + timeout_s
        while not (value := condition()):
            assert time.monotonic() < deadline, f"waited {timeout_s} s for {what or condition}"
            self._executor.spin_once(timeout_sec=0.05)
        return value

    def spin(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self._executor.spin_once(timeout_sec=0.02)

    def wait_for_node(self) -> None:
        topics = ("mask", "color", "overlay", "timing")
        self.wait(
            lambda: (
                self._publisher.get_subscription_count() > 0
                and all(self._node.count_publishers(f"/segmentation/{topic}") for topic in topics)
            ),
            60,
            "the node",
        )
        # Graph and data channels match one after the other: be sure that masks really arrive.
        self.wait(lambda: self._answered_probe(), 60, "the first mask")
        self.spin(0.3)
        for messages in self.received.values():
            messages.clear()

    def picture(self, height: int = 60, width: int = 80, stamp: int | None = None, seed: int = 0) -> Image:
        """A random rgb8 image; without a stamp, 0.1 s after the last one."""
        self._stamp = self._stamp + 100_000_000 if stamp is None else stamp
        pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
        message = image_message(Image().header, pixels, "rgb")
        message.header.frame_id = "front_camera"
        message.header.stamp.sec, message.header.stamp.nanosec = divmod(self._stamp, 1_000_000_000)
        return message

    def send(self, message: Image) -> None:
        self._publisher.publish(message)

    def ask(self, message: Image) -> tuple[Image, Timing]:
        """Send an image and wait for its mask and its timing."""
        before = {name: len(self.received[name]) for name in ("mask", "timing")}
        self.send(message)

        def answer() -> list[Any]:
            """On a busy machine what answers an earlier image may still come."""
            stamp = stamp_ns(message.header)
            new = ((m for m in self.received[name][count:]) for name, count in before.items())
            return [next((m for m in messages if stamp_ns(m.header) == stamp), None) for messages in new]

        mask, timing = self.wait(lambda: all(found := answer()) and found, what="mask and timing")
        return mask, read_timing(timing)

    def counts(self) -> dict[str, int]:
        """The node's counts from a diagnostics message made after this call; the equation is checked."""
        values = self.status(lambda status: True, after=1)
        names = ("received", "processed", "dropped", "rejected", "failed", "skipped", "pending")
        counts = {name: int(values[name]) for name in names}
        assert counts["received"] == sum(counts[name] for name in names[1:]), counts
        assert counts["pending"] <= 2
        return counts

    def status(self, wanted: Callable[[Any], bool], after: int = 0) -> dict[str, str]:
        """The next diagnostics of the node that are as wanted, as a mapping that also has `level` and `message`.

        after: how many to pass over; the first to arrive may have been made before this call.
        """
        self.received["diagnostics"].clear()

        def find() -> Any:
            ours = [s for m in self.received["diagnostics"] for s in m.status if s.name == "segmentation"]
            return next((status for status in ours[after:] if wanted(status)), None)

        status = self.wait(find, 10, "diagnostics")
        values = {pair.key: pair.value for pair in status.values}
        return values | {"level": str(status.level[0]), "message": status.message}

    def set_parameter(self, name: str, value: Any) -> Any:
        """Ask the node to change a parameter; its answer."""
        client = self._node.create_client(SetParameters, "/segmentation/set_parameters")
        self.wait(client.service_is_ready, what="the parameter service")
        message: ParameterMessage = Parameter(name, value=value).to_parameter_msg()
        future = client.call_async(SetParameters.Request(parameters=[message]))
        self.wait(future.done, what="the answer to a parameter")
        self._node.destroy_client(client)
        return future.result().results[0]

    def close(self) -> None:
        self._executor.shutdown()
        self._node.destroy_node()

    def _listen(self, kind: type, topic: str, name: str) -> None:
        self._node.create_subscription(kind, topic, self.received[name].append, QoSProfile(depth=100))

    def _answered_probe(self) -> bool:
        self.send(self.picture())
        self.spin(0.5)
        return all(self.received[name] for name in ("mask", "color", "overlay", "timing"))


def own_domain() -> int:
    """A DDS domain for one test; each worker of pytest-xdist has some to itself."""
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    return random.choice(range(1 + worker, 102, workers))


@contextmanager
def running(
    environment: dict[str, str], log: Path, parameters: dict[str, str] | None = None
) -> Iterator[tuple[NodeProcess, Camera]]:
    """A node and a camera in a DDS domain of their own."""
    domain = own_domain()
    os.environ.update({key: environment[key] for key in environment if "PROFILES_FILE" in key})
    node = NodeProcess(environment | {"ROS_DOMAIN_ID": str(domain)}, SMALL | (parameters or {}), log)
    context = Context()
    rclpy.init(context=context, domain_id=domain)
    camera = Camera(context)
    try:
        camera.wait_for_node()
        yield node, camera
    finally:
        camera.close()
        rclpy.try_shutdown(context=context)
        if node.process.poll() is None:
            node.process.kill()
            node.process.wait()
