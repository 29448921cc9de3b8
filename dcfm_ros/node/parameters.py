"""The node's parameters declared, checked and read, as their table says."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import rclpy
from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor, SetParametersResult
from rclpy.node import Node
from rclpy.parameter import Parameter as RosParameter

from dcfm_ros.node.parameter_table import PARAMETERS, Parameter
from dcfm_ros.node.settings import OF_STREAM, PER_CAMERA, CameraSettings, Settings, as_setting
from dcfm_ros.streaming import StreamOptions


def declare(node: Node, configured: Callable[[], bool], apply: Callable[[Mapping[str, Any]], None]) -> tuple[str, ...]:
    """Declare every parameter on `node`, and hold later changes against the table; the cameras' names ("" for one).

    configured: tells whether the node holds what was built from its parameters. apply: called with the changeable
    parameters that change together, by name; it raises ValueError, with nothing changed, for values that do not fit.
    Raises ValueError, in a sentence, for a bad initial value.
    """
    rows: dict[str, Parameter] = {parameter.name: parameter for parameter in PARAMETERS}

    def check(changes: Sequence[Any]) -> SetParametersResult:
        known = [change for change in changes if change.name in rows]
        for change in known:
            problem = rows[change.name].problem_with(change.value)
            if not problem and configured():
                problem = _why_fixed(rows, change.name)
            if problem:
                return SetParametersResult(successful=False, reason=problem)
        if configured():
            try:
                apply({change.name: change.value for change in known})
            except ValueError as error:
                return SetParametersResult(successful=False, reason=str(error))
        return SetParametersResult(successful=True)

    def take(changes: Sequence[RosParameter]) -> list[RosParameter]:
        return [_taken(rows[change.name], change) if change.name in rows else change for change in changes]

    for parameter in PARAMETERS:
        _declare(node, parameter, parameter.default)
    cameras = _camera_names(node.get_parameter("cameras").value)
    for name, parameter in _own_rows(cameras):
        rows[name] = replace(parameter, name=name)
        _declare(node, rows[name], node.get_parameter(parameter.name).value)
    if hasattr(node, "add_pre_set_parameters_callback"):  # not in Humble, where a change must have the type declared
        node.add_pre_set_parameters_callback(take)
    node.add_on_set_parameters_callback(check)
    return cameras


def _declare(node: Node, parameter: Parameter, otherwise: Any) -> None:
    """Declare a parameter with what was given for it, in any form whose meaning is plain.

    otherwise: its value where nothing was given.
    """
    node.declare_parameter(parameter.name, otherwise, ParameterDescriptor(dynamic_typing=True))
    value = parameter.taken(node.get_parameter(parameter.name).value)
    node.undeclare_parameter(parameter.name)
    if problem := parameter.problem_with(value):
        raise ValueError(problem)
    node.declare_parameter(parameter.name, value, _descriptor(parameter), ignore_override=True)


def _taken(parameter: Parameter, change: RosParameter) -> RosParameter:
    """A change as the type that is declared, where its meaning is plain. One without a value is left to rclpy."""
    value = parameter.taken(change.value)
    if change.value is None or parameter.problem_with(value):
        return change
    return RosParameter(change.name, RosParameter.Type.from_parameter_value(parameter.default), value)


def strangers(node: Node) -> str:
    """A sentence about parameters that were given to `node` and that it does not have; empty where there are none.

    ROS itself passes over them in silence. Those of `qos_overrides` are declared with their topics.
    """
    names = [name for name in _given(node) if not node.has_parameter(name) and not name.startswith("qos_overrides.")]
    if not names:
        return ""
    return f"parameters that this node does not have are ignored: {', '.join(map(_with_nearest, sorted(names)))}"


def _given(node: Node) -> Iterable[str]:
    """Return the names of all parameters that arguments and files give to a node of this name.

    rclpy tells them of declared ones alone, so that another such node, which declares whatever it is given, is asked.
    """
    asked = rclpy.create_node(
        node.get_name(),
        context=node.context,
        namespace=node.get_namespace(),
        start_parameter_services=False,
        enable_rosout=False,
        automatically_declare_parameters_from_overrides=True,
    )
    try:
        return asked.get_parameters_by_prefix("")
    finally:
        asked.destroy_node()


def _with_nearest(name: str) -> str:
    nearest = difflib.get_close_matches(name.rpartition(".")[2], [parameter.name for parameter in PARAMETERS], n=1)
    return f"{name} (did you mean {nearest[0]}?)" if nearest else name


def read_settings(node: Node, cameras: Sequence[str]) -> Settings:
    """The values now. cameras: as `declare` told."""
    values = {
        parameter.name: as_setting(parameter.name, node.get_parameter(parameter.name).value) for parameter in PARAMETERS
    }
    values["cameras"] = {
        camera: CameraSettings(
            **{name: as_setting(name, node.get_parameter(_own_name(camera, name)).value) for name in PER_CAMERA}
        )
        for camera in cameras
    }
    values["stream"] = StreamOptions(**{name: values[name] for name in OF_STREAM})
    return Settings(**{name: value for name, value in values.items() if name not in (*PER_CAMERA, *OF_STREAM)})


def _own_name(camera: str, name: str) -> str:
    return f"{camera}.{name}" if camera else name


def _own_rows(cameras: Iterable[str]) -> Iterable[tuple[str, Parameter]]:
    for camera in filter(None, cameras):
        yield from ((_own_name(camera, row.name), row) for row in PARAMETERS if row.per_camera)


def _why_fixed(rows: Mapping[str, Parameter], name: str) -> str:
    """Why a parameter cannot change now; empty where it can."""
    if not rows[name].changeable:
        return f"{name} is read when the node is configured; clean the node up to change it"
    own = [other for other in rows if other.endswith(f".{name}")]
    return f"{name} is what cameras begin with; expected a change of {' or '.join(own)}" if own else ""


def _camera_names(names: Sequence[str]) -> tuple[str, ...]:
    if list(names) == [""]:
        return ("",)
    for name in names:
        if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", name) or "__" in name or name.endswith("_"):
            raise ValueError(
                f"cameras has the name {name!r}; expected letters, digits and single underscores, a letter first"
            )
    if not names or len(set(names)) != len(names):
        raise ValueError(f"cameras is {list(names)}; expected at least one name, each once")
    return tuple(names)


def _descriptor(parameter: Parameter) -> ParameterDescriptor:
    descriptor = ParameterDescriptor(
        name=parameter.name, description=parameter.description, read_only=parameter.read_only
    )
    if parameter.choices:
        descriptor.additional_constraints = f"One of {', '.join(parameter.choices)}."
    if parameter.minimum is not None and parameter.maximum is not None:
        bounds = {"from_value": parameter.minimum, "to_value": parameter.maximum}
        if isinstance(parameter.default, float):
            descriptor.floating_point_range = [FloatingPointRange(**bounds)]
        elif isinstance(parameter.default, int):
            descriptor.integer_range = [IntegerRange(**bounds)]
        else:  # ROS has no ranges for lists
            descriptor.additional_constraints = f"Each {parameter.minimum} to {parameter.maximum}."
    return descriptor
