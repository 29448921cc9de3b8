"""What is played of a recording, through the node: its masks are those of `dcfm segment`, to the last pixel."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from click.testing import CliRunner
from fleet_bags import masks
from node_in_process import Rig, pixels, rig
from recording_inputs import COUNT, FOLDERS, RECORDINGS
from report_inputs import SIZE, with_small_network
from sensor_msgs.msg import Image

from dcfm_ros.cli.segment import command
from dcfm_ros.node.playback import played_images
from dcfm_ros.recordings import open_recording

INPUTS: dict[str, Callable[[Path], Path]] = RECORDINGS | {f"folder {name}": make for name, make in FOLDERS.items()}


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    return [*with_small_network(tmp_path_factory.mktemp("weights")), "--device", "cpu", "--num-threads", "1"]


@pytest.fixture(scope="module")
def node(ros_environment: dict[str, str], network: list[str]) -> Iterator[tuple[Rig, list[Any]]]:
    """One for all recordings, and the masks that come of it."""
    parameters = {"backend": "torch", "weights": network[3], "device": "cpu", "num_threads": 1, "align": "flow"}
    with (
        pytest.MonkeyPatch.context() as monkeypatch,
        rig(monkeypatch, ros_environment, parameters | {"input_size": list(SIZE)}, backends=None) as made,
    ):
        made.advertise(Image)
        assert made.node.start()
        received = made.listen(Image, "/segmentation/mask")
        made.answered(lambda: made.picture(1), [received])
        yield made, received


@pytest.mark.parametrize("name", INPUTS)
def test_the_node_sees_in_a_recording_what_segment_sees(
    node: tuple[Rig, list[Any]], network: list[str], tmp_path: Path, name: str
) -> None:
    robot, received = node
    path = INPUTS[name](tmp_path / name.removeprefix("folder "))
    done = CliRunner().invoke(command, [str(path), "--output", str(tmp_path / "out"), "--save", "masks", *network])
    assert done.exit_code == 0, done.output
    expected = [cv2.imdecode(np.frombuffer(mask, np.uint8), 0) for mask in masks(tmp_path / "out").values()]
    received.clear()
    # A new stream: a keyframe is first.
    configured = robot.node._configured
    assert configured is not None
    configured.network.restart("another recording")
    with open_recording(path, damaged="skip") as recording:
        for number, played in enumerate(played_images(recording)):
            robot.send(played.image)
            robot.wait(lambda number=number: len(received) > number, "the mask")
    assert len(received) == len(expected) == COUNT
    for message, mask in zip(received, expected, strict=True):
        np.testing.assert_array_equal(pixels(message), mask)
