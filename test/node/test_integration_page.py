"""docs/integration.md: the parameters in its files are the node's, with values that it takes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from dcfm_ros.imaging.class_map import ClassMap
from dcfm_ros.imaging.labels import CAMVID
from dcfm_ros.node.parameter_table import PARAMETERS

PAGE = Path(__file__).parents[2] / "docs" / "integration.md"
BLOCKS = [yaml.safe_load(text) for text in re.findall(r"```yaml\n(.*?)```", PAGE.read_text(), re.DOTALL)]
OURS = [block["/**"]["ros__parameters"] for block in BLOCKS if "/**" in block]
ROWS = {parameter.name: parameter for parameter in PARAMETERS}


def values(given: dict[str, Any], camera: str = "") -> Iterator[tuple[str, str, Any]]:
    """Camera, parameter and value of all that is given, overrides of QoS aside."""
    for name, value in given.items():
        if isinstance(value, dict) and name != "qos_overrides":
            yield from values(value, name)
        elif name != "qos_overrides":
            yield camera, name, value


def test_the_page_has_files_for_the_node() -> None:
    assert len(OURS) >= 5


@pytest.mark.parametrize("camera, name, value", [row for given in OURS for row in values(given)])
def test_the_node_has_what_the_page_sets(camera: str, name: str, value: Any) -> None:
    parameter = ROWS[name]
    assert not camera or parameter.per_camera
    assert type(value) is type(parameter.default)
    assert not parameter.problem_with(value)


def test_autoware_is_told_to_remove_the_first_class() -> None:
    (given,) = [given for given in OURS if "run_length_mask" in given]
    assert CAMVID.names[9] == "pedestrian"  # where Autoware has its road
    assert ClassMap.parse(given["class_map"], CAMVID).labels.names[0] == "background"
