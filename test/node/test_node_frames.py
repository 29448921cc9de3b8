"""Frame after frame through the node: streams and their keyframes, bad images, parameters that change in between."""

from __future__ import annotations

import array
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rclpy
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from fake_backend import FakeBackend
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from node_in_process import Rig, pixels, rig
from rclpy.context import Context
from rclpy.node import Node
from rclpy.qos import QoSProfile
from sensor_msgs.msg import CompressedImage, Image

from dcfm_ros import __version__
from dcfm_ros.model import create_model, save_weights
from dcfm_ros.streaming.timing import Timing, read_timing


class Stream:
    """A node that is active, and a camera whose every image is answered."""

    def __init__(self, node: Rig) -> None:
        self.rig = node
        self.picture = node.picture
        node.advertise(Image)
        assert node.node.start()
        self._topics = [
            node.listen(Image, "/segmentation/mask"),
            node.listen(DiagnosticArray, "/segmentation/timing"),
        ]
        node.answered(lambda: node.picture(0), self._topics)
        self.ask(node.picture(0))  # whatever was sent before this has come, too

    def ask(self, image: Image) -> tuple[Image, Timing]:
        """The mask of an image and its timing."""
        for received in self._topics:
            received.clear()
        self.rig.send(image)

        def answer() -> list[Any]:
            return [next((m for m in got if m.header == image.header), None) for got in self._topics]

        mask, timing = self.rig.wait(lambda: all(found := answer()) and found, "mask and timing")
        return mask, read_timing(timing)


@pytest.fixture
def stream(monkeypatch: pytest.MonkeyPatch, ros_environment: dict[str, str]) -> Iterator[Stream]:
    with rig(monkeypatch, ros_environment) as made:
        yield Stream(made)


def test_every_fifth_frame_is_a_keyframe_and_says_why(stream: Stream) -> None:
    timings = [stream.ask(stream.picture(i, (7, 9)))[1] for i in range(11)]  # another size: a new stream
    assert [t.is_keyframe for t in timings] == [i % 5 == 0 for i in range(11)]
    assert [t.age_frames for t in timings] == [i % 5 for i in range(11)]
    assert [t.reason for t in timings[:6]] == ["size changed", *["reused"] * 4, "interval"]
    assert [t.index for t in timings] == list(range(timings[0].index, timings[0].index + 11))
    assert timings[3].age_s == pytest.approx(0.3)
    for timing in timings:
        stages = timing.prepare_ms + timing.shallow_ms + timing.common_ms + timing.decide_ms
        assert 0 < stages <= timing.latency_ms
        assert (timing.common_ms > 0) == timing.is_keyframe
        assert sum(timing.shares.values()) == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (0, "reused"),
        (-500_000_000, "stamp went back"),
        (1_000_000_000, "reused"),
        (3_600_000_000_000, "stamp gap"),
    ],
)
def test_stamps_that_repeat_jump_back_or_far_ahead(stream: Stream, change: int, reason: str) -> None:
    stream.ask(stream.picture(1, stamp=50_000_000_000))
    _, timing = stream.ask(stream.picture(2))
    assert timing.reason == "reused"
    _, timing = stream.ask(stream.picture(3, stamp=50_100_000_000 + change))
    assert timing.reason == reason


def test_images_without_a_stamp_go_on_by_the_time_of_receipt(stream: Stream) -> None:
    stream.ask(stream.picture(1, stamp=0))
    mask, timing = stream.ask(stream.picture(2, stamp=0))
    assert timing.reason == "reused"
    assert 0 < timing.age_s < 30
    assert (mask.header.stamp.sec, mask.header.stamp.nanosec) == (0, 0)


def test_the_same_image_sent_again_is_answered_from_the_last_result(stream: Stream) -> None:
    image = stream.picture(1)
    mask, timing = stream.ask(image)
    again, timing_again = stream.ask(image)
    assert again.data == mask.data
    assert timing_again.index == timing.index
    _, after = stream.ask(stream.picture(2))
    assert after.index == timing.index + 1


