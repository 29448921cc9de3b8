"""Conventions of ROS 2: simulated time, QoS overrides, namespaces and names, parameters that describe themselves."""

from __future__ import annotations

from typing import Any

import pytest
from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticArray
from node_in_process import rig
from rcl_interfaces.srv import DescribeParameters
from rclpy.qos import ReliabilityPolicy
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import Image

from dcfm_ros.node.parameter_table import PARAMETERS


def test_diagnostics_follow_simulated_time(monkeypatch: pytest.MonkeyPatch, ros_environment: dict[str, str]) -> None:
    with rig(monkeypatch, ros_environment, {"use_sim_time": True}) as node:
        assert node.node.start()
        clock = node.robot.create_publisher(Clock, "/clock", 10)
        node.wait(clock.get_subscription_count, "the node to listen to the clock")
        seconds = iter(range(100, 100_000))

        told = node.listen(DiagnosticArray, "/diagnostics")

        def tick() -> list[Any]:
            clock.publish(Clock(clock=Time(sec=next(seconds) // 10)))
            return told

        def go_on() -> None:
            tick()
            node.send(node.picture(1))

        node.wait(tick, "diagnostics")
        assert 10 <= told[0].header.stamp.sec < 10_000
        _, _, values = node.status(
            lambda s: "input_age_s" in {pair.key for pair in s.values},
            meanwhile=go_on,
        )
        assert abs(float(values["input_age_s"])) < 10_000  # and not the years since 1970


def test_publishers_take_overridden_qos(monkeypatch: pytest.MonkeyPatch, ros_environment: dict[str, str]) -> None:
    parameters = {"qos_overrides./segmentation/mask.publisher.reliability": "best_effort"}
    with rig(monkeypatch, ros_environment, parameters) as node:
        for topic, expected in (("mask", ReliabilityPolicy.BEST_EFFORT), ("color", ReliabilityPolicy.RELIABLE)):
            name = f"/segmentation/{topic}"
            [info] = node.wait(lambda name=name: node.robot.get_publishers_info_by_topic(name))
            assert info.qos_profile.reliability == expected


def test_a_namespace_and_remappings_move_everything(
    monkeypatch: pytest.MonkeyPatch, ros_environment: dict[str, str]
) -> None:
    arguments = ("--ros-args", "-r", "__ns:=/robot", "-r", "image:=/robot/front/image_raw")
    with rig(monkeypatch, ros_environment, arguments=arguments) as node:
        assert node.node.start()
        masks = node.listen(Image, "/robot/segmentation/mask")
        node.answered(lambda: node.picture(1), [masks], "/robot/front/image_raw")
        node.status(lambda status: True, "robot/segmentation")


def test_parameters_describe_themselves(monkeypatch: pytest.MonkeyPatch, ros_environment: dict[str, str]) -> None:
    with rig(monkeypatch, ros_environment) as node:
        names = [parameter.name for parameter in PARAMETERS]
        answer = node.call(DescribeParameters, "/segmentation/describe_parameters", names=names)
        for parameter, descriptor in zip(PARAMETERS, answer.descriptors, strict=True):
            assert descriptor.description == parameter.description
            assert descriptor.read_only == parameter.read_only
            assert all(choice in descriptor.additional_constraints for choice in parameter.choices)
            if parameter.minimum is not None and not isinstance(parameter.default, list):
                [bounds] = list(descriptor.integer_range) + list(descriptor.floating_point_range)
                assert (bounds.from_value, bounds.to_value) == (parameter.minimum, parameter.maximum)
