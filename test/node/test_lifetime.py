"""How the node starts, fails to start and ends, most of it as a process of its own."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from node_in_process import pixels
from node_process import Camera, NodeProcess, own_domain, running

from dcfm_ros import __version__
from dcfm_ros.imaging.labels import CAMVID
from dcfm_ros.imaging.overlay import colorize
from dcfm_ros.node.segmentation_node import main
from dcfm_ros.processes import start


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_a_node_segments_until_a_signal_ends_it_without_a_trace(
    ros_environment: dict[str, str], tmp_path: Path, how: signal.Signals
) -> None:
    with running(ros_environment, tmp_path / "log", {"backend": "torch"}) as (node, camera):
        check_an_answer(camera)
        began = time.monotonic()
        assert node.stop(how) == 0, node.output
        assert time.monotonic() - began < 10
        assert "Traceback" not in node.output
        assert f"dcfm_ros {__version__}" in node.output


def check_an_answer(camera: Camera) -> None:
    """The mask has the image's size and header and only ids of classes; color and overlay show it."""
    image = camera.picture(61, 83)
    mask, _ = camera.ask(image)
    assert (mask.height, mask.width, mask.encoding, mask.step) == (61, 83, "mono8", 83)
    assert mask.header == image.header
    assert pixels(mask).max() < len(CAMVID)
    color, overlay = (
        camera.wait(lambda n=name: next((m for m in camera.received[n] if m.header == image.header), None))
        for name in ("color", "overlay")
    )
    expected = colorize(pixels(mask), CAMVID)
    np.testing.assert_array_equal(pixels(color), expected)
    blended = (expected.astype(int) + pixels(image)) / 2
    assert np.abs(pixels(overlay) - blended).max() <= 1


@pytest.mark.parametrize(
    ("parameter", "said"),
    [
        ("weights:=/nowhere/weights.safetensors", "/nowhere/weights.safetensors is not there"),
        ("keyframe_interval:=0", "keyframe_interval is 0; expected 1 to 1000"),
        ("mode:=sideways", "mode is 'sideways'; expected one of causal, full"),
        ("device:=cuda:7", "cuda:7"),
        ("input_size:=[61, 96]", "input_size is 61x96; expected positive multiples of 32, such as 64x96"),
        ("keyframe_interval:=often", "keyframe_interval"),
    ],
    ids=["weights", "range", "choice", "device", "size", "type"],
)
def test_what_cannot_be_configured_is_said_in_one_line(
    ros_environment: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    parameter: str,
    said: str,
) -> None:
    for name, value in ros_environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("ROS_DOMAIN_ID", str(own_domain()))
    assert main(["--ros-args", "-p", "backend:=torch", "-p", parameter]) == 1
    told = capfd.readouterr().err
    assert said in told
    assert "Traceback" not in told


@pytest.mark.parametrize(
    "parameters",
    [{"weights": "/nowhere/weights.safetensors"}, {"keyframe_interval": "0"}],
    ids=["configured", "created"],
)
def test_a_node_that_cannot_be_ends_its_process_without_a_crash(
    ros_environment: dict[str, str], tmp_path: Path, parameters: dict[str, str]
) -> None:
    node = NodeProcess(ros_environment | {"ROS_DOMAIN_ID": str(own_domain())}, parameters, tmp_path / "log")
    assert node.process.wait(60) == 1
    assert next(iter(parameters)) in node.output
    assert "Traceback" not in node.output


def test_ctrl_c_while_starting_leaves_no_traceback(ros_environment: dict[str, str], tmp_path: Path) -> None:
    node = NodeProcess(ros_environment | {"ROS_DOMAIN_ID": str(own_domain())}, {}, tmp_path / "log")
    time.sleep(0.2)
    node.process.send_signal(signal.SIGTERM)
    try:
        node.process.wait(30)
    except subprocess.TimeoutExpired:
        pytest.fail(node.output)
    assert "Traceback" not in node.output


_PREPARES_FOR_EVER = """
import sys, threading
from dcfm_ros.node import segmentation_node
from dcfm_ros.node.network import Network

cancelled = threading.Event()
Network.prepare = lambda network: print("preparing", flush=True) or cancelled.wait()
Network.cancel = lambda network: cancelled.set()
sys.exit(segmentation_node.main())
"""


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_the_engine_is_made_ready_ends_the_node_as_it_should(
    ros_environment: dict[str, str], tmp_path: Path, how: signal.Signals
) -> None:
    environment = ros_environment | {"ROS_DOMAIN_ID": str(own_domain())}
    with (tmp_path / "log").open("w") as log:
        node = start([sys.executable, "-c", _PREPARES_FOR_EVER], environment, stdout=log, stderr=subprocess.STDOUT)
    said = (tmp_path / "log").read_text
    try:
        while "preparing" not in said():
            assert node.poll() is None, said()
            time.sleep(0.05)
        node.send_signal(how)
        assert node.wait(30) == 0, said()
    finally:
        node.kill()
        node.wait()
    if how == signal.SIGTERM:  # SIGINT also interrupts Python itself
        assert "the node is shutting down while it is being configured" in said()
    assert "cannot be" not in said()
    assert "Traceback" not in said()