def test_the_same_bytes_in_another_shape_are_another_image(stream: Stream) -> None:
    image = stream.picture(1, (6, 8))
    _, timing = stream.ask(image)
    image.height, image.width, image.step = 8, 6, 18
    mask, other = stream.ask(image)
    assert (mask.height, mask.width) == (8, 6)
    assert (other.index, other.reason) == (timing.index + 1, "size changed")
    before = stream.rig.counts()
    image.step = 7  # the same bytes and stamp once more, under a header that lies
    stream.rig.send(image)
    stream.rig.status(lambda s: "rejected" in s.message)
    assert stream.rig.counts().rejected == before.rejected + 1


def test_equal_images_without_a_stamp_are_frames_of_their_own(stream: Stream) -> None:
    image = stream.picture(1, stamp=0)
    _, first = stream.ask(image)
    _, second = stream.ask(image)
    assert second.index == first.index + 1


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"height": 0, "width": 0, "data": array.array("B")}, "0"),
        ({"data": array.array("B", bytes(100))}, "100"),
        ({"encoding": "rgb12"}, "rgb12"),
        ({"encoding": ""}, "''"),
        ({"step": 7}, "7"),
        ({"height": 4_000_000_000}, "4000000000"),
        ({"encoding": "rgb" * 100_000}, "rgbrgb"),
    ],
    ids=["empty", "truncated", "unknown encoding", "no encoding", "lying step", "lying height", "long encoding"],
)
def test_a_bad_image_is_rejected_counted_and_named(stream: Stream, fields: dict[str, object], said: str) -> None:
    before = stream.rig.counts()
    image = stream.picture(1)
    for name, value in fields.items():
        setattr(image, name, value)
    stream.rig.send(image)
    _, message, _ = stream.rig.status(lambda s: said in s.message)
    assert len(message) < 500
    stream.ask(stream.picture(2))
    after = stream.rig.counts()
    assert after.rejected == before.rejected + 1
    assert after.processed == before.processed + 1


def test_frames_that_come_too_fast_are_dropped_and_the_newest_is_answered(
    monkeypatch: pytest.MonkeyPatch, ros_environment: dict[str, str]
) -> None:
    may_go_on, is_busy = threading.Event(), threading.Event()
    may_go_on.set()

    class Held(FakeBackend):
        def encode_shallow(self, image: Any) -> int:
            is_busy.set()
            assert may_go_on.wait(20)
            return super().encode_shallow(image)

    with rig(monkeypatch, ros_environment, backends=Held) as node:
        stream = Stream(node)
        node.wait(lambda: not node.counts().pending)
        masks = node.listen(Image, "/segmentation/mask")
        before = node.counts()
        may_go_on.clear()
        is_busy.clear()
        for value in range(1, 7):
            node.send(node.picture(value))
            node.wait(lambda value=value: node.counts().received == before.received + value)
            node.wait(is_busy.is_set, "the network to begin with the first")
        assert node.counts().pending == 2
        may_go_on.set()
        node.wait(lambda: masks and pixels(masks[-1])[0, 0] == 6, "the newest")
        after = node.counts()
        assert after.dropped == before.dropped + 4
        assert after.processed == before.processed + 2
        assert stream.ask(node.picture(7))[1].reason == "reused"


def test_diagnostics_are_ok_while_frames_flow_and_warn_when_none_come(stream: Stream) -> None:
    told = stream.rig.listen(DiagnosticArray, "/diagnostics")  # as the node tells them by itself

    def is_healthy() -> bool:
        stream.ask(stream.picture(1))
        return len(told) > 1 and told[-1].status[0].level == DiagnosticStatus.OK

    stream.rig.wait(is_healthy, "no warning")
    values = {pair.key: pair.value for pair in told[-1].status[0].values}
    assert {"keyframe_p50_ms", "other_frame_p99_ms", "device", "input_age_s"} <= values.keys()
    assert values["version"] == __version__
    assert float(values["rate_hz"]) > 1
    stream.rig.wait(lambda: told[-1].status[0].level == DiagnosticStatus.WARN, "a warning")
    assert told[-1].status[0].message == "no image in the last second"


