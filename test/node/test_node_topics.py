"""What goes out on the node's topics, and what comes in."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from fake_backend import FakeBackend
from node_in_process import Rig, pixels, rig
from rclpy.qos import QoSProfile, ReliabilityPolicy
from run_length_masks import mask_of_run_lengths
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import String
from std_srvs.srv import SetBool, Trigger

from dcfm_ros.imaging.labels import CAMVID
from dcfm_ros.streaming.timing import read_timing

NAMES = CAMVID.names


@pytest.fixture
def ready(monkeypatch: pytest.MonkeyPatch, ros_environment: dict[str, str]) -> Iterator[Rig]:
    """An active node with the default parameters."""
    with rig(monkeypatch, ros_environment) as made:
        assert made.node.start()
        yield made


def test_every_topic_shows_the_same_mask(
    monkeypatch: pytest.MonkeyPatch, ros_environment: dict[str, str], tmp_path: Path
) -> None:
    ignore = np.zeros((6, 8), np.uint8)
    ignore[4:] = 255
    cv2.imwrite(str(tmp_path / "bonnet.png"), ignore)
    parameters = {
        "region_of_interest": [2, 0, 6, 6],
        "ignore_mask": str(tmp_path / "bonnet.png"),
        "output_size": [12, 16],
        "class_map": ["road=ground", "pavement=ground", "sky="],
        "run_length_mask": True,
    }
    with rig(monkeypatch, ros_environment, parameters) as node:
        assert node.node.start()
        kinds = {
            **dict.fromkeys(("mask", "confidence", "color", "overlay", "mask/run_length"), Image),
            **dict.fromkeys(("mask/compressed", "overlay/compressed"), CompressedImage),
            "camera_info": CameraInfo,
            "timing": DiagnosticArray,
        }
        topics = [node.listen(kind, f"/segmentation/{name}") for name, kind in kinds.items()]
        labels = node.listen(String, "/segmentation/labels", is_latched=True)
        info = CameraInfo(height=6, width=8, k=[4.0, 0, 3.5, 0, 4.0, 2.5, 0, 0, 1])
        node.send(info, "/camera_info", QoSProfile(depth=1))
        node.wait(lambda: node.node._inputs.cameras[""].info(0), "the calibration")
        image, answers_in_order = node.answered(lambda: node.picture(NAMES.index("road")), topics)
        answers = dict(zip(kinds, answers_in_order, strict=True))

        [labels_message] = node.wait(lambda: labels, "the labels")
        classes = {entry["name"]: entry["id"] for entry in json.loads(labels_message.data)}
        assert list(classes) == ["building", "pole", "ground", *NAMES[5:]]
        expected = np.full((12, 16), 255)
        expected[:8, 4:] = classes["ground"]
        mask = pixels(answers["mask"])
        np.testing.assert_array_equal(mask, expected)
        assert all(message.header == image.header for message in answers.values())
        np.testing.assert_array_equal(pixels(answers["confidence"]), np.where(expected == 255, 0, 200))
        compressed = np.frombuffer(answers["mask/compressed"].data, np.uint8)
        np.testing.assert_array_equal(cv2.imdecode(compressed, cv2.IMREAD_UNCHANGED), expected)
        run_lengths = answers["mask/run_length"]
        np.testing.assert_array_equal(mask_of_run_lengths(run_lengths.data.tobytes(), (12, 16)), expected)
        colors = pixels(answers["color"])
        assert colors[0, 8].tolist() == list(CAMVID.colors[NAMES.index("road")])
        assert not colors[mask == 255].any()
        overlaid = cv2.imdecode(np.frombuffer(answers["overlay/compressed"].data, np.uint8), cv2.IMREAD_COLOR)
        assert overlaid is not None
        difference = overlaid[:, :, ::-1].astype(int) - pixels(answers["overlay"])
        assert np.abs(difference).mean() < 10
        scaled = answers["camera_info"]
        assert (scaled.height, scaled.width) == (12, 16)
        assert scaled.k.tolist() == [8.0, 0, 7.5, 0, 8.0, 5.5, 0, 0, 1]
        shares = read_timing(answers["timing"]).shares
        assert shares["ground"] == pytest.approx(0.5)
        assert "sky" not in shares


def test_confidence_is_computed_only_for_those_who_listen_or_where_a_minimum_is_set(
    monkeypatch: pytest.MonkeyPatch, ros_environment: dict[str, str]
) -> None:
    asked: list[bool] = []

    class Asked(FakeBackend):
        def decide(self, commons: Any, shallow: Any, size: Any, confidence: bool) -> Any:
            asked.append(confidence)
            return super().decide(commons, shallow, size, confidence)

    with rig(monkeypatch, ros_environment, backends=Asked) as node:
        assert node.node.start()
        masks = node.listen(Image, "/segmentation/mask")
        node.answered(lambda: node.picture(3), [masks])
        assert not any(asked)
        assert node.set_parameter("min_confidence", 0.9).successful
        _, [mask] = node.answered(lambda: node.picture(4), [masks])
        assert asked[-1]
        assert set(pixels(mask).ravel()) == {255}  # the fake's confidence is 200 of 255
        assert node.set_parameter("min_confidence", 0.0).successful
        confidences = node.listen(Image, "/segmentation/confidence")
        _, [confidence] = node.answered(lambda: node.picture(5), [confidences])
        assert set(pixels(confidence).ravel()) == {200}


def test_the_size_changes_between_frames_and_a_bad_one_is_refused(ready: Rig) -> None:
    masks = ready.listen(Image, "/segmentation/mask")
    assert ready.set_parameter("output_size", [3, 4]).successful
    _, [mask] = ready.answered(lambda: ready.picture(7), [masks])
    np.testing.assert_array_equal(pixels(mask), np.full((3, 4), 7))
    refused = ready.set_parameter("output_size", [0, 4])
    assert not refused.successful
    assert "(0, 4)" in refused.reason
    for name in ("cameras", "ignore_mask"):
        assert not ready.set_parameter(name, ["left"] if name == "cameras" else "/bonnet.png").successful
    assert ready.set_parameter("output_size", [0, 0]).successful
    _, [mask] = ready.answered(lambda: ready.picture(8), [masks])
    assert (mask.height, mask.width) == (6, 8)


def test_services_force_a_keyframe_and_switch_the_node_off_and_on(ready: Rig) -> None:
    timings = ready.listen(DiagnosticArray, "/segmentation/timing")
    ready.answered(lambda: ready.picture(1), [timings])
    assert ready.call(Trigger, "/segmentation/force_keyframe").success
    ready.wait(lambda: not ready.counts().pending)
    ready.turn()
    timings.clear()
    ready.answered(lambda: ready.picture(2), [timings])
    assert "forced" in [read_timing(timing).reason for timing in timings]
    off = ready.call(SetBool, "/segmentation/set_enabled", data=False)
    assert (off.success, off.message) == (True, "images are skipped")
    before = ready.counts()
    ready.send(ready.picture(3))
    ready.wait(lambda: ready.counts().received > before.received)
    assert ready.counts().skipped == before.skipped + 1
    _, said, values = ready.status(lambda s: "disabled" in s.message, meanwhile=lambda: ready.send(ready.picture(3)))
    assert values["enabled"] == "false", said
    assert ready.call(SetBool, "/segmentation/set_enabled", data=True).success
    timings.clear()
    ready.answered(lambda: ready.picture(4), [timings])
    assert read_timing(timings[0]).reason == "enabled"


def test_forcing_a_keyframe_of_a_node_that_is_not_configured_fails(
    monkeypatch: pytest.MonkeyPatch, ros_environment: dict[str, str]
) -> None:
    with rig(monkeypatch, ros_environment) as node:
        answer = node.call(Trigger, "/segmentation/force_keyframe")
        assert (answer.success, answer.message) == (False, "the node is not configured")


def is_told(said: str, status: DiagnosticStatus) -> bool:
    return said in status.message


def test_compressed_images_are_taken_and_large_or_broken_ones_are_rejected(
    monkeypatch: pytest.MonkeyPatch, ros_environment: dict[str, str]
) -> None:
    def compressed(node: Rig, value: int, size: tuple[int, int] = (6, 8), cut: int | None = None) -> CompressedImage:
        header = node.picture(value).header
        data = cv2.imencode(".png", np.full((*size, 3), value, np.uint8))[1].tobytes()[:cut]
        return CompressedImage(header=header, format="rgb8; png compressed bgr8", data=data)

    parameters = {"input_transport": "compressed", "max_image_pixels": 100}
    with rig(monkeypatch, ros_environment, parameters) as node:
        assert node.node.start()
        masks = node.listen(Image, "/segmentation/mask")
        _, [mask] = node.answered(lambda: compressed(node, 9), [masks], "/image/compressed")
        np.testing.assert_array_equal(pixels(mask), np.full((6, 8), 9))
        for bad, said in ((compressed(node, 9, (20, 20)), "20x20"), (compressed(node, 9, cut=40), "png")):
            before = node.counts().rejected
            node.send(bad, "/image/compressed")
            # The count may be told before the sentence, which another thread hands on.
            node.status(partial(is_told, said))
            assert node.counts().rejected == before + 1
        node.answered(lambda: compressed(node, 8), [masks], "/image/compressed")


def test_images_are_taken_as_reliably_as_they_are_published(ready: Rig) -> None:
    def reliability() -> ReliabilityPolicy:
        [info] = ready.robot.get_subscriptions_info_by_topic("/image")
        return info.qos_profile.reliability

    assert reliability() == ReliabilityPolicy.BEST_EFFORT
    reliable = ready.robot.create_publisher(Image, "/image", QoSProfile(depth=1))
    ready.wait(lambda: reliability() == ReliabilityPolicy.RELIABLE, "a reliable subscription")
    lossy = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
    ready.robot.create_publisher(Image, "/image", lossy)
    ready.wait(lambda: reliability() == ReliabilityPolicy.BEST_EFFORT, "a subscription that matches both")
    ready.robot.destroy_publisher(reliable)


@pytest.mark.parametrize(
    ("value", "state"), [("reliable", "active"), ("best_effort", "active"), ("now_and_then", "inactive")]
)
def test_reliability_can_be_overridden(
    monkeypatch: pytest.MonkeyPatch, ros_environment: dict[str, str], value: str, state: str
) -> None:
    parameters = {"qos_overrides./image.subscription.reliability": value}
    with rig(monkeypatch, ros_environment, parameters) as node:
        node.node.start()
        assert node.state == state
        if state == "active":
            [info] = node.wait(lambda: node.robot.get_subscriptions_info_by_topic("/image"))
            assert info.qos_profile.reliability.name == value.upper()
        else:
            for _ in range(2):  # it is told until it is mended
                level, said, _ = node.status(lambda s: "cannot be activated" in s.message)
                assert level == DiagnosticStatus.ERROR
                assert "now_and_then" in said


def test_own_names_and_colours_come_from_a_file(
    monkeypatch: pytest.MonkeyPatch, ros_environment: dict[str, str], tmp_path: Path
) -> None:
    own = [{"id": i, "name": f"thing {i}", "color": [i, i, i]} for i in range(len(NAMES))]
    (tmp_path / "labels.yaml").write_text(json.dumps(own))
    (tmp_path / "few.yaml").write_text(json.dumps(own[:2]))
    for name, works in (("labels", True), ("few", False)):
        parameters = {"labels": str(tmp_path / f"{name}.yaml")}
        with rig(monkeypatch, ros_environment, parameters) as node:
            assert node.node.start() is works
            if works:
                labels = node.listen(String, "/segmentation/labels", is_latched=True)
                [message] = node.wait(lambda labels=labels: labels)
                assert json.loads(message.data) == own
            else:
                assert "2 classes; expected the 11" in node.status(lambda s: "configured" in s.message)[1]


def test_a_topic_that_nobody_publishes_is_told_with_those_that_are_there(
    monkeypatch: pytest.MonkeyPatch, ros_environment: dict[str, str], capfd: pytest.CaptureFixture[str]
) -> None:
    cameras = ["front", "left", "rear"]
    with rig(
        monkeypatch, ros_environment, {"cameras": cameras}, arguments=("--ros-args", "-r", "left/image:=/lefd")
    ) as node:
        node.advertise(Image, "/front/image")
        node.advertise(CompressedImage, "/left/image/compressed")
        node.advertise(String, "/chatter")
        capfd.readouterr()
        assert node.node.start()
        said = ""

        def told() -> bool:
            nonlocal said
            said += capfd.readouterr().err
            return "nobody publishes /rear/image" in said

        node.wait(told, "a line about the topic")
        there = "/front/image (sensor_msgs/msg/Image), /left/image/compressed (sensor_msgs/msg/CompressedImage)"
        for topic in ("/lefd", "/rear/image"):
            assert f"nobody publishes {topic} (sensor_msgs/msg/Image); the image topics are {there}\n" in said
        assert "nobody publishes /front/image" not in said


def test_where_there_is_no_image_at_all_that_is_said(ready: Rig, capfd: pytest.CaptureFixture[str]) -> None:
    line = "nobody publishes /image (sensor_msgs/msg/Image); there is no image topic\n"
    ready.wait(lambda: line in capfd.readouterr().err, "a line about the topic")
    assert ready.node._inputs._silence is None


def test_a_node_that_is_paused_says_nothing_of_its_topics(ready: Rig) -> None:
    assert ready.node._inputs._silence is not None
    ready.node.trigger_deactivate()
    assert ready.node._inputs._silence is None
