"""When keyframes are due: each schedule over streams of situations, its reasons, and what it refuses."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dcfm_ros.streaming import Schedule, Situation, create_schedule
from dcfm_ros.streaming.schedules import SCHEDULES, Adaptive, Bounded, Budget, FixedInterval, MaxAge

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
        situation = Situation(index, last, index, stamps[index], stamps[last], motion=value, change=value)
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
    assert decided(Adaptive(0.05, "motion"), 3, measured=lambda gap: 0.06)[1] == "motion 0.060"
    assert (Adaptive(1, "motion").measures, Adaptive(1).measures, FixedInterval(1).measures) == (
        ("motion",),
        ("change",),
        (),
    )


@given(st.floats(1, 200), st.floats(0.1, 1), st.floats(0.05, 1.5))
def test_a_budget_is_met_by_the_shortest_interval_that_meets_it(keyframe: float, share: float, part: float) -> None:
    other = keyframe * share
    budget = other + part * keyframe
    interval = Budget(budget, keyframe, other).interval

    def mean(k: int) -> float:
        return (keyframe + (k - 1) * other) / k

    assert mean(interval) <= budget * (1 + 1e-9)
    assert interval == 1 or mean(interval - 1) > budget * (1 - 1e-9)
    keyframes = list(decided(Budget(budget, keyframe, other), 3 * interval + 1))
    assert {later - earlier for earlier, later in pairwise(keyframes)} == {interval}


def test_a_p95_below_a_keyframe_leaves_one_in_21() -> None:
    assert Budget(50, 200, 20, "p95").interval == 21
    assert Budget(200, 200, 20, "p95").interval == 1
    assert decided(Budget(50, 200, 20, "p95"), 22)[21] == "budget"


def test_bounds_hold_around_another_schedule() -> None:
    parked = Bounded(Adaptive(0.05), max_interval=6)
    assert decided(parked, 13) == {0: "first", 6: "max interval", 12: "max interval"}
    shaken = Bounded(Adaptive(0.05), min_interval=3)
    assert list(decided(shaken, 7, measured=lambda gap: 1.0)) == [0, 3, 6]
    assert shaken.decide(Situation(1, 0, change=1.0)).reason == "too soon"
    old = Bounded(Adaptive(0.05), max_age_s=0.4)
    assert decided(old, 9) == {0: "first", 4: "max age", 8: "max age"}
    assert shaken.measures == ("change",)


@given(st.integers(1, 8), st.integers(0, 8), st.lists(st.floats(0, 0.2), min_size=1, max_size=40))
def test_no_keyframe_lies_outside_the_bounds(low: int, more: int, values: list[float]) -> None:
    schedule = Bounded(Adaptive(0.1), low, low + more)
    keyframes = list(decided(schedule, len(values), measured=lambda gap: values[gap % len(values)]))
    assert all(low <= later - earlier <= low + more for earlier, later in pairwise(keyframes))
    assert len(values) - 1 - keyframes[-1] < low + more


def test_every_schedule_has_a_name() -> None:
    made = {
        "fixed": FixedInterval(7),
        "max_age": MaxAge(0.4),
        "adaptive": Bounded(Adaptive(0.03, "motion"), max_age_s=0.4),
        "budget": Bounded(Budget(50, 100, 10), max_age_s=0.4),
    }
    for name in SCHEDULES:
        schedule = create_schedule(
            name,
            interval=7,
            max_age_s=0.0 if name == "fixed" else 0.4,
            threshold=0.03,
            measure="motion",
            budget_ms=50,
            costs_ms=(100, 10),
        )
        assert schedule == made[name]
    assert create_schedule("adaptive", min_interval=3) == Bounded(Adaptive(0.06), 3)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: create_schedule("sometimes"), "schedule is 'sometimes'; expected one of fixed, max_age"),
        (lambda: create_schedule("max_age"), "largest keyframe age is 0.0; expected more than 0"),
        (lambda: create_schedule("adaptive", threshold=0), "threshold of change is 0; expected more than 0"),
        (lambda: Adaptive(1, "hue"), "measure is 'hue'; expected motion or change"),
        (lambda: Budget(10, 100, 20), "budget is 10 ms; expected more than the 20 ms"),
        (lambda: Budget(50, 10, 20), "expected more than 0, and keyframes to cost no less"),
        (lambda: Budget(50, 100, 0), "expected more than 0"),
        (lambda: Budget(50, 100, 10, "p50"), "statistic is 'p50'; expected mean or p95"),
        (lambda: Bounded(FixedInterval(1), 0), "smallest keyframe interval is 0"),
        (lambda: Bounded(FixedInterval(1), 5, 4), "largest keyframe interval is 4; expected 0 .* or at least 5"),
        (lambda: Bounded(FixedInterval(1), max_age_s=-1), "largest keyframe age is -1"),
        (lambda: MaxAge(float("nan")), "largest keyframe age is nan"),
    ],
)
def test_what_cannot_be_is_refused(make: Callable[[], object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        make()
