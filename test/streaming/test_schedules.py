"""When keyframes are due: each schedule over streams of situations, its reasons, and what it refuses."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dcfm_ros.streaming import Schedule, Situation, StreamOptions
from dcfm_ros.streaming.options import SCHEDULES
from dcfm_ros.streaming.schedules import Adaptive, Bounded, FixedInterval, MaxAge

SECOND = 1_000_000_000


def decided(
    schedule: Schedule,
    frames: int,
    stamps_s: Sequence[float] | None = None,
    measured: Callable[[int], float] = lambda gap: 0.0,
) -> dict[int, str]:
    """Index and reason of each keyframe of a stream whose first frame is one; 10 frames a second unless told."""
    keyframes, last = {0: "first"}, 0
    stamps = [round((10 + i / 10 if stamps_s is None else stamps_s[i]) * SECOND) for i in range(frames)]
    for index in range(1, frames):
        value = measured(index - last)
        situation = Situation(index, last, index, stamps[index], stamps[last], change=value)
        decision = schedule.decide(situation)
        if decision.is_keyframe:
            keyframes[index], last = decision.reason, index
    return keyframes


def test_fixed_counts_from_the_last_keyframe() -> None:
    assert decided(FixedInterval(4), 10) == {0: "first", 4: "interval", 8: "interval"}


def test_max_age_goes_by_stamps() -> None:
    assert decided(MaxAge(0.3), 8) == {0: "first", 3: "max age", 6: "max age"}
    jittered = [10, 10.099, 10.201, 10.2995, 10.4, 10.5, 10.6, 10.7]
    assert list(decided(MaxAge(0.3), 8, jittered)) == [0, 3, 6]
    slow = [10 + i for i in range(4)]
    assert list(decided(MaxAge(0.3), 4, slow)) == [0, 1, 2, 3]


def test_without_stamps_no_age_can_be_promised() -> None:
    assert decided(MaxAge(5), 3, [0, 0, 0]) == {0: "first", 1: "no stamp", 2: "no stamp"}
    assert list(decided(Bounded(FixedInterval(2), max_age_s=5), 4, [0] * 4)) == [0, 2]


def test_adaptive_takes_keyframes_where_the_picture_changes() -> None:
    assert decided(Adaptive(0.05), 50, measured=lambda gap: 0.001) == {0: "first"}  # parked
    turning = decided(Adaptive(0.05), 7, measured=lambda gap: 0.03 * gap)
    assert turning == {0: "first", 2: "change 0.060", 4: "change 0.060", 6: "change 0.060"}
    assert (Adaptive(1).needs_change, FixedInterval(1).needs_change) == (True, False)


def test_bounds_hold_around_another_schedule() -> None:
    shaken = Bounded(Adaptive(0.05), min_interval=3)
    assert list(decided(shaken, 7, measured=lambda gap: 1.0)) == [0, 3, 6]
    assert shaken.decide(Situation(1, 0, change=1.0)).reason == "too soon"
    old = Bounded(Adaptive(0.05), max_age_s=0.4)
    assert decided(old, 9) == {0: "first", 4: "max age", 8: "max age"}
    assert shaken.needs_change


@given(st.integers(1, 8), st.integers(0, 8), st.lists(st.floats(0, 0.2), min_size=1, max_size=40))
def test_no_keyframe_lies_outside_the_bounds(low: int, more: int, values: list[float]) -> None:
    most = low + more
    schedule = Bounded(Adaptive(0.1), low, max_age_s=most / 10)  # at ten frames a second
    keyframes = list(decided(schedule, len(values), measured=lambda gap: values[gap % len(values)]))
    assert all(low <= later - earlier <= most for earlier, later in pairwise(keyframes))
    assert len(values) - 1 - keyframes[-1] < most


def test_every_schedule_has_a_name() -> None:
    made = {"fixed": FixedInterval(7), "max_age": MaxAge(0.4), "adaptive": Bounded(Adaptive(0.03), max_age_s=0.4)}
    for name in SCHEDULES:
        age_s = 0.0 if name == "fixed" else 0.4
        options = StreamOptions(schedule=name, keyframe_interval=7, schedule_max_age_s=age_s, schedule_threshold=0.03)
        assert options.create_schedule() == made[name]
    bounded = StreamOptions(schedule="adaptive", schedule_min_interval=3)
    assert bounded.create_schedule() == Bounded(Adaptive(0.06), 3)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: StreamOptions(schedule="max_age").create_schedule(), "schedule_max_age_s is 0; expected an age"),
        (lambda: Adaptive(0), "threshold of change is 0; expected more than 0"),
        (lambda: Bounded(FixedInterval(1), 0), "smallest keyframe interval is 0"),
        (lambda: Bounded(FixedInterval(1), max_age_s=-1), "largest keyframe age is -1"),
        (lambda: MaxAge(float("nan")), "largest keyframe age is nan"),
    ],
)
def test_what_cannot_be_is_refused(make: Callable[[], object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        make()
