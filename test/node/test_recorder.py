"""The recorder: a node that begins anew loses no frame, and what cannot be written ends it with a sentence."""

from __future__ import annotations

import csv
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from node_process import own_domain
from rclpy.context import Context
from rclpy.qos import QoSProfile
from repeating import repeated
from sensor_msgs.msg import Image

from dcfm_ros.node.messages import header_of, image_message, timing_message
from dcfm_ros.node.recorder import Recorder, main
from dcfm_ros.streaming.timing import Timing

TIMING = "/segmentation/timing"


@pytest.fixture(autouse=True)
def _environment(ros_environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in ros_environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("ROS_DOMAIN_ID", str(own_domain()))


def timing(stamp_ns: int, index: int) -> DiagnosticArray:
    milliseconds = dict.fromkeys(("prepare", "shallow", "motion", "common", "align", "decide", "background"), 0.0)
    values = {f"{stage}_ms": value for stage, value in milliseconds.items()}
    made = Timing(index, index == 0, "first", 0, index, 0.0, latency_ms=1.0, shares={}, **values)
    return timing_message(header_of(stamp_ns, "camera"), made)


@contextmanager
def published(messages: Callable[[], dict[str, Any]]) -> Iterator[None]:
    """Again and again, on a thread, what `messages` gives by topic."""
    context = Context()
    rclpy.init(context=context)
    node = rclpy.create_node("segmentation", context=context)
    publishers: dict[str, Any] = {}

    def publish() -> None:
        for topic, message in messages().items():
            if topic not in publishers:
                publishers[topic] = node.create_publisher(type(message), topic, QoSProfile(depth=100))
            publishers[topic].publish(message)

    try:
        with repeated(publish, pause_s=0.1):
            yield
    finally:
        node.destroy_node()
        rclpy.try_shutdown(context=context)


def recorded(folder: Path, sent: Sequence[tuple[int, int]]) -> None:
    """Timings alone, of these stamps and indices."""
    rclpy.init()
    recorder = Recorder(folder, 10.0, pictures=False)
    robot = rclpy.create_node("segmentation")
    publisher = robot.create_publisher(DiagnosticArray, TIMING, QoSProfile(depth=100))
    try:
        end = time.monotonic() + 20
        while not (recorder.is_matched() and publisher.get_subscription_count()) and time.monotonic() < end:
            rclpy.spin_once(recorder, timeout_sec=0.1)
        for stamp_ns, index in sent:
            publisher.publish(timing(stamp_ns, index))
            rclpy.spin_once(recorder, timeout_sec=2.0)
        recorder.close()
    finally:
        robot.destroy_node()
        recorder.destroy_node()
        rclpy.try_shutdown()


def picture_of(stamp_ns: int) -> dict[str, DiagnosticArray | Image]:
    """A frame's timing, mask and overlay; its number is its stamp."""
    header = header_of(stamp_ns, "camera")
    return {
        TIMING: timing(stamp_ns, stamp_ns),
        "/segmentation/mask": image_message(header, np.zeros((4, 6), np.uint8), "mono"),
        "/segmentation/overlay": image_message(header, np.zeros((4, 6, 3), np.uint8), "rgb"),
    }


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "timing.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_frames_of_a_node_that_began_anew_are_recorded_too(tmp_path: Path) -> None:
    sent = [(1_000 + index, index) for index in (0, 1, 2)] + [(2_000, 0), (2_001, 1), (2_001, 1), (2_002, 2)]
    recorded(tmp_path, sent)
    assert [(row["stamp"][-4:], row["index"], row["keyframe_index"]) for row in rows(tmp_path)] == [
        *(("1000", "0", "0"), ("1001", "1", "0"), ("1002", "2", "0")),
        *(("2000", "3", "3"), ("2001", "4", "3"), ("2002", "5", "3")),
    ]


def test_frames_without_stamps_are_recorded_without_pictures(tmp_path: Path) -> None:
    recorded(tmp_path, [(0, 0), (0, 1), (0, 2), (0, 0), (0, 1)])
    assert [row["index"] for row in rows(tmp_path)] == ["0", "1", "2", "3", "4"]


def test_the_first_frame_of_a_simulation_has_the_stamp_0_and_is_passed_over(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Simulated time begins at 0. Here it does so again and again: the second time cannot be a beginning."""
    ticks = count()
    with published(lambda: picture_of(next(ticks) % 25)):
        assert main(["segmentation_recorder", str(tmp_path)]) == 1
    assert "has the stamp 0" in capfd.readouterr().err
    assert list((tmp_path / "masks").iterdir())
    assert "0" not in {row["stamp"] for row in rows(tmp_path)}


def test_pictures_without_stamps_are_refused(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with published(lambda: picture_of(0)):
        assert main(["segmentation_recorder", str(tmp_path)]) == 1
    told = capfd.readouterr().err
    assert "has the stamp 0, by which mask, overlay and timing of a frame are joined; expected" in told
    assert "--no-pictures" in told
    assert not list((tmp_path / "masks").iterdir())


def test_a_mask_that_cannot_be_written_ends_the_recording(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "masks" / "000000.png.partial").mkdir(parents=True)
    header = header_of(1_000, "camera")
    messages: dict[str, DiagnosticArray | Image] = {
        TIMING: timing(1_000, 0),
        "/segmentation/mask": image_message(header, np.zeros((4, 6), np.uint8), "mono"),
        "/segmentation/overlay": image_message(header, np.zeros((4, 6, 3), np.uint8), "rgb"),
    }
    with published(lambda: messages):
        assert main(["segmentation_recorder", str(tmp_path)]) == 1
    told = capfd.readouterr().err
    assert f"recorder: {tmp_path}/masks/000000.png cannot be written" in told
    assert "Traceback" not in told
    assert (tmp_path / "timing.csv").is_file()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["/proc/nothing/there"], "/proc/nothing"),
        (["{folder}", "--rate", "0"], "rate_hz is 0.0; expected a positive number"),
        (["{folder}", "--ros-args", "-p"], "Couldn't parse trailing -p flag"),
    ],
)
def test_what_cannot_be_recorded_is_told_in_a_sentence(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    assert main(["segmentation_recorder", *(word.format(folder=tmp_path) for word in arguments)]) == 1
    told = capfd.readouterr().err
    assert "recorder: " in told and said in told
    assert "Traceback" not in told
