"""A running node for the tests."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from node_process import Camera, NodeProcess, running


@pytest.fixture(scope="session")
def ros_environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Variables that keep a test's processes to themselves."""
    return dict(
        os.environ,
        FASTRTPS_DEFAULT_PROFILES_FILE=str(Path(__file__).with_name("fastdds_local.xml")),
        FASTDDS_DEFAULT_PROFILES_FILE=str(Path(__file__).with_name("fastdds_local.xml")),
        ROS_LOG_DIR=str(tmp_path_factory.mktemp("ros_log")),
        PYTHONUNBUFFERED="1",
    )


@pytest.fixture(scope="module")
def node_and_camera(
    ros_environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[NodeProcess, Camera]]:
    """One running node for a file of tests."""
    with running(ros_environment, tmp_path_factory.mktemp("node") / "log") as pair:
        yield pair


@pytest.fixture
def camera(node_and_camera: tuple[NodeProcess, Camera]) -> Iterator[Camera]:
    """The camera, and after the test a check that the node lives and its counts add up."""
    node, camera = node_and_camera
    yield camera
    assert node.process.poll() is None, node.output
    camera.counts()
