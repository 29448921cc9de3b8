"""Requests that fit no state and no type, and what else a callback may raise: the node lives, and answers."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState, GetAvailableStates, GetAvailableTransitions, GetState
from node_in_process import Rig, rig
from node_process import Camera, running
from rcl_interfaces.msg import Parameter, ParameterValue
from rcl_interfaces.srv import (
    DescribeParameters,
    GetParameters,
    GetParameterTypes,
    ListParameters,
    SetParameters,
    SetParametersAtomically,
)
from rclpy.parameter import Parameter as RosParameter
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import Image
from std_srvs.srv import SetBool, Trigger

from dcfm_ros.node.parameter_table import PARAMETERS

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "100"))

CONFIGURE, CLEANUP, ACTIVATE, DEACTIVATE = 1, 2, 3, 4
UNCONFIGURED_SHUTDOWN, INACTIVE_SHUTDOWN, ACTIVE_SHUTDOWN = 5, 6, 7


@pytest.fixture
def ready(monkeypatch: pytest.MonkeyPatch, ros_environment: dict[str, str]) -> Iterator[Rig]:
    with rig(monkeypatch, ros_environment) as made:
        yield made


def change(node: Rig, number: int, label: str = "") -> bool:
    request = Transition(id=number, label=label)
    return bool(node.call(ChangeState, "/segmentation/change_state", transition=request).success)


def state_told(node: Rig) -> str:
    """What ROS says of it."""
    return str(node.call(GetState, "/segmentation/get_state").current_state.label)


@pytest.mark.parametrize(
    ("before", "requests"),
    [
        ((), (CLEANUP, ACTIVATE, DEACTIVATE, INACTIVE_SHUTDOWN, ACTIVE_SHUTDOWN, 0, 8, 10, 99, 255)),
        ((CONFIGURE,), (CONFIGURE, DEACTIVATE, UNCONFIGURED_SHUTDOWN, ACTIVE_SHUTDOWN, 99)),
        ((CONFIGURE, ACTIVATE), (CONFIGURE, CLEANUP, ACTIVATE, UNCONFIGURED_SHUTDOWN, INACTIVE_SHUTDOWN, 20, 99)),
        ((UNCONFIGURED_SHUTDOWN,), (CONFIGURE, CLEANUP, ACTIVATE, DEACTIVATE, UNCONFIGURED_SHUTDOWN, 99)),
    ],
    ids=["unconfigured", "inactive", "active", "finalized"],
)
def test_a_transition_that_the_state_does_not_have_is_refused_and_changes_nothing(
    ready: Rig, before: tuple[int, ...], requests: tuple[int, ...]
) -> None:
    assert all(change(ready, number) for number in before)
    state = ready.state
    for number in requests:
        assert not change(ready, number)
        assert (ready.state, state_told(ready)) == (state, state)
    assert not change(ready, CONFIGURE, label="no such transition")
    if state == "active":
        ready.answered(lambda: ready.picture(3), [ready.listen(Image, "/segmentation/mask")])


def test_a_lifecycle_manager_works_beside_a_node_that_started_itself(ready: Rig) -> None:
    """As Nav2's does: it brings up, pauses, resumes, resets, brings up again and shuts down."""
    assert ready.node.start()
    masks = ready.listen(Image, "/segmentation/mask")
    for refused in (CONFIGURE, ACTIVATE):
        assert not change(ready, refused)
        assert state_told(ready) == "active"
    ready.answered(lambda: ready.picture(1), [masks])
    for transition, state in (
        (DEACTIVATE, "inactive"),
        (ACTIVATE, "active"),
        (DEACTIVATE, "inactive"),
        (CLEANUP, "unconfigured"),
        (CONFIGURE, "inactive"),
        (ACTIVATE, "active"),
    ):
        assert change(ready, transition)
        assert (ready.state, state_told(ready)) == (state, state)
    ready.answered(lambda: ready.picture(2), [masks])
    for transition in (DEACTIVATE, CLEANUP, UNCONFIGURED_SHUTDOWN):
        assert change(ready, transition)
    assert state_told(ready) == "finalized"


def test_another_try_of_a_lost_engine_leaves_a_node_alone_that_a_manager_shut_down(ready: Rig) -> None:
    assert ready.node.start()
    ready.node._pipeline.give_up("the device is lost")
    ready.wait(lambda: ready.state == "unconfigured", "the node to give up")
    assert ready.node._autostart.is_due
    assert change(ready, UNCONFIGURED_SHUTDOWN)
    assert not ready.node._autostart.is_due
    assert state_told(ready) == "finalized"


