"""A node in the test's own process, on a backend that tells what it was asked, and a robot that talks to it."""

from __future__ import annotations

import gc
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import astuple
from typing import Any

import numpy as np
import pytest
import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from fake_backend import FakeBackend
from node_process import own_domain
from rcl_interfaces.srv import SetParameters
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.parameter import Parameter
from rclpy.qos import DurabilityPolicy, QoSProfile
from sensor_msgs.msg import Image

from dcfm_ros.imaging.frame import stamp_ns
from dcfm_ros.node.messages import image_message
from dcfm_ros.node.segmentation_node import SegmentationNode

PARAMETERS = {"input_size": [64, 96], "align": "none"}

_RESEND_S = 0.2


class Rig:
    """`node` is the node; the rest is a robot around it, all on one executor that turns while somebody waits."""

    def __init__(self, context: Context, parameters: dict[str, Any], arguments: list[str]) -> None:
        overrides = [Parameter(name, value=value) for name, value in (PARAMETERS | parameters).items()]
        self.node = SegmentationNode(context=context, parameter_overrides=overrides, cli_args=arguments)
        self.robot = rclpy.create_node("robot", context=context)
        self._executor = SingleThreadedExecutor(context=context)
        for node in (self.node, self.robot):
            self._executor.add_node(node)
        self._publishers: dict[str, Any] = {}
        self._stamp_ns = 1_000_000_000
        self._diagnostics = self.listen(DiagnosticArray, "/diagnostics")

    def wait(self, condition: Callable[..., Any], what: str = "", timeout_s: float = 20) -> Any:
        """What the condition came to; the test fails when it never holds."""
        deadline = time.monotonic() + timeout_s
        while not (value := condition()):
            assert time.monotonic() < deadline, f"waited {timeout_s} s for {what or condition}"
            self._executor.spin_once(timeout_sec=0.02)
        return value

    def turn(self) -> None:
        """Let what has come be handled."""
        self._executor.spin_once(timeout_sec=0.05)

    def listen(self, kind: type, topic: str, is_latched: bool = False) -> list[Any]:
        """What comes on a topic, from when the publisher has noticed on."""
        received: list[Any] = []
        durability = DurabilityPolicy.TRANSIENT_LOCAL if is_latched else DurabilityPolicy.VOLATILE
        self.robot.create_subscription(kind, topic, received.append, QoSProfile(depth=50, durability=durability))
        self.wait(lambda: self.robot.count_publishers(topic), f"a publisher of {topic}")
        return received

    def picture(self, value: int, size: tuple[int, int] = (6, 8), stamp: int | None = None) -> Image:
        """An image of one grey: the fake backend's mask of it has that id. stamp: in ns, or 0.1 s after the last."""
        self._stamp_ns = self._stamp_ns + 100_000_000 if stamp is None else stamp
        message = image_message(Image().header, np.full((*size, 3), value, np.uint8), "rgb")
        message.header.frame_id = "camera"
        message.header.stamp.sec, message.header.stamp.nanosec = divmod(self._stamp_ns, 1_000_000_000)
        return message

    def advertise(self, kind: type, topic: str = "/image", qos: QoSProfile | int = 10) -> Any:
        """The publisher of a topic. One that is there before the node is active is matched once and for all."""
        if topic not in self._publishers:
            self._publishers[topic] = self.robot.create_publisher(kind, topic, qos)
            self.wait(lambda: self.node.count_publishers(topic), f"the node to notice {topic}")
        return self._publishers[topic]

    def send(self, message: Any, topic: str = "/image", qos: QoSProfile | int = 10) -> None:
        """Publish once the node listens."""
        publisher = self.advertise(type(message), topic, qos)
        self.wait(publisher.get_subscription_count, f"the node to listen to {topic}")
        publisher.publish(message)

    def answered(
        self, make: Callable[[], Any], topics: Sequence[list[Any]], topic: str = "/image"
    ) -> tuple[Any, list[Any]]:
        """An image that was answered on each of the topics, and the answers: others are sent until everybody listens.

        make: gives an image with a stamp of its own.
        """
        sent: dict[int, Any] = {}
        is_due_at = 0.0

        def answers() -> tuple[Any, list[Any]] | None:
            nonlocal is_due_at
            found = [{stamp_ns(message.header): message for message in list(got)} for got in topics]
            for stamp in sent.keys() & set.intersection(*map(set, found)):
                return sent[stamp], [messages[stamp] for messages in found]
            if time.monotonic() > is_due_at:
                image = make()
                sent[stamp_ns(image.header)] = image
                self.send(image, topic)
                is_due_at = time.monotonic() + _RESEND_S
            return None

        return self.wait(answers, "an answer on every topic")

    def set_parameter(self, name: str, value: Any) -> Any:
        """The service's answer: `successful` and `reason`."""
        parameter = Parameter(name, value=value).to_parameter_msg()
        return self.call(SetParameters, "/segmentation/set_parameters", parameters=[parameter]).results[0]

    def call(self, kind: Any, service: str, **fields: Any) -> Any:
        """A service's answer."""
        client = self.robot.create_client(kind, service)
        self.wait(client.service_is_ready, service)
        future = client.call_async(kind.Request(**fields))
        return self.wait(lambda: future.done() and future.result(), f"the answer of {service}")

    def status(
        self, wanted: Callable[[Any], bool], name: str = "segmentation", meanwhile: Callable[[], Any] = lambda: None
    ) -> Any:
        """Level, message and values of the first diagnostics from now on that are as wanted. meanwhile: done again
        and again.

        The node is made to tell them at every turn: by itself it does so once a second.
        """
        self._diagnostics.clear()

        def found() -> Any:
            meanwhile()
            self.node._publish_diagnostics()
            ours = [s for message in self._diagnostics for s in message.status if s.name == name]
            return next((status for status in ours if wanted(status)), None)

        status = self.wait(found, f"diagnostics of {name}")
        status_values = {pair.key: pair.value for pair in status.values}
        return status.level, status.message, status_values

    def counts(self, camera: str = "") -> Any:
        return self.node._pipeline.counts[camera]

    def check_counts(self) -> None:
        """Hold the equation of the counts."""
        for name, counts in self.node._pipeline.counts.items():
            received, *rest = astuple(counts)
            assert received == sum(rest), f"{name}: {counts}"
            assert counts.pending <= 2, f"{name}: {counts}"

    @property
    def state(self) -> str:
        return self.node.lifecycle_state


