"""`dcfm replay` over real DDS: what a camera's readers get, and masks that are those of `dcfm segment`."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from fake_backend import FakeBackend
from moving_pictures import moved, texture
from node_in_process import Rig, rig
from recorded_camera import INFO, PERIOD_NS, START_NS, compressed, uyvy, write_camera
from repeating import repeated
from report_inputs import with_small_network
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CameraInfo, Image

from dcfm_ros.imaging.frame import stamp_ns
from dcfm_ros.node import playback
from dcfm_ros.node.playback import pace, played_images
from dcfm_ros.recordings import open_recording
from dcfm_ros.streaming.backends.select import create_backend

FRAMES = 8


@pytest.fixture(scope="module")
def bag(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A camera that does not send pixels as they lie in a picture, and has padding behind each row."""
    picture = texture(64, 96)
    images = [uyvy(moved(picture, 3 * i, i), padding=6) for i in range(FRAMES)]
    return write_camera(tmp_path_factory.mktemp("bag") / "drive", images)


@contextmanager
def turning(node: Rig, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The rig lives on a thread, in the ROS domain that this process's commands now use."""
    monkeypatch.setenv("ROS_DOMAIN_ID", str(node.robot.context.get_domain_id()))
    with repeated(node.turn):
        yield


def pixels(message: Image) -> np.ndarray:
    return np.frombuffer(message.data, np.uint8).reshape(message.height, message.step)


def test_masks_are_those_of_segment_at_any_rate(
    called: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    ros_environment: dict[str, str],
    bag: Path,
    tmp_path: Path,
) -> None:
    network = [*with_small_network(tmp_path), "--device", "cpu", "--num-threads", "1"]
    done = called("segment", str(bag), "--output", str(tmp_path / "out"), "--save", "masks", *network)
    assert done.returncode == 0, done.stderr
    files = sorted((tmp_path / "out" / "masks").iterdir())
    expected = [cv2.imread(str(file), cv2.IMREAD_UNCHANGED) for file in files]
    assert len({mask.tobytes() for mask in expected if mask is not None}) == FRAMES

    parameters = {"input_size": [0, 0], "align": "flow"}
    backend = create_backend(tmp_path / "small.safetensors", "torch", "cpu", 1)
    with rig(monkeypatch, ros_environment, parameters, lambda: backend) as node:
        assert node.node.start()
        masks = node.listen(Image, "/segmentation/mask")
        with turning(node, monkeypatch):
            for rate in ([], ["--rate", "30"], ["--speed", "1"]):
                masks.clear()
                done = called("replay", str(bag), "--lossless", "--resend-after", "1", *rate)
                assert done.returncode == 0, done.stderr
                found = {stamp_ns(mask.header): pixels(mask) for mask in masks}  # once, however often it was sent
                assert list(found) == [START_NS + i * PERIOD_NS for i in range(FRAMES)]
                for mask, same in zip(found.values(), expected, strict=True):
                    np.testing.assert_array_equal(mask, same)


def test_arguments_that_ros_cannot_read_are_told_in_a_sentence(called: Callable[..., Any], bag: Path) -> None:
    for arguments in (["-p"], ["--log-level", "loud"]):
        done = called("replay", str(bag), "--ros-args", *arguments)
        assert done.returncode == 1
        assert done.stderr.startswith("dcfm: ") or "\ndcfm: " in done.stderr


def test_an_image_that_is_sent_again_is_no_new_frame(
    called: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, ros_environment: dict[str, str], bag: Path
) -> None:
    class Slow(FakeBackend):
        def encode_shallow(self, image: np.ndarray) -> int:
            time.sleep(0.1)
            return super().encode_shallow(image)

    backend = Slow()
    with rig(monkeypatch, ros_environment, backends=lambda: backend) as node:
        assert node.node.start()
        backend.calls.clear()  # of the warm-up
        masks = node.listen(Image, "/segmentation/mask")
        with turning(node, monkeypatch):
            done = called("replay", str(bag), "--lossless", "--frames", "3", "--resend-after", "0.02")
        assert done.returncode == 0, done.stderr
        assert node.counts().received > 3
        assert sum(call.startswith("shallow") for call in backend.calls) == 3
        assert {stamp_ns(mask.header) for mask in masks} == {START_NS + i * PERIOD_NS for i in range(3)}


def test_a_camera_is_played_with_its_headers_encoding_calibration_and_time(
    called: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, ros_environment: dict[str, str], bag: Path
) -> None:
    with rig(monkeypatch, ros_environment) as node:
        received: dict[str, list[Any]] = {"/front/image_raw": [], "/front/camera_info": [], "/clock": []}
        for (topic, messages), kind in zip(received.items(), (Image, CameraInfo, Clock), strict=True):
            node.robot.create_subscription(kind, topic, messages.append, 50)
        with turning(node, monkeypatch):
            done = called("replay", str(bag), "--remap", "/front/image_raw")
        assert done.returncode == 0, done.stderr
    images, infos, clocks = received.values()
    stamps = [START_NS + i * PERIOD_NS for i in range(FRAMES)]
    picture = texture(64, 96)
    assert [stamp_ns(image.header) for image in images] == stamps
    for index, image in enumerate(images):
        sent = uyvy(moved(picture, 3 * index, index), padding=6)
        assert (image.header.frame_id, image.encoding, image.step) == ("front_optical", "uyvy", 96 * 2 + 6)
        np.testing.assert_array_equal(pixels(image), sent.data)
    assert [stamp_ns(info.header) for info in infos] == stamps
    assert {(info.width, info.distortion_model, info.header.frame_id) for info in infos} == {
        (96, INFO["distortion_model"], "front_optical")
    }
    for name in "dkrp":
        assert list(getattr(infos[0], name)) == INFO[name]
    times = [clock.clock.sec * 1_000_000_000 + clock.clock.nanosec for clock in clocks]
    assert times == sorted(times)
    assert stamps[0] <= times[0] and times[-1] == stamps[-1]
    for before, after in pairwise(stamps[1:]):
        assert any(before < time < after for time in times)


@pytest.mark.parametrize("storage", ["sqlite3", "ros1"])
def test_what_other_bags_hold_is_played_as_well(tmp_path: Path, storage: str) -> None:
    """Without an own encoding where images are compressed, and with the capitals of ROS 1."""
    picture = texture(64, 96)
    path = write_camera(tmp_path / ("drive.bag" if storage == "ros1" else "drive"), [compressed(picture)] * 2, storage)
    with open_recording(path) as recording:
        played = list(played_images(recording))
    for index, item in enumerate(played):
        assert (item.image.header.frame_id, item.image.encoding, item.image.step) == ("front_optical", "bgr8", 96 * 3)
        np.testing.assert_array_equal(pixels(item.image).reshape(picture.shape), picture[:, :, ::-1])
        [info] = item.infos
        assert stamp_ns(info.header) == item.stamp_ns == START_NS + index * PERIOD_NS
        assert list(info.k) == INFO["k"]


def test_pauses_are_those_of_the_stamps_but_where_a_clock_was_set(bag: Path) -> None:
    with open_recording(bag) as recording:
        assert pace(recording, None, 2.0)(0.5) == 0.25
        assert pace(recording, 50.0, None)(0.5) == 0.02
        assert pace(recording, None, None)(0.5) == 0
        for set_by_s in (-3600.0, 1e9):
            assert pace(recording, None, 2.0)(set_by_s) == pytest.approx(PERIOD_NS / 1e9 / 2)


def test_what_cannot_be_decoded_is_left_out_and_told(
    called: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, ros_environment: dict[str, str], tmp_path: Path
) -> None:
    whole = uyvy(texture(64, 96), padding=0)
    path = write_camera(tmp_path / "drive", [whole, replace(whole, data=whole.data[:5]), whole])
    with rig(monkeypatch, ros_environment) as node:
        images: list[Image] = []
        node.robot.create_subscription(Image, "/image", images.append, 50)
        with turning(node, monkeypatch):
            done = called("replay", str(path))
    assert done.returncode == 0
    assert [stamp_ns(image.header) for image in images] == [START_NS, START_NS + 2 * PERIOD_NS]
    assert "could not be read: message 1 on /front/image_raw" in done.stderr


def test_nobody_there_and_no_answer_are_told(
    called: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, ros_environment: dict[str, str], bag: Path
) -> None:
    monkeypatch.setattr(playback, "_MATCHING_TIMEOUT_S", 0.2)
    monkeypatch.setattr(playback, "_TOLD_AFTER_S", 0.1)
    with rig(monkeypatch, ros_environment) as node, turning(node, monkeypatch):
        done = called("replay", str(bag))
        assert (done.returncode, "nobody listens to /image; no node takes images yet" in done.stderr) == (1, True)
        monkeypatch.setattr(playback, "_MATCHING_TIMEOUT_S", 6.0)  # to find the other node
        node.robot.create_subscription(Image, "/camera/image_raw", print, 1)
        node.robot.create_subscription(Image, "/another/overlay", print, 1)  # which has its sender
        node.robot.create_publisher(Image, "/another/overlay", 1)
        done = called("replay", str(bag), "--lossless")
        missing = "there is no segmentation node between /image and /segmentation/mask; images are taken on "
        missing += "/camera/image_raw: --remap /camera/image_raw"
        assert done.returncode == 1
        assert done.stderr.startswith("player: waiting, as there is no segmentation node between /image and ")
        assert f"gave up after 6 s, as {missing}\n" in done.stderr
        monkeypatch.undo()
        monkeypatch.setenv("ROS_DOMAIN_ID", str(node.robot.context.get_domain_id()))
        node.robot.create_subscription(Image, "/image", print, 1)
        node.robot.create_publisher(Image, "/front/mask", 1)
        remapped = ["--ros-args", "-r", "/segmentation/mask:=/front/mask"]
        done = called("replay", str(bag), "--lossless", "--give-up-after", "0.2", *remapped)
        assert (done.returncode, "got no mask on /front/mask" in done.stderr) == (1, True)
    done = called("replay", str(bag), "--rate", "3", "--speed", "2")
    assert (done.returncode, "expected one of them" in done.stderr) == (2, True)


def test_it_begins_again_until_it_is_interrupted(
    monkeypatch: pytest.MonkeyPatch, ros_environment: dict[str, str], bag: Path
) -> None:
    with rig(monkeypatch, ros_environment) as node:
        images: list[Image] = []
        node.robot.create_subscription(Image, "/image", images.append, 50)
        environment = ros_environment | {"ROS_DOMAIN_ID": str(node.robot.context.get_domain_id())}
        player = subprocess.Popen(
            [sys.executable, "-m", "dcfm_ros.node.player", str(bag), "--loop", "--rate", "100"],
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        node.wait(lambda: len(images) > 2 * FRAMES, "the second time")
        player.send_signal(signal.SIGINT)
        _, said = player.communicate(timeout=20)
    # Kilted warns of the name of the profile that Jazzy needs; a busy machine hears it late.
    usual = ("PROFILES_FILE", "player: waiting, as nobody listens")
    assert (player.returncode, [line for line in said.splitlines() if not any(map(line.count, usual))]) == (130, [])
    assert len({stamp_ns(image.header) for image in images}) == FRAMES
