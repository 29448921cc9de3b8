"""The Foxglove layout that ships: its panels are all placed, and show what the node publishes, by the right names."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from diagnostic_msgs.msg import DiagnosticArray
from fake_backend import FakeBackend
from node_in_process import rig

FILE = Path(__file__).parents[2] / "config" / "foxglove_layout.json"
LAYOUT = json.loads(FILE.read_text())
PANELS: dict[str, Any] = LAYOUT["configById"]


def placed(node: Any) -> Iterator[str]:
    if isinstance(node, str):
        yield node
    else:
        for side in ("first", "second"):
            yield from placed(node[side])


def paths() -> list[str]:
    """Paths into messages, as Foxglove writes them: /topic.field[:]{key=="name"}.value."""
    return [path["value"] for panel in PANELS.values() for path in panel.get("paths", [])]


def topics() -> dict[str, str]:
    """The topics that panels show, and the type that each kind of panel can show."""
    images = [panel["imageMode"]["imageTopic"] for panel in PANELS.values() if "imageMode" in panel]
    raw = [
        panel["topicPath"].removesuffix(".data") for name, panel in PANELS.items() if name.startswith("RawMessages!")
    ]
    diagnostics = [panel["topicToRender"] for panel in PANELS.values() if "topicToRender" in panel]
    kinds = {
        "sensor_msgs/msg/Image": images,
        "std_msgs/msg/String": raw,
        "diagnostic_msgs/msg/DiagnosticArray": [*diagnostics, *(path.partition(".")[0] for path in paths())],
    }
    return {topic: kind for kind, names in kinds.items() for topic in names}


def test_every_panel_has_one_place() -> None:
    assert sorted(placed(LAYOUT["layout"])) == sorted(PANELS)


def test_panels_show_topics_and_values_that_the_node_publishes(
    monkeypatch: pytest.MonkeyPatch, ros_environment: dict[str, str]
) -> None:
    with rig(monkeypatch, ros_environment, None, FakeBackend) as made:
        assert made.node.start()
        offered = dict(made.node.get_topic_names_and_types())
        for topic, kind in topics().items():
            assert offered.get(topic) == [kind]
        timings = made.listen(DiagnosticArray, "/segmentation/timing")
        made.send(made.picture(1))
        timing = made.wait(lambda: timings, "timing")[0]
    values = {pair.key: pair.value for pair in timing.status[0].values}
    asked = [re.fullmatch(r'/segmentation/timing\.status\[0\]\.values\[:\]\{key=="(\w+)"\}\.value', p) for p in paths()]
    assert all(asked)
    keys = [match[1] for match in asked if match]
    assert {*keys} <= {*values}
    for key in keys:
        if key not in ("is_keyframe", "reason"):
            float(values[key])
