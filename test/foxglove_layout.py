"""What the panels of the Foxglove layout that ships show: topics, their types, and values of the timing."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

LAYOUT = json.loads((Path(__file__).parents[1] / "config" / "foxglove_layout.json").read_text())
PANELS: dict[str, Any] = LAYOUT["configById"]


def topics() -> dict[str, str]:
    """The topics that panels show, and the type that each kind of panel can show."""
    images = [panel["imageMode"]["imageTopic"] for panel in PANELS.values() if "imageMode" in panel]
    raw = [
        panel["topicPath"].removesuffix(".data") for name, panel in PANELS.items() if name.startswith("RawMessages!")
    ]
    diagnostics = [panel["topicToRender"] for panel in PANELS.values() if "topicToRender" in panel]
    kinds = {
        "sensor_msgs/msg/Image": [topic for topic in images if not topic.endswith("/compressed")],
        "sensor_msgs/msg/CompressedImage": [topic for topic in images if topic.endswith("/compressed")],
        "std_msgs/msg/String": raw,
        "diagnostic_msgs/msg/DiagnosticArray": [*diagnostics, *(path.partition(".")[0] for path in _paths())],
    }
    return {topic: kind for kind, names in kinds.items() for topic in names}


def timing_keys() -> list[str]:
    """The keys of the timing's values that are drawn, out of paths as /topic.status[0].values[:]{key=="name"}.value."""
    asked = [
        re.fullmatch(r'/segmentation/timing\.status\[0\]\.values\[:\]\{key=="(\w+)"\}\.value', p) for p in _paths()
    ]
    assert asked and all(asked)
    return [match[1] for match in asked if match]


def check_timing(values: dict[str, str]) -> None:
    """Whether a message has all that is drawn, as numbers where lines are drawn."""
    assert {*timing_keys()} <= {*values}
    for key in timing_keys():
        if key not in ("is_keyframe", "reason"):
            float(values[key])


def _paths() -> list[str]:
    return [path["value"] for panel in PANELS.values() for path in panel.get("paths", [])]
