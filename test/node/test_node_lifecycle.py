"""What the node survives: transitions without end, engines that take long to build, and engines that fail."""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from fake_backend import FakeBackend
from node_in_process import Rig, rig
from rclpy.lifecycle import TransitionCallbackReturn
from sensor_msgs.msg import Image

from dcfm_ros.node.network import Network
from dcfm_ros.node.parameters import read_settings
from dcfm_ros.node.worker import UnwantedError

SUCCESS = TransitionCallbackReturn.SUCCESS


@dataclass
class Building:
    """A build that ends when the test lets it, or when it is cancelled."""

    may_end: threading.Event
    cancelled: threading.Event = field(default_factory=threading.Event)
    progress = SimpleNamespace(graph="common", number=2, graphs=4, fraction=0.25)

    def cancel(self) -> None:
        self.cancelled.set()

    def result(self) -> None:
        while not self.cancelled.is_set():
            if self.may_end.wait(0.01):
                return
        raise RuntimeError("the build was cancelled")


class Built(FakeBackend):
    """A backend whose engines take as long as the test wants."""

    may_end = threading.Event()

    def prepare(self, size: tuple[int, int], ids_size: tuple[int, int]) -> Building:
        return Building(self.may_end)


class Failing(FakeBackend):
    """A device that is lost."""

    def encode_shallow(self, image: Any) -> int:
        if image.any():  # warm-up works
            raise RuntimeError("the device is lost")
        return 0


def send_until_it_is_not_active(node: Rig) -> None:
    """One image after the other; the last to fail takes the node out of service."""
    for _ in range(10):
        before = node.counts().received
        node.send(node.picture(1))
        node.wait(lambda before=before: node.counts().received > before and not node.counts().pending)
        node.turn()
        if node.state != "active":
            return


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch, ros_environment: dict[str, str]) -> Iterator[Rig]:
    Built.may_end.clear()
    monkeypatch.setattr("dcfm_ros.node.configured._WAIT_S", 0.05)
    with rig(monkeypatch, ros_environment, backends=Built) as made:
        yield made
        Built.may_end.set()


def test_frames_are_skipped_while_an_engine_is_built_and_diagnostics_say_so(slow: Rig) -> None:
    assert slow.node.start()
    _, said, _ = slow.status(lambda s: "building" in s.message)
    assert "building engine 2 of 4 (common): 25%" in said
    slow.send(slow.picture(1))
    slow.wait(lambda: slow.counts().skipped == 1)
    Built.may_end.set()
    masks = slow.listen(Image, "/segmentation/mask")
    slow.answered(lambda: slow.picture(2), [masks])
    assert slow.counts().failed == 0
    # Another size is built in the middle of the stream: nothing is dropped for it.
    slow.wait(lambda: not slow.counts().pending)
    Built.may_end.clear()
    before = slow.counts()
    slow.send(slow.picture(3, (8, 10)))
    slow.status(lambda s: "building" in s.message)
    slow.send(slow.picture(4, (8, 10)))
    slow.wait(lambda: slow.counts().skipped == before.skipped + 1)
    assert slow.counts().dropped == before.dropped
    Built.may_end.set()
    slow.answered(lambda: slow.picture(5, (8, 10)), [masks])


def test_a_frame_that_an_engine_is_built_for_is_dropped_when_the_node_is_deactivated(slow: Rig) -> None:
    Built.may_end.set()
    assert slow.node.start()
    masks = slow.listen(Image, "/segmentation/mask")
    slow.answered(lambda: slow.picture(1), [masks])
    slow.wait(lambda: not slow.counts().pending)
    Built.may_end.clear()
    before = slow.counts()
    late = slow.picture(2, (8, 10))
    slow.send(late)
    slow.status(lambda s: "building" in s.message)
    assert slow.node.trigger_deactivate() == SUCCESS
    Built.may_end.set()
    slow.wait(lambda: not slow.counts().pending)
    assert slow.counts() == replace(before, received=before.received + 1, dropped=before.dropped + 1)
    assert slow.node.trigger_activate() == SUCCESS
    slow.answered(lambda: slow.picture(3, (8, 10)), [masks])
    assert late.header.stamp not in [mask.header.stamp for mask in masks]


@pytest.mark.parametrize("is_active", [False, True])
def test_a_build_is_cancelled_when_the_node_is_cleaned_up(slow: Rig, is_active: bool) -> None:
    assert slow.node.trigger_configure() == SUCCESS
    if is_active:
        assert slow.node.trigger_activate() == SUCCESS
        assert slow.node.trigger_deactivate() == SUCCESS
    assert slow.node.trigger_cleanup() == SUCCESS
    assert slow.state == "unconfigured"
    slow.status(lambda s: s.message == "the node is unconfigured")
    assert not [thread for thread in threading.enumerate() if thread.name in ("inference", "publishing")]


