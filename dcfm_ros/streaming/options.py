"""The options of a stream, each choice said once: the node, the command line and Python take it from here."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal, get_args

from dcfm_ros.imaging.motion import ALIGNMENTS, Align
from dcfm_ros.streaming.schedules import Adaptive, Bounded, FixedInterval, MaxAge, Schedule

Mode = Literal["causal", "bidirectional", "full"]
MODES: tuple[Mode, ...] = get_args(Mode)
KeyframeMode = Literal["sync", "async"]
KEYFRAME_MODES: tuple[KeyframeMode, ...] = get_args(KeyframeMode)
ScheduleName = Literal["fixed", "max_age", "adaptive"]
SCHEDULES: tuple[ScheduleName, ...] = get_args(ScheduleName)


@dataclass(frozen=True)
class Choice:
    """A field of `StreamOptions` as it describes itself, for whoever shows or checks it.

    description: one or more sentences. choices: the texts that are allowed; minimum, maximum: the range of a number, or
    of each in a pair. unit: of the number, as people read it. changeable: whether the node may change it from one frame
    to the next; any other holds for the life of a segmenter.
    """

    name: str
    default: Any
    description: str
    choices: tuple[str, ...] = ()
    minimum: float | None = None
    maximum: float | None = None
    unit: str = ""
    changeable: bool = False


@dataclass(frozen=True, kw_only=True)
class StreamOptions:
    """How one camera's frames are segmented, as a record: what each field means is in its description below.

    A `Schedule` of one's own goes to `StreamSegmenter` beside this. Raises ValueError, naming the field, for a value
    that is not one of its choices or is out of its range. What fits each alone may still contradict another:
    `create_schedule` and `StreamSegmenter` raise for that.
    """

    mode: Mode = field(
        default="causal",
        metadata={
            "description": (
                "How a frame gets its deep features. causal: from the last keyframe. full: every frame is a "
                "keyframe itself. bidirectional (for recordings): from the keyframes before and after it, so that a "
                "frame waits for the next."
            ),
            "choices": MODES,
        },
    )
    align: Align = field(
        default="flow",
        metadata={
            "description": (
                "How a keyframe's features follow the picture. flow: optical flow moves them to where things are "
                "now. none: they stay where they were."
            ),
            "choices": ALIGNMENTS,
        },
    )
    keyframe_mode: KeyframeMode = field(
        default="sync",
        metadata={
            "description": (
                "Whether frames wait for a keyframe. sync: they do. async: the keyframe is computed in the "
                "background, and frames use the one before until it comes into use."
            ),
            "choices": KEYFRAME_MODES,
        },
    )
    swap_after: int = field(
        default=0,
        metadata={
            "description": (
                "Number of frames after which an asynchronous keyframe comes into use, so that two runs agree; in sync "
                "it has no effect. 0: as soon as it is ready, which is for live use."
            ),
            "minimum": 0,
            "maximum": 1000,
            "unit": "frames",
        },
    )
    schedule: ScheduleName = field(
        default="fixed",
        metadata={
            "description": (
                "When a keyframe is due. fixed: after keyframe_interval frames. max_age: once the last is "
                "schedule_max_age_s old. adaptive: once the picture has changed by schedule_threshold, which pays "
                "for robots that stop."
            ),
            "choices": SCHEDULES,
            "changeable": True,
        },
    )
    keyframe_interval: int = field(
        default=5,
        metadata={
            "description": "Number of frames from one keyframe to the next in the schedule fixed.",
            "minimum": 1,
            "maximum": 1000,
            "unit": "frames",
            "changeable": True,
        },
    )
    schedule_max_age_s: float = field(
        default=0.0,
        metadata={
            "description": (
                "Age of the last keyframe, by stamps, at which the next is due: in the schedule max_age, and as a "
                "limit in the others. 0: no limit."
            ),
            "minimum": 0.0,
            "maximum": 3600.0,
            "unit": "s",
            "changeable": True,
        },
    )
    schedule_min_interval: int = field(
        default=1,
        metadata={
            "description": "Least number of frames from one keyframe to the next, in every schedule.",
            "minimum": 1,
            "maximum": 1000,
            "unit": "frames",
            "changeable": True,
        },
    )
    schedule_threshold: float = field(
        default=0.06,
        metadata={
            "description": (
                "Change of the shallow features, summed over the frames since a keyframe, above which the schedule "
                "adaptive takes another."
            ),
            "minimum": 0.0001,
            "maximum": 10.0,
            "changeable": True,
        },
    )
    input_size: tuple[int, int] | None = field(
        default=None,
        metadata={
            "description": (
                "Height and width of the network's input, multiples of 32 (networks on ResNet: of 8). By default it "
                "has the image's aspect and as many pixels as the weights were trained at."
            ),
            "minimum": 0,
            "maximum": 8192,
            "unit": "pixels",
        },
    )
    max_stamp_gap_s: float = field(
        default=2.0,
        metadata={
            "description": (
                "Largest step from one stamp to the next; a larger one begins a new stream, with a keyframe."
            ),
            "minimum": 0.001,
            "maximum": 3600.0,
            "unit": "s",
        },
    )

    def __post_init__(self) -> None:
        for choice in stream_choices():
            value = getattr(self, choice.name)
            if value is None and choice.default is None:
                continue
            if problem := refusal(choice.name, value, choice.choices, choice.minimum, choice.maximum):
                raise ValueError(problem)

    def create_schedule(self) -> Schedule:
        """Make the schedule that the fields describe together.

        Raises ValueError when they contradict each other, as the schedule max_age without an age does.
        """
        max_age_s = self.schedule_max_age_s
        if self.schedule == "fixed":
            schedule: Schedule = FixedInterval(self.keyframe_interval)
        elif self.schedule == "max_age":
            if not max_age_s:
                raise ValueError("schedule is max_age and schedule_max_age_s is 0; expected an age in seconds")
            schedule, max_age_s = MaxAge(max_age_s), 0.0
        else:
            schedule = Adaptive(self.schedule_threshold)
        if self.schedule_min_interval == 1 and not max_age_s:
            return schedule
        return Bounded(schedule, self.schedule_min_interval, max_age_s)

    @property
    def fixed_interval(self) -> int | None:
        """Frames from each keyframe to the next; None where that depends on the frames."""
        if self.mode == "full":
            return 1
        schedule = self.create_schedule()
        return schedule.interval if isinstance(schedule, FixedInterval) else None

    @property
    def is_repeatable(self) -> bool:
        """Whether the same frames give the same masks again, however fast they come."""
        return self.keyframe_mode == "sync" or self.swap_after > 0

    def to_json(self) -> dict[str, Any]:
        """Every choice by its name, as values that JSON has."""
        return asdict(self)


def stream_choices() -> Iterator[Choice]:
    """Yield each field of `StreamOptions` as it describes itself, in order."""
    for each in fields(StreamOptions):
        yield Choice(each.name, each.default, **each.metadata)


def refusal(name: str, value: Any, choices: tuple[str, ...], minimum: float | None, maximum: float | None) -> str:
    """Say why a value (of a pair: each of its numbers) is not among the choices or in the range; empty when it is."""
    if choices and value not in choices:
        return f"{name} is {value!r}; expected one of {', '.join(choices)}"
    if minimum is not None and maximum is not None:
        numbers = value if isinstance(value, (tuple, list)) else [value]
        if not all(minimum <= number <= maximum for number in numbers):
            return f"{name} is {value}; expected {minimum} to {maximum}"
    return ""
