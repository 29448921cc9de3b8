"""The node's parameters: one table, from which the declaration, the checks and the settings come."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor, SetParametersResult
from rclpy.node import Node

from dcfm_ros.imaging.motion import ALIGNMENTS
from dcfm_ros.streaming import Schedule, create_schedule
from dcfm_ros.streaming.backends.base import PRECISIONS
from dcfm_ros.streaming.backends.select import BACKENDS
from dcfm_ros.streaming.schedules import BUDGET_STATISTICS, MEASURES, SCHEDULES
from dcfm_ros.streaming.segmenter import KEYFRAME_MODES


@dataclass(frozen=True)
class Parameter:
    """One row. choices: the strings that are allowed; minimum, maximum: the range of numbers (of each, in a list).

    changeable: takes effect between two frames; any other is read when the node is configured.
    """

    name: str
    default: str | bool | int | float | list[int] | list[float]
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
    Parameter(
        "weights",
        "",
        "Weights file (safetensors), or a folder that dcfm export wrote; empty: the weights that ship.",
    ),
    Parameter("backend", "auto", "What runs the network; auto: the fastest that runs here.", choices=BACKENDS),
    Parameter("device", "auto", "auto, cpu, cuda, cuda:N or gpu (Intel's). A device that is not there is an error."),
    Parameter(
        "precision",
        "auto",
        "What the network computes in; auto: as exported, else the fastest that keeps the masks. int8 is exported.",
        choices=PRECISIONS,
    ),
    Parameter("num_threads", 0, "CPU threads of the network; 0: the backend's own choice.", minimum=0, maximum=1024),
    Parameter(
        "mode",
        "causal",
        "causal: features of the last keyframe are reused. full: every frame is a keyframe.",
        choices=("causal", "full"),
    ),
    Parameter(
        "align",
        "flow",
        "How a keyframe's features are moved to where the picture is now: by optical flow, by one shift, or not.",
        choices=ALIGNMENTS,
    ),
    Parameter(
        "keyframe_mode",
        "sync",
        "sync: a keyframe is waited for. async: it is computed beside the stream, which goes on with older features.",
        choices=KEYFRAME_MODES,
    ),
    Parameter(
        "swap_after",
        0,
        "Frames after which an asynchronous keyframe comes into use; 0: as soon as it is ready.",
        minimum=0,
        maximum=1000,
    ),
    Parameter(
        "schedule",
        "fixed",
        "When a keyframe is due: after keyframe_interval frames, by age, by what changed, or by a budget of time.",
        choices=SCHEDULES,
        changeable=True,
    ),
    Parameter(
        "keyframe_interval",
        5,
        "Frames from one keyframe to the next, in the schedule fixed.",
        minimum=1,
        maximum=1000,
        changeable=True,
    ),
    Parameter(
        "schedule_max_age",
        0.0,
        "Seconds by stamps after which a keyframe is due: of the schedule max_age, and a bound of the others; 0: none.",
        minimum=0.0,
        maximum=3600.0,
        changeable=True,
    ),
    Parameter(
        "schedule_min_interval",
        1,
        "Frames that keyframes are apart at least, in every schedule.",
        minimum=1,
        maximum=1000,
        changeable=True,
    ),
    Parameter(
        "schedule_measure",
        "change",
        "What the schedule adaptive sums over the frames since a keyframe: change of shallow features, or motion.",
        choices=MEASURES,
        changeable=True,
    ),
    Parameter(
        "schedule_threshold",
        0.06,
        "Of that sum, above which a keyframe is due. Motion is a part of the picture's width.",
        minimum=0.0001,
        maximum=10.0,
        changeable=True,
    ),
    Parameter(
        "schedule_budget_ms",
        0.0,
        "Milliseconds that the schedule budget keeps within, by schedule_costs_ms.",
        minimum=0.0,
        maximum=100000.0,
        changeable=True,
    ),
    Parameter(
        "schedule_budget_statistic",
        "mean",
        "What the budget is of: the mean of the frames' times or their p95.",
        choices=BUDGET_STATISTICS,
        changeable=True,
    ),
    Parameter(
        "schedule_costs_ms",
        [0.0, 0.0],
        "Milliseconds of a keyframe and of another frame on this machine, as dcfm bench measures them.",
        minimum=0.0,
        maximum=100000.0,
        changeable=True,
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
    precision: str
    num_threads: int
    mode: str
    align: str
    keyframe_mode: str
    swap_after: int
    schedule: str
    keyframe_interval: int
    schedule_max_age: float
    schedule_min_interval: int
    schedule_measure: str
    schedule_threshold: float
    schedule_budget_ms: float
    schedule_budget_statistic: str
    schedule_costs_ms: tuple[float, float]
    input_size: tuple[int, int] | None
    max_stamp_gap: float
    overlay_opacity: float
    autostart: bool

    def create_schedule(self) -> Schedule:
        """What the parameters of the schedule say together. Raises ValueError when they contradict each other."""
        return create_schedule(
            self.schedule,
            interval=self.keyframe_interval,
            min_interval=self.schedule_min_interval,
            max_age_s=self.schedule_max_age,
            threshold=self.schedule_threshold,
            measure=self.schedule_measure,  # type: ignore[arg-type]
            budget_ms=self.schedule_budget_ms,
            budget_statistic=self.schedule_budget_statistic,  # type: ignore[arg-type]
            costs_ms=self.schedule_costs_ms,
        )


def declare(node: Node, configured: Callable[[], bool], apply: Callable[[dict[str, Any]], None]) -> None:
    """Declare every parameter on `node`, and hold later changes against the table.

    configured: tells whether the node holds what was built from its parameters. apply: called with the changeable
    parameters that change together, by name; it raises ValueError, with nothing changed, for values that do not fit.
    Raises rclpy's InvalidParameterValueException for a bad initial value.
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
        if configured():
            try:
                apply({change.name: _as_setting(change.value) for change in changes if change.name in _BY_NAME})
            except ValueError as error:
                return SetParametersResult(successful=False, reason=str(error))
        return SetParametersResult(successful=True)

    node.add_on_set_parameters_callback(check)
    for parameter in PARAMETERS:
        node.declare_parameter(parameter.name, parameter.default, _descriptor(parameter))


def read_settings(node: Node) -> Settings:
    """The values now."""
    values = {parameter.name: _as_setting(node.get_parameter(parameter.name).value) for parameter in PARAMETERS}
    height, width = values.pop("input_size")
    return Settings(input_size=(height, width) if height or width else None, **values)


def _as_setting(value: Any) -> Any:
    """rclpy gives lists as arrays."""
    return tuple(value) if isinstance(value, (list, array)) else value


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
