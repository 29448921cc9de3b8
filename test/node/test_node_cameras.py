"""Several cameras in one node."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticArray
from fake_backend import FakeBackend
from node_in_process import Rig, pixels, rig
from sensor_msgs.msg import Image
from std_msgs.msg import String

from dcfm_ros.streaming.timing import read_timing

CAMERAS = {"cameras": ["front", "left"], "output_size": [3, 4], "left.output_size": [12, 16]}


@pytest.fixture
def two(monkeypatch: pytest.MonkeyPatch, ros_environment: dict[str, str]) -> Iterator[Rig]:
    with rig(monkeypatch, ros_environment, CAMERAS) as made:
        assert made.node.start()
        yield made


def test_each_camera_has_topics_settings_and_counts_of_its_own(two: Rig) -> None:
    masks = {name: two.listen(Image, f"/segmentation/{name}/mask") for name in ("front", "left")}
    timings = two.listen(DiagnosticArray, "/segmentation/left/timing")
    labels = two.listen(String, "/segmentation/left/labels", is_latched=True)
    _, [front] = two.answered(lambda: two.picture(1), [masks["front"]], "/front/image")
    _, [left, timing] = two.answered(lambda: two.picture(2), [masks["left"], timings], "/left/image")
    np.testing.assert_array_equal(pixels(front), np.full((3, 4), 1))
    np.testing.assert_array_equal(pixels(left), np.full((12, 16), 2))
    assert read_timing(timing).reason == "first"
    assert len(json.loads(two.wait(lambda: labels)[0].data)) == 11
    for name in ("front", "left"):
        _, _, values = two.status(lambda s: True, f"segmentation: {name}")
        assert int(values["received"]) == two.counts(name).received
    _, _, values = two.status(lambda s: True)
    assert int(values["received"]) == sum(two.counts(name).received for name in ("front", "left"))


def test_cameras_whose_topics_are_exchanged_take_each_others(
    monkeypatch: pytest.MonkeyPatch, ros_environment: dict[str, str]
) -> None:
    exchanged = ("--ros-args", "-r", "front/image:=/left/image", "-r", "left/image:=/front/image")
    with rig(monkeypatch, ros_environment, CAMERAS, arguments=exchanged) as node:
        assert node.node.start()
        masks = node.listen(Image, "/segmentation/front/mask")
        _, [mask] = node.answered(lambda: node.picture(1), [masks], "/left/image")
        np.testing.assert_array_equal(pixels(mask), np.full((3, 4), 1))


def test_a_camera_whose_images_are_bad_leaves_the_other_alone(two: Rig) -> None:
    masks = two.listen(Image, "/segmentation/front/mask")
    bad = two.picture(3)
    bad.step = 7
    two.send(bad, "/left/image")
    two.status(lambda s: "7" in s.message, "segmentation: left")
    two.answered(lambda: two.picture(4), [masks], "/front/image")
    assert two.counts("left").rejected == 1
    assert two.counts("front").rejected == 0


def test_a_size_is_changed_for_a_camera_and_not_for_all(two: Rig) -> None:
    masks = two.listen(Image, "/segmentation/front/mask")
    assert two.set_parameter("front.output_size", [6, 8]).successful
    _, [mask] = two.answered(lambda: two.picture(5), [masks], "/front/image")
    assert (mask.height, mask.width) == (6, 8)
    refused = two.set_parameter("output_size", [6, 8])
    assert not refused.successful
    assert "front.output_size or left.output_size" in refused.reason


def test_cameras_of_many_sizes_do_not_wait_for_each_others_engines(
    monkeypatch: pytest.MonkeyPatch, ros_environment: dict[str, str]
) -> None:
    class Building(FakeBackend):
        def prepare(self, size: tuple[int, int], ids_size: tuple[int, int]) -> Any:
            prepared.append(ids_size)
            return SimpleNamespace(result=lambda: None, cancel=lambda: None)

    def create_backend(*settings: Any) -> Building:
        asked.append(settings[-1])
        return Building()

    asked: list[Any] = []
    prepared: list[tuple[int, int]] = []
    names = [f"camera{number}" for number in range(6)]
    with rig(monkeypatch, ros_environment, {"cameras": names}) as node:
        monkeypatch.setattr("dcfm_ros.node.network.create_backend", create_backend)
        assert node.node.start()
        masks = {name: node.listen(Image, f"/segmentation/{name}/mask") for name in names}
        for _ in range(2):
            for number, name in enumerate(names):
                picture = partial(node.picture, 1, (6, 8 + number))
                node.answered(picture, [masks[name]], f"/{name}/image")
    assert len(prepared) == len(set(prepared)) > 6
    assert asked[0] >= 6


@pytest.mark.parametrize(("names", "said"), [(["front", "front"], "each once"), (["2nd"], "'2nd'"), (["a b"], "'a b'")])
def test_names_that_topics_cannot_have_are_refused(
    monkeypatch: pytest.MonkeyPatch, ros_environment: dict[str, str], names: list[str], said: str
) -> None:
    with pytest.raises(ValueError, match=said), rig(monkeypatch, ros_environment, {"cameras": names}):
        pass
