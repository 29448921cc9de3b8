"""When a keyframe is due. Schedules are pure: they hold no state and never read the clock."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class Decision:
    """Whether a frame is a keyframe, and why."""

    is_keyframe: bool
    reason: str


class Schedule(Protocol):
    """Decides from a frame's place in its stream."""

    def decide(self, index: int, keyframe_index: int | None) -> Decision:
        """index: number of the frame in its stream, from 0. keyframe_index: of the last keyframe; None before it."""


@dataclass(frozen=True)
class FixedInterval:
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

    def decide(self, index: int, keyframe_index: int | None) -> Decision:
        due = index == self.phase if keyframe_index is None else index - keyframe_index >= self.interval
        return Decision(due, "interval" if due else "reused")
