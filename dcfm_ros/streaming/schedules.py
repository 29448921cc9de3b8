"""When a keyframe is due. Schedules are pure: they hold no state and never read the clock, so that replays agree."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


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
    change: how much the shallow features of the frames since that keyframe differed from its, each from 0 (see
    `Backend.change`), summed. The sum grows with what differs and with time, as what reuse costs does: of a single
    frame's change the mean error at equal cost was up to twice as large. None where the schedule does not need it, and
    before the first keyframe.
    keyframes_elsewhere: how many keyframes other cameras of the same device took in this round.
    """

    index: int
    keyframe_index: int | None = None
    number: int = 0
    stamp_ns: int = 0
    keyframe_stamp_ns: int = 0
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


class Schedule(ABC):
    """Decides from a frame's situation whether it is a keyframe; derive from it for a schedule of your own."""

    @property
    def needs_change(self) -> bool:
        """Whether `decide` reads `Situation.change`, which is not computed otherwise."""
        return False

    @abstractmethod
    def decide(self, situation: Situation) -> Decision:
        """Before the first keyframe of a causal stream the answer does not matter: its first frame is one."""

    def keyframe_in_use(self, number: int) -> int | None:
        """Return the number of the keyframe that the mask of frame `number` is to be made from.

        Asked where asynchronous keyframes are computed; None, as most schedules have it, leaves that to the stream's
        `swap_after`.
        """
        return None

    def in_turn(self) -> Schedule:
        """This schedule for one of several cameras on a device, whose keyframes take turns."""
        return InTurn(self)


@dataclass(frozen=True)
class FixedInterval(Schedule):
    """A keyframe every `interval` frames, counted from the last one.

    phase: index of a stream's first keyframe. Only bidirectional use can start later than 0: a causal stream begins
    with a keyframe whatever the schedule says. Raises ValueError unless interval >= 1 and 0 <= phase < interval.
    """

    interval: int
    phase: int = 0

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
class MaxAge(Schedule):
    """A keyframe once the last is `seconds` old by the frames' stamps.

    Without stamps nobody can tell, and every frame is one. Raises ValueError unless seconds > 0.
    """

    seconds: float

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
class Adaptive(Schedule):
    """A keyframe once the frames since the last have changed enough: for robots that stop, and then take almost none.

    While the camera moves it is no better than a fixed interval at the same cost (docs/performance.md).
    threshold: of `Situation.change`. At 0.06 a drive through a town has a keyframe about every fifth frame. Raises
    ValueError unless threshold > 0.
    """

    threshold: float

    def __post_init__(self) -> None:
        if not self.threshold > 0:
            raise ValueError(f"the threshold of change is {self.threshold}; expected more than 0")

    @property
    def needs_change(self) -> bool:
        return True

    def decide(self, situation: Situation) -> Decision:
        if situation.keyframe_index is None:
            return Decision(True, "change")
        assert situation.change is not None
        due = situation.change > self.threshold
        return Decision(due, f"change {situation.change:.3f}" if due else "reused")


@dataclass(frozen=True)
class _Around(Schedule):
    """Another schedule, whose decisions are changed."""

    schedule: Schedule

    @property
    def needs_change(self) -> bool:
        return self.schedule.needs_change

    def keyframe_in_use(self, number: int) -> int | None:
        return self.schedule.keyframe_in_use(number)


@dataclass(frozen=True)
class Bounded(_Around):
    """Another schedule within bounds.

    min_interval: no keyframe is nearer to the last than so many frames. max_age_s: none gets older than this, by
    stamps; 0 is no bound. Raises ValueError for a min_interval below 1 and a max_age_s below 0.
    """

    min_interval: int = 1
    max_age_s: float = 0.0

    def __post_init__(self) -> None:
        if self.min_interval < 1:
            raise ValueError(f"the smallest keyframe interval is {self.min_interval}; expected at least 1")
        if not self.max_age_s >= 0:
            raise ValueError(f"the largest keyframe age is {self.max_age_s}; expected 0 (no bound) or more seconds")

    def decide(self, situation: Situation) -> Decision:
        if situation.keyframe_index is not None:
            if situation.gap < self.min_interval:
                return Decision(False, "too soon")
            if self.max_age_s and situation.age_s is not None:
                by_age = MaxAge(self.max_age_s).decide(situation)
                if by_age.is_keyframe:
                    return by_age
        return self.schedule.decide(situation)


@dataclass(frozen=True)
class InTurn(_Around):
    """Another schedule, for one of several cameras on a device.

    A keyframe that is due waits a frame where another took one in the same round, so that not all fall on one.
    """

    def decide(self, situation: Situation) -> Decision:
        decision = self.schedule.decide(situation)
        if decision.is_keyframe and situation.keyframes_elsewhere:
            return Decision(False, "another camera's turn")
        return decision


@dataclass(frozen=True)
class Replayed(Schedule):
    """The decisions of another run, by the number of the frame.

    Whether it was a keyframe, and from which keyframe on its mask was made. A segmenter with this schedule also takes
    keyframes into use where that run did.
    """

    keyframes: Mapping[int, bool]
    in_use: Mapping[int, int]

    @staticmethod
    def of(results: Any) -> Replayed:
        """From results (`Segmentation`) or whatever else has index, is_keyframe and keyframe_index."""
        results = list(results)
        return Replayed({r.index: r.is_keyframe for r in results}, {r.index: r.keyframe_index for r in results})

    def decide(self, situation: Situation) -> Decision:
        is_keyframe = self._recorded(self.keyframes, situation.number)
        return Decision(is_keyframe, "recorded" if is_keyframe else "reused")

    def keyframe_in_use(self, number: int) -> int:
        """The one that the frame's mask was made from. Raises ValueError for a frame not recorded."""
        return self._recorded(self.in_use, number)

    def in_turn(self) -> Schedule:
        """Itself: turns were taken when it was recorded."""
        return self

    def _recorded(self, record: Mapping[int, Any], number: int) -> Any:
        if number not in record:
            raise ValueError(f"the record has no frame {number}; expected one of its {len(record)}")
        return record[number]
