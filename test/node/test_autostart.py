"""A node that starts itself, beside lifecycle managers, launch and the command line."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import rclpy
from lifecycle_msgs.msg import State, Transition
from lifecycle_msgs.srv import ChangeState, GetState
from node_in_process import Rig, rig
from node_process import SMALL, NodeProcess, own_domain
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor

CHANGE_STATE = "/segmentation/change_state"
WAIT_S = 60


class Manager:
    """Brings a node up as Nav2's lifecycle manager does: the answer to a request is not looked at, but the state after
    it, and where that is another than it should be the bring-up is given up.
    """

    def __init__(self, context: Context) -> None:
        self.node = rclpy.create_node("lifecycle_manager_perception", context=context)
        self._executor = SingleThreadedExecutor(context=context)
        self._change = self.node.create_client(ChangeState, CHANGE_STATE)
        self._get = self.node.create_client(GetState, "/segmentation/get_state")

    def bring_up(self) -> list[int]:
        """The states after configuring and after activating, as far as they are right."""
        assert self._get.wait_for_service(WAIT_S)
        assert self._change.wait_for_service(WAIT_S)
        states = []
        for transition, goal in (
            (Transition.TRANSITION_CONFIGURE, State.PRIMARY_STATE_INACTIVE),
            (Transition.TRANSITION_ACTIVATE, State.PRIMARY_STATE_ACTIVE),
        ):
            self._answer(self._change, ChangeState.Request(transition=Transition(id=transition)))
            if self._answer(self._get, GetState.Request()).current_state.id != goal:
                break
            states.append(goal)
        return states

    def _answer(self, client: Any, request: Any) -> Any:
        future = client.call_async(request)
        rclpy.spin_until_future_complete(self.node, future, self._executor, WAIT_S)
        assert future.done(), client.srv_name
        return future.result()


@pytest.mark.parametrize("first", ["manager", "node"])
def test_a_manager_that_is_there_brings_the_node_up(
    ros_environment: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, first: str
) -> None:
    for name in (name for name in ros_environment if "PROFILES_FILE" in name):
        monkeypatch.setenv(name, ros_environment[name])
    domain = own_domain()
    context = Context()
    rclpy.init(context=context, domain_id=domain)
    environment = ros_environment | {"ROS_DOMAIN_ID": str(domain)}
    manager = Manager(context) if first == "manager" else None
    node = NodeProcess(environment, SMALL | {"backend": "torch"}, tmp_path / "log")
    manager = manager or Manager(context)
    try:
        assert manager.bring_up() == [State.PRIMARY_STATE_INACTIVE, State.PRIMARY_STATE_ACTIVE], node.output
        left = "/lifecycle_manager_perception can change this node's state: configuring and activating are left to it"
        assert left in node.output
        assert node.stop() == 0
    finally:
        if node.process.poll() is None:
            node.process.kill()
            node.process.wait()
        manager.node.destroy_node()
        rclpy.try_shutdown(context=context)


@pytest.fixture
def ready(monkeypatch: pytest.MonkeyPatch, ros_environment: dict[str, str]) -> Iterator[Rig]:
    """Not yet configured, and quick to look for managers."""
    monkeypatch.setattr("dcfm_ros.node.autostart._LOOK_S", 0.02)
    with rig(monkeypatch, ros_environment) as made:
        yield made


def hold(ready: Rig, node: Any) -> Any:
    """A client of the node's that it knows of."""
    client = node.create_client(ChangeState, CHANGE_STATE)
    ready.wait(lambda: ready.node.count_clients(CHANGE_STATE), "the node to notice a client")
    return client


@pytest.mark.parametrize("name", ["launch_ros_4711", "_ros2cli_4711"])
def test_launch_and_the_command_line_are_no_managers(ready: Rig, name: str) -> None:
    other = rclpy.create_node(name, context=ready.node.context)
    hold(ready, other)
    assert ready.node.begin()
    assert ready.state == "active"
    other.destroy_node()


def test_a_node_starts_itself_once_a_manager_that_did_nothing_is_gone(
    ready: Rig, capfd: pytest.CaptureFixture[str]
) -> None:
    client = hold(ready, ready.robot)
    assert ready.node.begin()
    said = ""

    def is_told_again() -> bool:
        nonlocal said
        said += capfd.readouterr().err
        return "/robot has not activated this node for" in said

    ready.wait(is_told_again, "a line about who does nothing")
    assert "/robot can change this node's state: configuring and activating are left to it" in said
    assert ready.state == "unconfigured"
    ready.robot.destroy_client(client)
    ready.wait(lambda: ready.state == "active", "the node to start itself")


def test_a_manager_that_comes_while_a_node_configures_itself_activates_it(
    ready: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    configure = ready.node.trigger_configure

    def meanwhile() -> Any:
        hold(ready, ready.robot)
        return configure()

    monkeypatch.setattr(ready.node, "trigger_configure", meanwhile)
    assert ready.node.begin()
    assert ready.state == "inactive"
    activate = Transition(id=Transition.TRANSITION_ACTIVATE)
    assert ready.call(ChangeState, CHANGE_STATE, transition=activate).success
    assert not ready.node._autostart.is_due
    assert ready.state == "active"


def test_a_node_that_a_manager_configured_stays_as_it_was_left(ready: Rig) -> None:
    client = hold(ready, ready.robot)
    assert ready.node.begin()
    configure = Transition(id=Transition.TRANSITION_CONFIGURE)
    assert ready.call(ChangeState, CHANGE_STATE, transition=configure).success
    ready.robot.destroy_client(client)
    assert not ready.node._autostart.is_due
    assert ready.state == "inactive"


def test_without_autostart_nothing_happens(monkeypatch: pytest.MonkeyPatch, ros_environment: dict[str, str]) -> None:
    with rig(monkeypatch, ros_environment, {"autostart": False}) as made:
        assert made.node.begin()
        assert made.state == "unconfigured"
        assert not made.node._autostart.is_due