def test_a_topic_of_the_wrong_type_is_told(monkeypatch: pytest.MonkeyPatch, ros_environment: dict[str, str]) -> None:
    with rig(monkeypatch, ros_environment) as node:
        assert node.node.start()
        with another_participant(node) as other:
            other.create_publisher(CompressedImage, "/image", QoSProfile(depth=1))
            _, said, _ = node.status(lambda s: "CompressedImage" in s.message)
        assert "expected sensor_msgs/msg/Image" in said


@contextmanager
def another_participant(node: Rig) -> Iterator[Node]:
    """A node that DDS takes for another process's: within one, a topic has one type."""
    context = Context()
    rclpy.init(context=context, domain_id=node.node.context.get_domain_id())
    other = rclpy.create_node("other", context=context)
    try:
        yield other
    finally:
        other.destroy_node()
        rclpy.try_shutdown(context=context)


def test_a_bad_parameter_is_refused_with_what_is_allowed(stream: Stream) -> None:
    for name, value, allowed in (
        ("keyframe_interval", 0, "Min: 1, Max: 1000"),
        ("overlay_opacity", 1.5, "Min: 0.0, Max: 1.0"),
        ("mode", "bidirectional", "causal, full"),
        ("device", "cpu", "configured"),
    ):
        result = stream.rig.set_parameter(name, value)
        assert not result.successful
        assert name in result.reason
        assert allowed in result.reason


def test_the_keyframe_interval_changes_between_frames(stream: Stream) -> None:
    assert stream.rig.set_parameter("keyframe_interval", 2).successful
    timings = [stream.ask(stream.picture(i, (7, 9)))[1] for i in range(5)]
    assert [t.is_keyframe for t in timings] == [True, False, True, False, True]


def test_weights_for_other_classes_bring_their_own_ids(
    monkeypatch: pytest.MonkeyPatch, ros_environment: dict[str, str], tmp_path: Path
) -> None:
    save_weights(create_model("camvid_resnet18", num_classes=2), tmp_path / "two.safetensors")
    parameters = {"backend": "torch", "weights": str(tmp_path / "two.safetensors")}
    with rig(monkeypatch, ros_environment, parameters, backends=None) as node:
        mask, timing = Stream(node).ask(node.picture(100))
        assert pixels(mask).max() < 2
        assert list(timing.shares) == ["class_0", "class_1"]


def test_the_lifecycle_goes_round_and_the_node_segments_again(
    monkeypatch: pytest.MonkeyPatch, ros_environment: dict[str, str]
) -> None:
    """With the real network: one is let go, and another is made with other parameters."""

    def change(transition: int) -> bool:
        return node.call(ChangeState, "/segmentation/change_state", transition=Transition(id=transition)).success

    with rig(monkeypatch, ros_environment, {"backend": "torch"}, backends=None) as node:
        assert change(Transition.TRANSITION_CONFIGURE)
        assert change(Transition.TRANSITION_ACTIVATE)
        masks = node.listen(Image, "/segmentation/mask")
        _, [first] = node.answered(lambda: node.picture(100, (61, 83)), [masks])
        assert change(Transition.TRANSITION_DEACTIVATE)
        assert node.status(lambda s: True)[2]["state"] == "inactive"
        assert change(Transition.TRANSITION_CLEANUP)
        assert node.set_parameter("num_threads", 1).successful
        assert change(Transition.TRANSITION_CONFIGURE)
        assert change(Transition.TRANSITION_ACTIVATE)
        _, [again] = node.answered(lambda: node.picture(100, (61, 83)), [masks])
        np.testing.assert_array_equal(pixels(again), pixels(first))
