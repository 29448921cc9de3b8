"""What tests with ROS share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


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