def test_another_try_of_a_lost_engine_leaves_a_node_alone_that_a_manager_took_over(ready: Rig) -> None:
    assert ready.node.start()
    ready.node._pipeline.give_up("the device is lost")
    ready.wait(lambda: ready.state == "unconfigured", "the node to give up")
    assert ready.node._autostart.is_due
    assert change(ready, CONFIGURE)
    assert change(ready, CLEANUP)
    assert not ready.node._autostart.is_due
    assert state_told(ready) == "unconfigured"


@pytest.mark.parametrize("error", [KeyError, SystemExit])
@pytest.mark.parametrize(
    ("broken", "before", "request_id", "state"),
    [
        ("configured.Network", (), CONFIGURE, "unconfigured"),
        ("segmentation_node.SegmentationNode.create_subscription", (CONFIGURE,), ACTIVATE, "unconfigured"),
        ("camera_input.CameraInputs.unsubscribe", (CONFIGURE, ACTIVATE), DEACTIVATE, "finalized"),
        ("segmentation_node.SegmentationNode._free", (CONFIGURE,), INACTIVE_SHUTDOWN, "finalized"),
    ],
)
def test_whatever_ends_a_transition_is_logged(
    ready: Rig,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    broken: str,
    before: tuple[int, ...],
    request_id: int,
    state: str,
    error: type[BaseException],
) -> None:
    def fail(*arguments: Any, **others: Any) -> None:
        # Made here: one that outlives the test would hold the node by its traceback, and DDS dies of that at the exit.
        raise error("a library's own")

    assert all(change(ready, number) for number in before)
    with monkeypatch.context() as patch:
        patch.setattr(f"dcfm_ros.node.{broken}", fail)
        change(ready, request_id)
    assert "a library's own" in capfd.readouterr().err
    assert (ready.state, state_told(ready)) == (state, state)


def test_each_parameter_of_a_request_has_an_answer_of_its_own(ready: Rig) -> None:
    unknown, valid = Parameter(name="no_such_parameter"), RosParameter("min_confidence", value=0.5).to_parameter_msg()
    results = ready.call(
        SetParameters, "/segmentation/set_parameters", parameters=[of_type(77), unknown, of_type(10), valid]
    ).results
    assert [result.successful for result in results] == [False, False, False, True]
    assert all(result.reason for result in results[:3])
    assert ready.node.get_parameter("min_confidence").value == 0.5


def test_a_process_lives_on_after_requests_and_messages_that_raise(
    ros_environment: dict[str, str], tmp_path: Path
) -> None:
    with running(ros_environment, tmp_path / "log", {"backend": "torch", "use_sim_time": "true"}) as (node, camera):
        for number in (CONFIGURE, CLEANUP, 99):
            assert not asked(camera, ChangeState, "change_state", transition=Transition(id=number)).success
        [result] = asked(camera, SetParameters, "set_parameters", parameters=[of_type(77)]).results
        assert not result.successful
        assert "77" in result.reason
        clock = camera.node.create_publisher(Clock, "/clock", 10)
        camera.wait(clock.get_subscription_count, what="the node to listen to the time")
        before = Clock()
        before.clock.sec = -5

        def is_told() -> bool:
            clock.publish(before)  # best effort: one alone may be lost
            return "a callback failed" in node.output

        camera.wait(is_told, what="a line about the time")
        camera.ask(camera.picture())
        assert node.stop() == 0


def asked(camera: Camera, kind: Any, service: str, **fields: Any) -> Any:
    client = camera.node.create_client(kind, f"/segmentation/{service}")
    camera.wait(client.service_is_ready, what=service)
    future = client.call_async(kind.Request(**fields))
    camera.wait(future.done, what=f"the answer of {service}")
    return future.result()


def of_type(number: int) -> Parameter:
    return Parameter(name="min_confidence", value=ParameterValue(type=number))


