"""config/nav2_semantic_layer.yaml: what Nav2's semantic_segmentation_layer checks of a mask holds for the node's."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from fake_backend import FakeBackend
from node_in_process import Rig, rig
from sensor_msgs.msg import Image
from std_msgs.msg import String

from dcfm_ros.imaging.labels import CAMVID
from dcfm_ros.node.parameter_table import PARAMETERS

FILE = Path(__file__).parents[2] / "config" / "nav2_semantic_layer.yaml"
GIVEN = yaml.safe_load(FILE.read_text())
OURS = GIVEN["segmentation"]["ros__parameters"]
SOURCE = GIVEN["local_costmap"]["local_costmap"]["ros__parameters"]["semantic_layer"]["front"]
CLOUD = OURS["output_size"]


def test_the_node_takes_the_parameters_of_the_file() -> None:
    rows = {parameter.name: parameter for parameter in PARAMETERS}
    for name, value in OURS.items():
        assert type(value) is type(rows[name].default)
        assert not rows[name].problem_with(value)


def test_the_layer_is_told_each_class_once_and_by_a_name_that_the_weights_have() -> None:
    named = [name for kind in SOURCE["class_types"] for name in SOURCE[kind]["classes"]]
    assert len(named) == len(set(named))
    assert set(named) <= set(CAMVID.names)


def test_a_mask_passes_the_checks_of_the_layer(
    monkeypatch: pytest.MonkeyPatch, ros_environment: dict[str, str]
) -> None:
    with rig(monkeypatch, ros_environment, OURS, FakeBackend) as node:
        assert node.node.start()
        masks = node.listen(Image, SOURCE["segmentation_topic"])
        confidences = node.listen(Image, SOURCE["confidence_topic"])
        stamp = 1_700_000_000_250_000_000
        mask, confidence = _pair(node, masks, confidences, stamp)
        late = node.listen(String, "/segmentation/labels", is_latched=True)  # who comes late is told all the same
        node.wait(lambda: late, "labels")
    assert _stamp_ns(mask) == _stamp_ns(confidence) == stamp
    for image in (mask, confidence):
        assert image.encoding == "mono8"
        assert image.step == image.width
        assert [image.height, image.width] == CLOUD
        assert len(image.data) == CLOUD[0] * CLOUD[1]
    names = {entry["id"]: entry["name"] for entry in json.loads(late[0].data)}
    assert {*mask.data} <= {*names, 255}
    told = {name for kind in SOURCE["class_types"] for name in SOURCE[kind]["classes"]}
    assert told <= {*names.values()}


def _pair(node: Rig, masks: list[Any], confidences: list[Any], stamp: int) -> tuple[Any, Any]:
    node.send(node.picture(3, (48, 64), stamp=stamp))
    node.wait(lambda: masks and confidences, "a mask and its confidence")
    return masks[0], confidences[0]


def _stamp_ns(image: Image) -> int:
    return image.header.stamp.sec * 10**9 + image.header.stamp.nanosec
