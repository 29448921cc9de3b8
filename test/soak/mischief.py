"""What else goes on around the node: listeners, strangers, operators and a lifecycle manager."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from itertools import count
from typing import Any

import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from rcl_interfaces.srv import SetParameters
from rclpy.context import Context
from rclpy.parameter import Parameter
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import String
from std_srvs.srv import SetBool, Trigger

from dcfm_ros.processes import start
from soak.camera import RobotCamera
from soak.robot import Doing, Robot, quiet

TOPICS = {
    **dict.fromkeys(("mask", "confidence", "color", "overlay"), Image),
    **dict.fromkeys(("mask/compressed", "overlay/compressed"), CompressedImage),
    "camera_info": CameraInfo,
    "timing": DiagnosticArray,
    "labels": String,
}
"""What the node publishes for each camera, by type."""

_GOOD = {
    "keyframe_interval": (1, 5, 30),
    "schedule": ("fixed", "adaptive"),
    "schedule_min_interval": (1, 3),
    "min_confidence": (0.0, 0.5),
    "overlay_opacity": (0.0, 0.5, 1.0),
    "jpeg_quality": (10, 90),
    "max_latency_ms": (0.0, 50.0),
    "max_drop_ratio": (0.0, 0.1),
}
_GOOD_SIZES = ([0, 0], [32, 48], [200, 300])
_BAD = (
    ("keyframe_interval", 0),
    ("keyframe_interval", "often"),
    ("schedule", "sometimes"),
    ("min_confidence", float("nan")),
    ("overlay_opacity", 7.0),
    ("mode", "sideways"),
    ("cameras", ["rear"]),
    ("output_size", [1, 2, 3]),
    ("no_such_parameter", 1),
)
_ROUND_TRIP = (
    Transition.TRANSITION_DEACTIVATE,
    Transition.TRANSITION_ACTIVATE,
    Transition.TRANSITION_DEACTIVATE,
    Transition.TRANSITION_CLEANUP,
    Transition.TRANSITION_CONFIGURE,
    Transition.TRANSITION_ACTIVATE,
)


def listen(robot: Robot, camera: RobotCamera) -> Doing:
    """Subscribe to one topic after the other, reliably or not, and go away again."""
    rng = robot.random
    while True:
        topic = rng.choice(tuple(TOPICS))
        qos = QoSProfile(
            depth=rng.choice((1, 10)),
            reliability=rng.choice((ReliabilityPolicy.RELIABLE, ReliabilityPolicy.BEST_EFFORT)),
            # Which only the labels offer: of any other topic nothing comes, and rclpy says so in the node's log.
            durability=rng.choice((DurabilityPolicy.VOLATILE, DurabilityPolicy.TRANSIENT_LOCAL)),
        )
        name = f"/segmentation/{camera.name}/{topic}".replace("//", "/")
        subscription = robot.node.create_subscription(TOPICS[topic], name, lambda message: None, qos)
        yield rng.uniform(0.5, 5)
        robot.node.destroy_subscription(subscription)
        yield rng.uniform(0, 2)


def visit(robot: Robot, camera: RobotCamera) -> Doing:
    """Another participant of DDS: publishes the wrong type, subscribes, never takes what comes, and is gone again."""
    for number in count():
        context = Context()
        rclpy.init(context=context, domain_id=robot.domain)
        stranger = rclpy.create_node(f"stranger_{number}", context=context, enable_rosout=False)
        quiet(stranger)
        try:
            wrong = stranger.create_publisher(String, camera.topic, 1)
            for topic in ("mask", "overlay", "timing"):
                name = f"/segmentation/{camera.name}/{topic}".replace("//", "/")
                stranger.create_subscription(TOPICS[topic], name, lambda message: None, 10)
            for _ in range(20):
                wrong.publish(String(data="no image"))
                yield 0.2
        finally:
            stranger.destroy_node()
            rclpy.try_shutdown(context=context)
        yield robot.random.uniform(5, 20)


def read_slowly(robot: Robot, cameras: Sequence[RobotCamera], environment: dict[str, str]) -> Doing:
    """A process that subscribes to everything and takes its time; it is halted, goes on, and is killed."""
    rng = robot.random
    while True:
        names = [camera.name for camera in cameras]
        reader = start([sys.executable, "-m", "soak.reader", *names], environment)
        try:
            yield rng.uniform(5, 15)
            for _ in range(3):
                os.kill(reader.pid, signal.SIGSTOP)
                yield rng.uniform(1, 10)
                os.kill(reader.pid, signal.SIGCONT)
                yield rng.uniform(1, 10)
        finally:
            reader.kill()
            reader.wait()
        yield rng.uniform(0, 20)


def change_parameters(robot: Robot, cameras: Sequence[RobotCamera]) -> Doing:
    """Good values, which must be taken, and bad ones, which must be refused with a sentence."""
    rng = robot.random
    while True:
        value: Any
        is_bad = rng.random() < 0.3
        if is_bad:
            name, value = rng.choice(_BAD)
        elif rng.random() < 0.2:
            name = ".".join(filter(None, (rng.choice(cameras).name, "output_size")))
            value = rng.choice(_GOOD_SIZES)
        else:
            name = rng.choice(tuple(_GOOD))
            value = rng.choice(_GOOD[name])
        message = Parameter(name, value=value).to_parameter_msg()
        answer = yield robot.ask(SetParameters, "set_parameters", parameters=[message])
        if answer is not None:
            [result] = answer.results
            if result.successful == is_bad or (is_bad and not result.reason):
                robot.complain(f"{name} := {value!r} was answered by {result.successful}, {result.reason!r}")
        yield rng.uniform(0.2, 3)


def use_services(robot: Robot) -> Doing:
    """Force keyframes, and switch the node off and on."""
    rng = robot.random
    while True:
        for _ in range(5):
            yield robot.ask(Trigger, "force_keyframe")
            yield rng.uniform(0.2, 3)
        for is_on in (False, True):
            robot.out_of_service.add("disabled")
            answer = yield robot.ask(SetBool, "set_enabled", data=is_on)
            if answer is not None and not answer.success:
                robot.complain(f"set_enabled {is_on} failed: {answer.message}")
            yield rng.uniform(0.2, 2)
        robot.out_of_service.discard("disabled")


def manage(robot: Robot, pause_s: float) -> Doing:
    """Round trips through the lifecycle: deactivate and activate, clean up and configure."""
    rng = robot.random
    while True:
        yield rng.uniform(0.5, 1.5) * pause_s
        robot.out_of_service.add("in transition")
        for transition in _ROUND_TRIP:
            request = Transition(id=transition)
            answer = yield robot.ask(ChangeState, "change_state", transition=request)
            if answer is not None and not answer.success:
                robot.complain(f"the transition {transition} failed in round trip {robot.trips + 1}")
            yield rng.uniform(0, 0.2)
        robot.out_of_service.discard("in transition")
        robot.trips += 1
