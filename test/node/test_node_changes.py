"""Parameters that change while a frame is under way: it is published under the settings that it was taken with."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from fake_backend import FakeBackend
from node_in_process import Rig, pixels, rig
from sensor_msgs.msg import CameraInfo, Image

from dcfm_ros.imaging.frame import stamp_ns
from dcfm_ros.imaging.labels import CAMVID
from dcfm_ros.node.parameter_table import PARAMETERS

CHANGES: dict[str, Any] = {
    "schedule_threshold": 0.5,
    "schedule_min_interval": 2,
    "schedule_max_age_s": 1.0,
    "keyframe_interval": 2,
    "schedule": "adaptive",
    "output_size": [3, 4],
    "min_confidence": 0.9,
    "overlay_opacity": 1.0,
    "jpeg_quality": 10,
    "max_latency_ms": 5.0,
    "max_input_age_s": 5.0,
    "max_keyframe_age_s": 5.0,
    "max_drop_ratio": 0.5,
    "enabled": False,
}
"""To values that the frame before has not. Confidence is 200 of 255 everywhere."""

HELD = 7


@dataclass
class Gated(FakeBackend):
    """Frames of the grey HELD wait at the end of the network until the test lets them through.

    Others do not: one that was sent earlier may come late, and must not be taken for the one that is to wait.
    """

    is_there: threading.Event = field(default_factory=threading.Event)
    gate: threading.Event = field(default_factory=threading.Event)

    def decide(
        self, commons: Sequence[int], shallow: int, size: tuple[int, int], confidence: bool
    ) -> tuple[np.ndarray, np.ndarray | None]:
        if shallow == HELD:
            self.is_there.set()
            assert self.gate.wait(20)
        return super().decide(commons, shallow, size, confidence)


GATED = Gated()


@pytest.fixture
def gated(monkeypatch: pytest.MonkeyPatch, ros_environment: dict[str, str]) -> Iterator[Rig]:
    with rig(monkeypatch, ros_environment, backends=lambda: GATED) as made:
        assert made.node.start()
        yield made
        GATED.gate.set()


def test_a_frame_under_way_is_published_as_it_was_taken_whatever_changes(gated: Rig) -> None:
    assert {parameter.name for parameter in PARAMETERS if parameter.changeable} == set(CHANGES)
    masks, overlays = (gated.listen(Image, f"/segmentation/{name}") for name in ("mask", "overlay"))
    gated.answered(lambda: gated.picture(3), [masks, overlays])
    for name, value in CHANGES.items():
        before = gated.node.get_parameter(name).value
        GATED.is_there.clear()
        GATED.gate.clear()
        image = gated.picture(HELD)
        gated.send(image)
        gated.wait(GATED.is_there.is_set, "the frame to be under way")
        if name == "enabled":  # which waits for what is under way
            threading.Timer(0.5, GATED.gate.set).start()
        assert gated.set_parameter(name, value).successful, name
        GATED.gate.set()
        mask, overlay = (answer_to(image, got, gated) for got in (masks, overlays))
        np.testing.assert_array_equal(pixels(mask), np.full((6, 8), HELD), name)
        blended = (np.array(CAMVID.colors[HELD]) + HELD) / 2
        assert np.abs(pixels(overlay) - blended).max() <= 1, name
        before = before if isinstance(before, (str, bool, int, float)) else list(before)
        assert gated.set_parameter(name, before).successful


def answer_to(image: Image, answers: list[Image], node: Rig) -> Image:
    return node.wait(lambda: next((m for m in answers if stamp_ns(m.header) == stamp_ns(image.header)), None), "answer")


def test_the_calibration_is_the_one_that_came_with_the_image(gated: Rig) -> None:
    """A camera that changes its binning while a frame is under way."""
    infos = gated.listen(CameraInfo, "/segmentation/camera_info")
    gated.send(CameraInfo(height=6, width=8, k=[1.0, 0, 0, 0, 1, 0, 0, 0, 1]), "/camera_info")
    gated.answered(lambda: gated.picture(3), [infos])
    GATED.is_there.clear()
    GATED.gate.clear()
    image = gated.picture(HELD)
    gated.send(CameraInfo(header=image.header, height=6, width=8, k=[4.0, 0, 3, 0, 4, 2, 0, 0, 1]), "/camera_info")
    gated.send(image)
    gated.wait(GATED.is_there.is_set, "the frame to be under way")
    gated.send(CameraInfo(height=12, width=16, k=[8.0, 0, 7, 0, 8, 5, 0, 0, 1]), "/camera_info")
    gated.wait(lambda: (info := gated.node._inputs.cameras[""].info(0)) and info.width == 16, "the new calibration")
    GATED.gate.set()
    info = gated.wait(lambda: next((i for i in infos if i.header == image.header), None), "the calibration")
    assert info.k.tolist() == [4.0, 0, 3, 0, 4, 2, 0, 0, 1]


@dataclass
class Measured(FakeBackend):
    """How much has changed up to a frame of the grey HELD takes as long to measure as the test wants."""

    is_there: threading.Event = field(default_factory=threading.Event)
    gate: threading.Event = field(default_factory=threading.Event)

    def change(self, shallow: int, reference: int) -> float:
        if shallow == HELD:
            self.is_there.set()
            assert self.gate.wait(20)
        return super().change(shallow, reference)


def test_a_frame_is_measured_and_decided_by_one_schedule(
    monkeypatch: pytest.MonkeyPatch, ros_environment: dict[str, str]
) -> None:
    backend = Measured()
    with rig(monkeypatch, ros_environment, {"schedule": "adaptive"}, lambda: backend) as node:
        assert node.node.start()
        masks = node.listen(Image, "/segmentation/mask")
        node.answered(lambda: node.picture(3), [masks])
        image = node.picture(HELD)
        node.send(image)
        node.wait(backend.is_there.is_set, "the frame to be measured")
        assert node.set_parameter("schedule", "fixed").successful
        backend.gate.set()
        answer_to(image, masks, node)
        node.answered(lambda: node.picture(4), [masks])
        assert node.counts().failed == 0


def test_the_least_confidence_that_is_told_follows_the_parameter(
    monkeypatch: pytest.MonkeyPatch, ros_environment: dict[str, str]
) -> None:
    told: list[float] = []
    monkeypatch.setattr(
        "dcfm_ros.node.messages.label_info_message", lambda header, labels, threshold: told.append(threshold)
    )
    with rig(monkeypatch, ros_environment) as node:
        assert node.node.start()
        assert node.set_parameter("min_confidence", 0.5).successful
        assert node.set_parameter("jpeg_quality", 50).successful
        assert told == [0.0, 0.5]
