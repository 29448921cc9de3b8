"""The node's parameters: one table, from which the declaration, the checks and the settings come."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor, SetParametersResult
from rclpy.node import Node

from dcfm_ros.streaming.backends.select import BACKENDS


@dataclass(frozen=True)
class Parameter:
    """One row. choices: the strings that are allowed; minimum, maximum: the range of numbers (of each, in a list).

    changeable: takes effect between two frames; any other is read when the node is configured.
    """

    name: str
    default: str | bool | int | float | list[int]
    description: str
    choices: tuple[str, ...] = ()
    minimum: float | None = None
    maximum: float | None = None
    changeable: bool = False

    def problem_with(self, value: Any) -> str:
        """Why `value` is refused, as a sentence; empty when it is allowed."""
        if self.choices and value not in self.choices:
            return f"{self.name} is {value!r}; expected one of {', '.join(self.choices)}"
        if isinstance(self.default, list) and len(value) != len(self.default):
            return f"{self.name} has {len(value)} values; expected {len(self.default)}"
        if self.minimum is not None and self.maximum is not None:
            numbers = value if isinstance(self.default, list) else [value]
            if not all(self.minimum <= number <= self.maximum for number in numbers):
                return f"{self.name} is {value}; expected {self.minimum} to {self.maximum}"
        return ""


PARAMETERS = (
    Parameter("weights", "", "Weights file (safetensors); empty: the weights that ship with the package."),
    Parameter("backend", "torch", "What runs the network.", choices=BACKENDS),
    Parameter("device", "auto", "auto, cpu, cuda or cuda:N. A device that is not there is an error."),
    Parameter("num_threads", 0, "CPU threads of the network; 0: the backend's own choice.", minimum=0, maximum=1024),
    Parameter(
        "mode",
        "causal",
        "causal: features of the last keyframe are reused. full: every frame is a keyframe.",
        choices=("causal", "full"),
    ),
    Parameter(
        "keyframe_interval", 5, "Frames from one keyframe to the next.", minimum=1, maximum=1000, changeable=True
    ),
    Parameter(
        "input_size",
        [0, 0],
        "Height and width of the network's input; [0, 0]: the image's aspect at the size the weights were trained at.",
        minimum=0,
        maximum=8192,
    ),
    Parameter(
        "max_stamp_gap",
        2.0,
        "Seconds; a stamp further ahead than this begins a new stream, with a keyframe.",
        minimum=0.001,
        maximum=3600.0,
    ),
    Parameter(
        "overlay_opacity", 0.5, "How strongly ~/overlay shows the classes.", minimum=0.0, maximum=1.0, changeable=True
    ),
    Parameter("autostart", True, "Configure and activate at start, without a lifecycle manager."),
)
_BY_NAME = {parameter.name: parameter for parameter in PARAMETERS}


@dataclass(frozen=True)
class Settings:
    """The parameters' values, named and typed. input_size is (height, width), or None when it follows the image."""

    weights: str
    backend: str
    device: str
    num_threads: int
    mode: str
    keyframe_interval: int
    input_size: tuple[int, int] | None
    max_stamp_gap: float
    overlay_opacity: float
    autostart: bool


def declare(node: Node, configured: Callable[[], bool], on_change: Callable[[str, Any], None]) -> None:
    """Declare every parameter on `node`, and hold later changes against the table.

    configured: tells whether the node holds what was built from its parameters. on_change: called with name and value
    for each change of a changeable parameter. Raises rclpy's InvalidParameterValueException for a bad initial value.
    """

    def check(changes: Sequence[Any]) -> SetParametersResult:
        for change in changes:
            parameter = _BY_NAME.get(change.name)
            if parameter is None:
                continue
            problem = parameter.problem_with(change.value)
            if not problem and configured() and not parameter.changeable:
                problem = f"{parameter.name} is read when the node is configured; clean the node up to change it"
            if problem:
                return SetParametersResult(successful=False, reason=problem)
        for change in changes:
            if change.name in _BY_NAME and _BY_NAME[change.name].changeable and configured():
                on_change(change.name, change.value)
        return SetParametersResult(successful=True)

    node.add_on_set_parameters_callback(check)
    for parameter in PARAMETERS:
        node.declare_parameter(parameter.name, parameter.default, _descriptor(parameter))


def read_settings(node: Node) -> Settings:
    """The values now."""
    values = {parameter.name: node.get_parameter(parameter.name).value for parameter in PARAMETERS}
    height, width = values.pop("input_size")
    return Settings(input_size=(height, width) if height or width else None, **values)


def _descriptor(parameter: Parameter) -> ParameterDescriptor:
    descriptor = ParameterDescriptor(name=parameter.name, description=parameter.description)
    if parameter.choices:
        descriptor.additional_constraints = f"One of {', '.join(parameter.choices)}."
    if parameter.minimum is not None and parameter.maximum is not None:
        bounds = {"from_value": parameter.minimum, "to_value": parameter.maximum}
        if isinstance(parameter.default, float):
            descriptor.floating_point_range = [FloatingPointRange(**bounds)]
        elif isinstance(parameter.default, int):
            descriptor.integer_range = [IntegerRange(**bounds)]
    return descriptor
