"""When a keyframe is due. Schedules are pure: they hold no state and never read the clock, so that replays agree."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol, get_args

Measure = Literal["motion", "change"]
"""What a schedule may ask to be measured against the last keyframe; see `Situation`."""
MEASURES: tuple[str, ...] = get_args(Measure)
BudgetStatistic = Literal["mean", "p95"]
BUDGET_STATISTICS: tuple[str, ...] = get_args(BudgetStatistic)


@dataclass(frozen=True)
class Decision:
    """Whether a frame is a keyframe, and why."""

    is_keyframe: bool
    reason: str


@dataclass(frozen=True)
class Situation:
    """Where a frame stands.

    index: its number in its stream, from 0. number: its number among all frames the segmenter was given.
    stamp_ns: when it was taken; 0 where nobody knows.
    keyframe_index, keyframe_stamp_ns: of the last keyframe; None and 0 before it.
    motion: how far each frame's picture had moved since that keyframe, the mean over its places as a fraction of its
    width, summed over the frames since. change: how much their shallow features differed from its, from 0 (see
    `Backend.change`), summed likewise. A sum grows with what differs and with time, as what reuse costs does: of a
    single frame's measure the mean error at equal cost was up to twice as large.
    Both are None where the schedule does not name them in `measures`, and before the first keyframe.
    keyframes_elsewhere: how many keyframes other cameras of the same device took in this round.
    """

    index: int
    keyframe_index: int | None = None
    number: int = 0
    stamp_ns: int = 0
    keyframe_stamp_ns: int = 0
    motion: float | None = None
    change: float | None = None
    keyframes_elsewhere: int = 0

    @property
    def gap(self) -> int:
        """Frames since the last keyframe."""
        assert self.keyframe_index is not None
        return self.index - self.keyframe_index

    @property
    def age_s(self) -> float | None:
        """Seconds since the last keyframe, or None where one of the two has no stamp."""
        if not self.stamp_ns or not self.keyframe_stamp_ns:
            return None
        return (self.stamp_ns - self.keyframe_stamp_ns) / 1e9


class Schedule(Protocol):
    """Decides from a frame's situation. measures: what it wants to know beside the frame's place."""

    @property
    def measures(self) -> tuple[Measure, ...]:
        """Empty for most; what is not named is not computed."""

    def decide(self, situation: Situation) -> Decision:
        """Before the first keyframe of a causal stream the answer does not matter: its first frame is one."""


@dataclass(frozen=True)
class FixedInterval:
    """A keyframe every `interval` frames, counted from the last one.

    phase: index of a stream's first keyframe. Only bidirectional use can start later than 0: a causal stream begins
    with a keyframe whatever the schedule says. Raises ValueError unless interval >= 1 and 0 <= phase < interval.
    """

    interval: int
    phase: int = 0
    measures: tuple[Measure, ...] = ()

    def __post_init__(self) -> None:
        if self.interval < 1:
            raise ValueError(f"the keyframe interval is {self.interval}; expected at least 1")
        if not 0 <= self.phase < self.interval:
            raise ValueError(f"the phase is {self.phase}; expected 0 to {self.interval - 1}, below the interval")

    def decide(self, situation: Situation) -> Decision:
        is_first = situation.keyframe_index is None
        due = situation.index == self.phase if is_first else situation.gap >= self.interval
        return Decision(due, "interval" if due else "reused")


@dataclass(frozen=True)
class MaxAge:
    """A keyframe once the last is `seconds` old by the frames' stamps. Without stamps nobody can tell, and every frame
    is one. Raises ValueError unless seconds > 0.
    """

    seconds: float
    measures: tuple[Measure, ...] = ()

    def __post_init__(self) -> None:
        if not self.seconds > 0:
            raise ValueError(f"the largest keyframe age is {self.seconds}; expected more than 0 seconds")

    def decide(self, situation: Situation) -> Decision:
        if situation.keyframe_index is None:
            return Decision(True, "max age")
        if situation.age_s is None:
            return Decision(True, "no stamp")
        # Stamps of a camera jitter by less than this; without it 0.1999 s would not be 0.2.
        due = situation.age_s >= self.seconds - 1e-3
        return Decision(due, "max age" if due else "reused")


@dataclass(frozen=True)
class Adaptive:
    """A keyframe once the frames since the last differ enough from it: a parked robot takes almost none.

    threshold: of `measure`, "change" (of the shallow features) or "motion" (a fraction of the width; it costs nothing
    where features are aligned by flow); see `Situation`. At 0.06 of change a drive through a town has a keyframe
    about every fifth frame. Raises ValueError unless threshold > 0, and for another measure.
    """

    threshold: float
    measure: Measure = "change"

    def __post_init__(self) -> None:
        if not self.threshold > 0:
            raise ValueError(f"the threshold of {self.measure} is {self.threshold}; expected more than 0")
        if self.measure not in MEASURES:
            raise ValueError(f"the measure is {self.measure!r}; expected motion or change")

    @property
    def measures(self) -> tuple[Measure, ...]:
        return (self.measure,)

    def decide(self, situation: Situation) -> Decision:
        if situation.keyframe_index is None:
            return Decision(True, self.measure)
        value = getattr(situation, self.measure)
        due = value > self.threshold
        return Decision(due, f"{self.measure} {value:.3f}" if due else "reused")


@dataclass(frozen=True)
class Budget:
    """The shortest fixed interval whose frames cost no more than `budget_ms`, by a table of costs measured before.

    statistic: "mean" of the frames' times, or their "p95", which no keyframe may be among that costs more.
    keyframe_ms, other_ms: what the two kinds of frame cost on this machine (`dcfm bench`). They are given and not
    measured here: the same table gives the same keyframes again.
    Raises ValueError when a cost is not positive, keyframes are the cheaper ones, or no interval meets the budget.
    """

    budget_ms: float
    keyframe_ms: float
    other_ms: float
    statistic: BudgetStatistic = "mean"
    measures: tuple[Measure, ...] = ()

    def __post_init__(self) -> None:
        if self.statistic not in BUDGET_STATISTICS:
            raise ValueError(f"the budget's statistic is {self.statistic!r}; expected mean or p95")
        if not 0 < self.other_ms <= self.keyframe_ms < math.inf:
            raise ValueError(
                f"a keyframe costs {self.keyframe_ms} ms and another frame {self.other_ms} ms; expected more than 0, "
                "and keyframes to cost no less"
            )
        if not (self.budget_ms >= self.keyframe_ms or self.budget_ms > self.other_ms):
            raise ValueError(
                f"the budget is {self.budget_ms} ms; expected more than the {self.other_ms} ms of a frame that is no "
                "keyframe"
            )

    @property
    def interval(self) -> int:
        """Frames from one keyframe to the next."""
        if self.budget_ms >= self.keyframe_ms:
            return 1
        if self.statistic == "p95":
            return 21  # keyframes are then fewer than one frame in twenty
        return math.ceil((self.keyframe_ms - self.other_ms) / (self.budget_ms - self.other_ms))

    def decide(self, situation: Situation) -> Decision:
        due = situation.keyframe_index is None or situation.gap >= self.interval
        return Decision(due, "budget" if due else "reused")


@dataclass(frozen=True)
class Bounded:
    """Another schedule within bounds.

    min_interval: no keyframe is nearer to the last than so many frames. max_interval: none is further; 0 is no bound.
    max_age_s: nor older, by stamps; 0 is no bound. Raises ValueError for bounds that exclude each other.
    """

    schedule: Schedule
    min_interval: int = 1
    max_interval: int = 0
    max_age_s: float = 0.0

    def __post_init__(self) -> None:
        if self.min_interval < 1:
            raise ValueError(f"the smallest keyframe interval is {self.min_interval}; expected at least 1")
        if self.max_interval and self.max_interval < self.min_interval:
            raise ValueError(
                f"the largest keyframe interval is {self.max_interval}; expected 0 (no bound) or at least "
                f"{self.min_interval}, the smallest"
            )
        if not self.max_age_s >= 0:
            raise ValueError(f"the largest keyframe age is {self.max_age_s}; expected 0 (no bound) or more seconds")

    @property
    def measures(self) -> tuple[Measure, ...]:
        return self.schedule.measures

    def decide(self, situation: Situation) -> Decision:
        if situation.keyframe_index is not None:
            if situation.gap < self.min_interval:
                return Decision(False, "too soon")
            if self.max_interval and situation.gap >= self.max_interval:
                return Decision(True, "max interval")
            if self.max_age_s and situation.age_s is not None:
                by_age = MaxAge(self.max_age_s).decide(situation)
                if by_age.is_keyframe:
                    return by_age
        return self.schedule.decide(situation)


@dataclass(frozen=True)
class InTurn:
    """Another schedule, for one of several cameras on a device: a keyframe that is due waits a frame where others took
    `at_most` keyframes in the same round, so that not all fall on one. Raises ValueError unless at_most >= 1.
    """

    schedule: Schedule
    at_most: int = 1

    def __post_init__(self) -> None:
        if self.at_most < 1:
            raise ValueError(f"at most {self.at_most} keyframes of a round are taken; expected at least 1")

    @property
    def measures(self) -> tuple[Measure, ...]:
        return self.schedule.measures

    def decide(self, situation: Situation) -> Decision:
        decision = self.schedule.decide(situation)
        if decision.is_keyframe and situation.keyframes_elsewhere >= self.at_most:
            return Decision(False, "another camera's turn")
        return decision


@dataclass(frozen=True)
class Recorded:
    """What another run decided, by the number of the frame: whether it was a keyframe, and from which keyframe on its
    mask was made. A segmenter with this schedule also swaps keyframes in where that run did.
    """

    keyframes: Mapping[int, bool]
    in_use: Mapping[int, int]
    measures: tuple[Measure, ...] = ()

    @staticmethod
    def of(results: Any) -> Recorded:
        """From results (`Segmentation`) or whatever else has index, is_keyframe and keyframe_index."""
        results = list(results)
        return Recorded({r.index: r.is_keyframe for r in results}, {r.index: r.keyframe_index for r in results})

    def decide(self, situation: Situation) -> Decision:
        is_keyframe = self._recorded(self.keyframes, situation.number)
        return Decision(is_keyframe, "recorded" if is_keyframe else "reused")

    def keyframe_in_use(self, number: int) -> int:
        """The number of the keyframe that a frame's mask was made from. Raises ValueError for a frame not recorded."""
        return self._recorded(self.in_use, number)

    def _recorded(self, record: Mapping[int, Any], number: int) -> Any:
        if number not in record:
            raise ValueError(f"the record has no frame {number}; expected one of its {len(record)}")
        return record[number]