@pytest.mark.parametrize("is_cleaned_up", [True, False], ids=["cleaned up", "shut down"])
def test_a_frame_whose_engine_is_not_built_to_the_end_has_not_failed(slow: Rig, is_cleaned_up: bool) -> None:
    Built.may_end.set()
    assert slow.node.start()
    slow.answered(lambda: slow.picture(1), [slow.listen(Image, "/segmentation/mask")])
    slow.wait(lambda: not slow.counts().pending)
    Built.may_end.clear()
    before = slow.counts()
    slow.send(slow.picture(2, (8, 10)))
    slow.status(lambda s: "building" in s.message)
    if is_cleaned_up:
        assert slow.node.trigger_deactivate() == SUCCESS
        assert slow.node.trigger_cleanup() == SUCCESS
    else:
        assert slow.node.trigger_shutdown() == SUCCESS
    assert slow.counts() == replace(before, received=before.received + 1, dropped=before.dropped + 1)
    slow.status(lambda s: s.message == f"the node is {slow.state}")


def test_a_build_that_begins_after_it_was_cancelled_ends_too(slow: Rig) -> None:
    Built.may_end.set()
    network = Network(read_settings(slow.node, slow.node._cameras))
    network.cancel()
    with pytest.raises(UnwantedError):
        network.prepare()
    network.close()


def test_a_configuration_that_fails_leaves_nothing_and_the_next_works(
    monkeypatch: pytest.MonkeyPatch, ros_environment: dict[str, str]
) -> None:
    made = [FakeBackend(fail_on="shallow 0"), FakeBackend()]
    with rig(monkeypatch, ros_environment, backends=lambda: made.pop(0)) as node:
        assert node.node.trigger_configure() != SUCCESS
        assert node.state == "unconfigured"
        level, said, _ = node.status(lambda s: True)
        assert level == DiagnosticStatus.ERROR
        assert "cannot be configured: the network cannot be made ready: shallow 0" in said
        assert node.node.start()
        node.answered(lambda: node.picture(1), [node.listen(Image, "/segmentation/mask")])


@pytest.mark.parametrize("end", ["cleanup", "shutdown"])
def test_why_it_cannot_be_activated_is_told_until_the_node_lets_go_of_what_it_had(
    monkeypatch: pytest.MonkeyPatch, ros_environment: dict[str, str], end: str
) -> None:
    with rig(monkeypatch, ros_environment, {"qos_overrides./image.subscription.reliability": "now_and_then"}) as node:
        assert not node.node.start()
        node.status(lambda s: "cannot be activated" in s.message)
        assert getattr(node.node, f"trigger_{end}")() == SUCCESS
        level, _, _ = node.status(lambda s: s.message == f"the node is {node.state}")
        assert level == DiagnosticStatus.WARN


def test_an_engine_that_is_lost_is_given_up_and_another_taken(
    monkeypatch: pytest.MonkeyPatch, ros_environment: dict[str, str]
) -> None:
    made = [Failing(), FakeBackend()]
    with rig(monkeypatch, ros_environment, backends=lambda: made.pop(0)) as node:
        assert node.node.start()
        send_until_it_is_not_active(node)
        assert node.state == "unconfigured"
        assert node.counts().failed == 5
        level, said, _ = node.status(lambda s: "in a row" in s.message)
        assert level == DiagnosticStatus.ERROR
        assert "the device is lost" in said
        node.wait(lambda: node.state == "active", "another engine")
        node.answered(lambda: node.picture(2), [node.listen(Image, "/segmentation/mask")])


def test_without_autostart_a_lost_engine_is_left_to_the_manager(
    monkeypatch: pytest.MonkeyPatch, ros_environment: dict[str, str]
) -> None:
    with rig(monkeypatch, ros_environment, {"autostart": False}, Failing) as node:
        assert node.node.start()
        send_until_it_is_not_active(node)
        assert not node.node._autostart.is_due


def test_round_trips_leave_no_threads_and_no_open_files(
    monkeypatch: pytest.MonkeyPatch, ros_environment: dict[str, str]
) -> None:
    def held() -> tuple[int, int]:
        gc.collect()  # what earlier tests left
        return threading.active_count(), len(list(Path("/proc/self/fd").iterdir()))

    def let_through() -> FakeBackend:
        backend = FakeBackend()
        backend.let_through.set()
        return backend

    with rig(monkeypatch, ros_environment, {"keyframe_mode": "async"}, let_through) as node:
        for count in range(30):
            assert node.node.start()
            if count % 10 == 0:
                node.send(node.picture(count))
                node.wait(lambda: not node.counts().pending)
            assert node.node.trigger_deactivate() == SUCCESS
            assert node.node.trigger_activate() == SUCCESS
            assert node.node.trigger_deactivate() == SUCCESS
            assert node.node.trigger_cleanup() == SUCCESS
            if count == 10:
                before = held()
        assert all(now <= then for now, then in zip(held(), before, strict=True)), (held(), before)