integers = st.sampled_from([-(2**63), -1, 0, 1, 5, 64, 96, 2**31, 2**63 - 1])
numbers = st.floats() | st.sampled_from([0.0, 0.5, 1.0])
words = st.text(max_size=8) | st.sampled_from(["", "auto", "full", "fixed", "adaptive", "compressed", "/nowhere"])
values = st.builds(
    ParameterValue,
    type=st.integers(0, 10) | st.integers(0, 255),
    bool_value=st.booleans(),
    integer_value=integers,
    double_value=numbers,
    string_value=words,
    byte_array_value=st.just([b"\x00"]),
    bool_array_value=st.lists(st.booleans(), max_size=4),
    integer_array_value=st.lists(integers, max_size=4),
    double_array_value=st.lists(numbers, max_size=4),
    string_array_value=st.lists(words, max_size=3),
)
names = st.sampled_from([*(p.name for p in PARAMETERS), "use_sim_time", "front.output_size"]) | st.text(max_size=8)
parameters = st.lists(st.builds(Parameter, name=names, value=values), max_size=3)
labels = st.sampled_from(["", "", "", "configure", "activate", "shutdown", "transition_error"]) | st.text(max_size=8)
transitions = st.builds(Transition, id=st.integers(0, 8) | st.integers(0, 255), label=labels)


def requests_of(kind: Any, service: str, **fields: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.fixed_dictionaries(fields).map(lambda drawn: (kind, f"/segmentation/{service}", drawn))


requests = st.one_of(
    requests_of(ChangeState, "change_state", transition=transitions),
    requests_of(SetParameters, "set_parameters", parameters=parameters),
    requests_of(SetParametersAtomically, "set_parameters_atomically", parameters=parameters),
    requests_of(GetParameters, "get_parameters", names=st.lists(names, max_size=3)),
    requests_of(GetParameterTypes, "get_parameter_types", names=st.lists(names, max_size=3)),
    requests_of(DescribeParameters, "describe_parameters", names=st.lists(names, max_size=3)),
    requests_of(
        ListParameters, "list_parameters", prefixes=st.lists(names, max_size=2), depth=st.integers(0, 2**64 - 1)
    ),
    requests_of(GetAvailableStates, "get_available_states"),
    requests_of(GetAvailableTransitions, "get_transition_graph"),
    requests_of(SetBool, "set_enabled", data=st.booleans()),
    requests_of(Trigger, "force_keyframe"),
)


def test_fuzz_of_lifecycle_and_parameter_services(
    monkeypatch: pytest.MonkeyPatch, ros_environment: dict[str, str]
) -> None:
    """Every request is answered, ROS and the node agree about the state, and one that sets all refuses or sets all."""
    with ExitStack() as open_nodes:
        nodes: list[Fuzzed] = []

        @settings(max_examples=EXAMPLES, suppress_health_check=list(HealthCheck))
        @given(requests)
        def answer(request: tuple[type, str, dict[str, Any]]) -> None:
            if not nodes or nodes[-1].rig.state == "finalized":  # from which no way leads back
                open_nodes.close()
                nodes.append(Fuzzed(open_nodes.enter_context(rig(monkeypatch, ros_environment))))
            node = nodes[-1]
            kind, service, fields = request
            response = node.ask(kind, service, **fields)
            if kind is SetParameters:
                assert len(response.results) == len(fields["parameters"])
                assert all(result.successful or result.reason for result in response.results)
            if kind is SetParametersAtomically and fields["parameters"]:
                assert response.result.successful or response.result.reason
            told = node.ask(GetState, "/segmentation/get_state").current_state.label
            assert told == node.rig.state

        answer()
        node = nodes[-1]
        if node.rig.state != "finalized":
            assert node.ask(ListParameters, "/segmentation/list_parameters").result.names


class Fuzzed:
    """A node, and a client for each of its services."""

    def __init__(self, made: Rig) -> None:
        self.rig = made
        self._clients: dict[str, Any] = {}

    def ask(self, kind: Any, service: str, **fields: Any) -> Any:
        if service not in self._clients:
            self._clients[service] = self.rig.robot.create_client(kind, service)
            self.rig.wait(self._clients[service].service_is_ready, service)
            time.sleep(0.1)  # the answer's way is matched after the question's
        future = self._clients[service].call_async(kind.Request(**fields))
        return self.rig.wait(lambda: future.done() and future.result(), f"the answer of {service} to {fields}")


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("weights", "other.safetensors", "clean the node up to change it"),
        ("autostart", False, "read-only"),
        ("cameras", ["front"], "read-only"),
    ],
)
def test_what_cannot_change_now_is_refused_with_the_reason(ready: Rig, name: str, value: Any, said: str) -> None:
    """What is read when the process starts is not advised to be changed by a clean-up, which would change nothing."""
    assert change(ready, Transition.TRANSITION_CONFIGURE)
    before = ready.node.get_parameter(name).value
    answer = ready.set_parameter(name, value)
    assert (answer.successful, said in answer.reason) == (False, True), answer.reason
    assert ready.node.get_parameter(name).value == before