SCHEDULES = ("fixed", "max_age", "adaptive", "budget")


def create_schedule(
    name: str = "fixed",
    *,
    interval: int = 5,
    min_interval: int = 1,
    max_age_s: float = 0.0,
    threshold: float = 0.06,
    measure: Measure = "change",
    budget_ms: float = 0.0,
    budget_statistic: BudgetStatistic = "mean",
    costs_ms: tuple[float, float] = (0.0, 0.0),
) -> Schedule:
    """The schedule of that name, one of SCHEDULES, as parameters and options of a command line say it.

    interval: of "fixed". min_interval, max_age_s: bounds of all but "fixed"'s own interval; "max_age" needs the second.
    threshold, measure: of "adaptive". budget_ms, budget_statistic, costs_ms (keyframe, other frame): of "budget".
    Raises ValueError for an unknown name, and as the schedules do.
    """
    if name == "fixed":
        schedule: Schedule = FixedInterval(interval)
    elif name == "max_age":
        schedule, max_age_s = MaxAge(max_age_s), 0.0
    elif name == "adaptive":
        schedule = Adaptive(threshold, measure)
    elif name == "budget":
        schedule = Budget(budget_ms, *costs_ms, budget_statistic)
    else:
        raise ValueError(f"the schedule is {name!r}; expected one of {', '.join(SCHEDULES)}")
    return Bounded(schedule, min_interval, max_age_s=max_age_s) if min_interval > 1 or max_age_s else schedule
