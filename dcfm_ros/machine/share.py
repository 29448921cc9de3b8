"""Where the files are that ROS looks for under share/dcfm_ros."""

from __future__ import annotations

import os
import sysconfig
from pathlib import Path


def share_file(folder: str, name: str) -> Path | None:
    """Return the checkout's file, or else the one that colcon or pip installed; None where there is none."""
    checkout = Path(__file__).parents[2]
    prefixes = [*filter(None, os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep)), sysconfig.get_path("data")]
    for root in (checkout, *(Path(prefix) / "share" / "dcfm_ros" for prefix in prefixes)):
        if (path := root / folder / name).is_file():
            return path
    return None
