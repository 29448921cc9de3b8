"""How the node starts, fails to start and ends."""

from __future__ import annotations

import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
from node_process import Camera, NodeProcess, running
from rclpy.qos import QoSProfile
from sensor_msgs.msg import CompressedImage

from dcfm_ros.model import create_model, save_weights


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_node_without_a_trace(
    ros_environment: dict[str, str], tmp_path: Path, how: signal.Signals
) -> None:
    with running(ros_environment, tmp_path / "log") as (node, camera):
        camera.ask(camera.picture())
        began = time.monotonic()
        assert node.stop(how) == 0, node.output
        assert time.monotonic() - began < 10
        assert "Traceback" not in node.output


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ({"weights": "/nowhere/weights.safetensors"}, "/nowhere/weights.safetensors is not there"),
        ({"keyframe_interval": "0"}, "keyframe_interval out of range. Min: 1, Max: 1000, value: 0"),
        ({"mode": "sideways"}, "mode is 'sideways'; expected one of causal, full"),
        ({"device": "cuda:7"}, "cuda:7"),
        ({"input_size": "[61, 96]"}, "(61, 96); expected positive multiples of 8"),
        ({"keyframe_interval": "often"}, "keyframe_interval"),
    ],
    ids=["weights", "range", "choice", "device", "size", "type"],
)
def test_what_cannot_be_configured_is_said_in_one_line(
    ros_environment: dict[str, str], tmp_path: Path, parameters: dict[str, str], said: str
) -> None:
    node = NodeProcess(ros_environment | {"ROS_DOMAIN_ID": "77"}, parameters, tmp_path / "log")
    assert node.process.wait(60) == 1
    assert said in node.output
    assert "Traceback" not in node.output


def test_weights_for_other_classes_bring_their_own_ids(ros_environment: dict[str, str], tmp_path: Path) -> None:
    save_weights(create_model("camvid_resnet18", num_classes=2), tmp_path / "two.safetensors")
    with running(ros_environment, tmp_path / "log", {"weights": str(tmp_path / "two.safetensors")}) as (_, camera):
        mask, timing = camera.ask(camera.picture())
        assert np.frombuffer(mask.data, np.uint8).max() < 2
        assert list(timing.shares) == ["class_0", "class_1"]


def test_a_topic_of_the_wrong_type_is_told(ros_environment: dict[str, str], tmp_path: Path) -> None:
    with running(ros_environment, tmp_path / "log") as (_, camera):
        topic = camera.node.resolve_topic_name("image")
        camera.node.destroy_publisher(camera._publisher)
        camera.node.create_publisher(CompressedImage, topic, QoSProfile(depth=1))
        status = camera.status(lambda s: "CompressedImage" in s.message)
        assert "expected sensor_msgs/msg/Image" in status["message"]


def test_frames_that_come_too_fast_are_dropped_and_the_newest_is_answered(
    ros_environment: dict[str, str], tmp_path: Path
) -> None:
    with running(ros_environment, tmp_path / "log", {"mode": "full", "input_size": "[360, 480]"}) as (_, camera):
        before = camera.counts()
        last = send_burst(camera, 60)
        camera.wait(lambda: camera.received["mask"] and camera.received["mask"][-1].header == last.header)
        counts = {name: value - before[name] for name, value in camera.counts().items()}
        assert counts["dropped"] > 0
        assert counts["processed"] + counts["dropped"] == counts["received"]


def send_burst(camera: Camera, count: int):
    """Images at 100 Hz, well above what the network does in full on any machine that runs the tests."""
    for index in range(count):
        last = camera.picture(seed=index)
        camera.send(last)
        camera.spin(0.01)
    return last


def test_ctrl_c_while_starting_leaves_no_traceback(ros_environment: dict[str, str], tmp_path: Path) -> None:
    node = NodeProcess(ros_environment | {"ROS_DOMAIN_ID": "78"}, {}, tmp_path / "log")
    time.sleep(0.2)
    node.process.send_signal(signal.SIGTERM)
    try:
        node.process.wait(30)
    except subprocess.TimeoutExpired:
        pytest.fail(node.output)
    assert "Traceback" not in node.output