@contextmanager
def rig(
    monkeypatch: pytest.MonkeyPatch,
    environment: dict[str, str],
    parameters: dict[str, Any] | None = None,
    backends: Callable[[], Any] | None = FakeBackend,
    arguments: tuple[str, ...] = (),
) -> Iterator[Rig]:
    """A node that is not yet configured; after the test, its counts must add up.

    backends: makes what the node gets in place of a real backend; None: it gets the real one.
    """
    for name in environment:
        if "PROFILES_FILE" in name:
            os.environ[name] = environment[name]
    if backends is not None:
        monkeypatch.setattr("dcfm_ros.node.network.create_backend", lambda *settings: backends())
    context = Context()
    rclpy.init(context=context, domain_id=own_domain())
    made = None
    gc.freeze()  # the node collects garbage when it lets go of a device: only its own, or that alone would take seconds
    try:
        made = Rig(context, parameters or {}, list(arguments))
        yield made
        made.check_counts()
    finally:
        if made is not None:
            made._executor.shutdown()
            made.robot.destroy_node()
            made.node.destroy_node()
            vars(made).clear()
        rclpy.try_shutdown(context=context)
        context.destroy()
        gc.collect()  # DDS lets go of its threads and of 64 MB of shared memory when the node's last cycle is gone
        gc.unfreeze()


def pixels(message: Image) -> np.ndarray:
    """(H, W) or (H, W, 3) of an image without padding."""
    assert message.step == message.width * (3 if message.encoding == "rgb8" else 1)
    return np.frombuffer(message.data, np.uint8).reshape(message.height, message.width, -1).squeeze()
