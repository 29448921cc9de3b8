"""The Foxglove layout that ships: its panels are all placed, and show what the node publishes, by the right names."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from diagnostic_msgs.msg import DiagnosticArray
from fake_backend import FakeBackend
from foxglove_layout import LAYOUT, PANELS, check_timing, topics
from node_in_process import rig


def placed(node: Any) -> Iterator[str]:
    if isinstance(node, str):
        yield node
    else:
        for side in ("first", "second"):
            yield from placed(node[side])


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
        _, (timing,) = made.answered(lambda: made.picture(1), [timings])
    check_timing({pair.key: pair.value for pair in timing.status[0].values})
