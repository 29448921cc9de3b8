"""The node as another process sees it."""

from __future__ import annotations

import array
import time

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from node_process import Camera
from sensor_msgs.msg import Image

from dcfm_ros.imaging.labels import CAMVID
from dcfm_ros.imaging.overlay import colorize


def pixels_of(message: Image) -> np.ndarray:
    channels = 3 if message.encoding == "rgb8" else 1
    assert message.step == message.width * channels
    return np.frombuffer(message.data, np.uint8).reshape(message.height, message.width, channels).squeeze()


def test_a_mask_has_the_image_size_and_header_and_only_ids_of_classes(camera: Camera) -> None:
    image = camera.picture(61, 83)
    mask, _ = camera.ask(image)
    assert (mask.height, mask.width, mask.encoding, mask.step) == (61, 83, "mono8", 83)
    assert mask.header == image.header
    assert pixels_of(mask).max() < len(CAMVID)


def test_color_and_overlay_show_the_mask(camera: Camera) -> None:
    image = camera.picture()
    mask, _ = camera.ask(image)
    color, overlay = (
        camera.wait(lambda n=name: next((m for m in camera.received[n] if m.header == image.header), None))
        for name in ("color", "overlay")
    )
    expected = colorize(pixels_of(mask), CAMVID)
    np.testing.assert_array_equal(pixels_of(color), expected)
    blended = (expected.astype(int) + pixels_of(image)) / 2
    assert np.abs(pixels_of(overlay) - blended).max() <= 1


def test_every_fifth_frame_is_a_keyframe_and_says_why(camera: Camera) -> None:
    height = 71  # another size: a new stream
    timings = [camera.ask(camera.picture(height, 80, seed=i))[1] for i in range(11)]
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
def test_stamps_that_repeat_jump_back_or_far_ahead(camera: Camera, change: int, reason: str) -> None:
    camera.ask(camera.picture(stamp=50_000_000_000, seed=1))
    _, timing = camera.ask(camera.picture(stamp=50_000_000_000 + 100_000_000, seed=2))
    assert timing.reason != "size changed"
    _, timing = camera.ask(camera.picture(stamp=50_000_000_000 + 100_000_000 + change, seed=3))
    assert timing.reason == reason


def test_images_without_a_stamp_go_on_by_the_time_of_receipt(camera: Camera) -> None:
    camera.ask(camera.picture(stamp=0, seed=1))
    mask, timing = camera.ask(camera.picture(stamp=0, seed=2))
    assert timing.reason == "reused"
    assert 0 < timing.age_s < 30
    assert (mask.header.stamp.sec, mask.header.stamp.nanosec) == (0, 0)


def test_the_same_image_sent_again_is_answered_from_the_last_result(camera: Camera) -> None:
    image = camera.picture()
    mask, timing = camera.ask(image)
    again, timing_again = camera.ask(image)
    assert again.data == mask.data
    assert timing_again.index == timing.index
    _, after = camera.ask(camera.picture(seed=9))
    assert after.index == timing.index + 1


def test_the_same_bytes_in_another_shape_are_another_image(camera: Camera) -> None:
    image = camera.picture(60, 80)
    _, timing = camera.ask(image)
    image.height, image.width, image.step = 80, 60, 180
    mask, other = camera.ask(image)
    assert (mask.height, mask.width) == (80, 60)
    assert (other.index, other.reason) == (timing.index + 1, "size changed")
    before = camera.counts()
    image.step = 7  # the same bytes and stamp once more, under a header that lies
    camera.send(image)
    camera.status(lambda s: "rejected" in s.message)
    assert camera.counts()["rejected"] == before["rejected"] + 1


def test_equal_images_without_a_stamp_are_frames_of_their_own(camera: Camera) -> None:
    image = camera.picture(stamp=0)
    _, first = camera.ask(image)
    _, second = camera.ask(image)
    assert second.index == first.index + 1


def broken(camera: Camera, **fields: object) -> Image:
    image = camera.picture()
    for name, value in fields.items():
        setattr(image, name, value)
    return image


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"height": 0, "width": 0, "data": array.array("B")}, "0"),
        ({"data": array.array("B", bytes(100))}, "100"),
        ({"encoding": "rgb12"}, "rgb12"),
        ({"encoding": ""}, "''"),
        ({"step": 7}, "7"),
        ({"height": 4_000_000_000}, "4000000000"),
    ],
    ids=["empty", "truncated", "unknown encoding", "no encoding", "lying step", "lying height"],
)
def test_a_bad_image_is_rejected_counted_and_named(camera: Camera, fields: dict[str, object], said: str) -> None:
    before = camera.counts()
    camera.send(broken(camera, **fields))
    status = camera.status(lambda s: "rejected" in s.message)
    assert said in status["message"]
    camera.ask(camera.picture())
    after = camera.counts()
    assert after["rejected"] == before["rejected"] + 1
    assert after["processed"] == before["processed"] + 1


def test_diagnostics_are_ok_while_frames_flow_and_warn_when_none_come(camera: Camera) -> None:
    deadline = time.monotonic() + 2.5
    camera.received["diagnostics"].clear()
    while time.monotonic() < deadline:
        camera.ask(camera.picture())
    levels = [s.level for m in camera.received["diagnostics"] for s in m.status if s.name == "segmentation"]
    assert levels[-1] == DiagnosticStatus.OK
    status = camera.status(lambda s: s.level == DiagnosticStatus.WARN)
    assert status["message"] == "no image in the last second"
    assert {"keyframe_p50_ms", "other_frame_p99_ms", "device", "input_age_s", "rate_hz"} <= status.keys()


def test_a_bad_parameter_is_refused_with_what_is_allowed(camera: Camera) -> None:
    for name, value, allowed in (
        ("keyframe_interval", 0, "Min: 1, Max: 1000"),
        ("overlay_opacity", 1.5, "Min: 0.0, Max: 1.0"),
        ("mode", "bidirectional", "causal, full"),
        ("device", "cpu", "configured"),
    ):
        result = camera.set_parameter(name, value)
        assert not result.successful
        assert name in result.reason
        assert allowed in result.reason


def test_the_keyframe_interval_changes_between_frames(camera: Camera) -> None:
    assert camera.set_parameter("keyframe_interval", 2).successful
    timings = [camera.ask(camera.picture(81, 80, seed=i))[1] for i in range(5)]
    assert camera.set_parameter("keyframe_interval", 5).successful
    assert [t.is_keyframe for t in timings] == [True, False, True, False, True]


def test_the_lifecycle_goes_round_and_the_node_segments_again(camera: Camera) -> None:
    def change(transition: int) -> bool:
        client = camera.node.create_client(ChangeState, "/segmentation/change_state")
        camera.wait(client.service_is_ready, what="the lifecycle service")
        future = client.call_async(ChangeState.Request(transition=Transition(id=transition)))
        camera.wait(future.done, what="a transition")
        return future.result().success

    assert change(Transition.TRANSITION_DEACTIVATE)
    assert camera.status(lambda s: True)["state"] == "inactive"
    assert change(Transition.TRANSITION_CLEANUP)
    assert camera.set_parameter("num_threads", 1).successful
    assert change(Transition.TRANSITION_CONFIGURE)
    assert change(Transition.TRANSITION_ACTIVATE)
    camera.wait_for_node()
    _, timing = camera.ask(camera.picture())
    assert timing.index >= 0
