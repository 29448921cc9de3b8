"""The RViz file that ships: what it shows is what the node publishes, asked for as it is offered."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from node_in_process import rig
from rclpy.qos import (
    DurabilityPolicy,
    HistoryPolicy,
    QoSCompatibility,
    QoSProfile,
    ReliabilityPolicy,
    qos_check_compatible,
    qos_profile_sensor_data,
)

FILE = Path(__file__).parents[2] / "config" / "segmentation.rviz"


def displays() -> dict[str, Any]:
    shown = yaml.safe_load(FILE.read_text())["Visualization Manager"]["Displays"]
    assert all(display["Class"] == "rviz_default_plugins/Image" for display in shown)
    return {display["Name"]: display["Topic"] for display in shown}


def qos(topic: dict[str, Any]) -> QoSProfile:
    """RViz's words for policies are ROS 2's, with capitals and spaces."""
    words = {policy: topic[f"{policy} Policy"].lower().replace(" ", "_") for policy in ("History", "Reliability")}
    return QoSProfile(
        history=HistoryPolicy.get_from_short_key(words["History"]),
        reliability=ReliabilityPolicy.get_from_short_key(words["Reliability"]),
        durability=DurabilityPolicy.get_from_short_key(topic["Durability Policy"].lower()),
        depth=topic["Depth"],
    )


def fits(offered: QoSProfile, wanted: QoSProfile) -> bool:
    """Policies that neither names are a warning at most."""
    return qos_check_compatible(offered, wanted)[0] != QoSCompatibility.ERROR


@pytest.mark.parametrize("name, topic", [("Overlay", "/segmentation/overlay"), ("Classes", "/segmentation/color")])
def test_what_the_node_publishes(
    monkeypatch: pytest.MonkeyPatch, ros_environment: dict[str, str], name: str, topic: str
) -> None:
    shown = displays()[name]
    assert shown["Value"] == topic
    with rig(monkeypatch, ros_environment) as made:
        (offered,) = made.node.get_publishers_info_by_topic(topic)
    assert offered.topic_type == "sensor_msgs/msg/Image"
    assert fits(offered.qos_profile, qos(shown))
    assert qos(shown).reliability == ReliabilityPolicy.RELIABLE  # best effort would lose large images


def test_the_camera_is_shown_as_cameras_publish() -> None:
    shown = displays()["Camera"]
    assert fits(qos_profile_sensor_data, qos(shown))
    assert not fits(qos_profile_sensor_data, QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE))
