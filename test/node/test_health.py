"""When a camera is well: limits with hysteresis, and the sentences."""

from __future__ import annotations

import math
from itertools import groupby
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dcfm_ros.node.health import BROKEN_STATES, Health, Level, LimitError, Limits, Measures

LIMIT = 100.0
reports = st.lists(st.none() | st.sampled_from([0.0, 50.0, 89.0, 90.0, 95.0, 100.0, 101.0, 150.0, 201.0, 500.0]))


def measures(latency: float | None = None, **fields: Any) -> Measures:
    return Measures(latency_p95_ms=latency, **{"received": 30, **fields})


def levels(latencies: list[float | None], limit: float = LIMIT) -> list[Level]:
    health = Health()
    return [health.judge(measures(latency), Limits(max_latency_ms=limit))[0] for latency in latencies]


def sentence(health: Health, shown: Measures, limits: Limits, times: int = 2) -> tuple[Level, str]:
    return [health.judge(shown, limits) for _ in range(times)][-1]


def test_a_level_rises_after_two_reports_and_falls_after_three_well_below() -> None:
    assert levels([101.0, 101.0, 95.0, 95.0, 95.0, 89.0, 89.0, 95.0, 89.0, 89.0, 89.0, 101.0]) == [
        Level.OK,
        *[Level.WARN] * 9,
        Level.OK,
        Level.OK,
    ]
    assert levels([101.0, 101.0, 90.0, 90.0, 90.0])[-1] is Level.WARN
    assert levels([201.0, 201.0, 150.0, 150.0, 150.0, 50.0, None, None]) == [
        Level.OK,
        *[Level.ERROR] * 3,
        *[Level.WARN] * 2,
        Level.WARN,
        Level.OK,
    ]


@given(reports)
def test_a_level_changes_only_with_enough_reports_behind_it(latencies: list[float | None]) -> None:
    seen = [Level.OK, *levels(latencies)]
    for now in range(1, len(seen)):
        last_two = [value or 0.0 for value in latencies[max(0, now - 2) : now]]
        last_three = [value or 0.0 for value in latencies[max(0, now - 3) : now]]
        if seen[now] > seen[now - 1]:
            assert len(last_two) == 2
            assert min(last_two) > seen[now] * LIMIT
        if seen[now] < seen[now - 1]:
            assert len(last_three) == 3
            assert max(last_three) < 0.9 * seen[now - 1] * LIMIT


@given(reports)
def test_a_level_never_flickers(latencies: list[float | None]) -> None:
    """A run of reports above OK takes three at least, one of OK between two such runs takes two."""
    runs = [(is_raised, len(list(run))) for is_raised, run in groupby(level > Level.OK for level in levels(latencies))]
    assert all(length >= (3 if is_raised else 2) for is_raised, length in runs[1:-1])


@given(st.lists(st.floats(0, 0.89 * LIMIT) | st.none()), reports)
def test_what_stays_well_below_its_limit_is_ok_whatever_was_before(
    calm: list[float | None], before: list[float | None]
) -> None:
    assert set(levels([*before, 0.0, 0.0, 0.0, *calm])[len(before) + 2 :]) == {Level.OK}


@given(st.lists(st.floats(2 * LIMIT, 1e9, exclude_min=True), min_size=2), reports)
def test_what_stays_far_above_its_limit_is_an_error_whatever_was_before(
    high: list[float | None], before: list[float | None]
) -> None:
    assert set(levels([*before, *high])[len(before) + 1 :]) == {Level.ERROR}


@given(reports)
def test_no_limit_is_never_crossed(latencies: list[float | None]) -> None:
    assert set(levels(latencies, limit=0.0)) <= {Level.OK}


@pytest.mark.parametrize(
    ("shown", "limits", "said"),
    [
        ({"latency": 143.0}, {"max_latency_ms": 100}, "latency p95 is 143 ms; the limit is 100 ms"),
        ({"input_age_s": 0.75}, {"max_input_age_s": 0.5}, "input age is 0.75 s; the limit is 0.5 s"),
        ({"keyframe_age_s": 1.25}, {"max_keyframe_age_s": 1}, "keyframe age is 1.25 s; the limit is 1 s"),
        ({"drop_ratio": 0.8}, {"max_drop_ratio": 0.1}, "the share of dropped images is 80 %; the limit is 10 %"),
        ({"input_age_s": 1.79e9}, {"max_input_age_s": 1e9}, "input age is 1790000000 s; the limit is 1000000000 s"),
    ],
)
def test_a_sentence_has_the_number_and_the_limit(shown: dict[str, float], limits: dict[str, float], said: str) -> None:
    assert sentence(Health(), measures(**shown), Limits(**limits)) == (Level.WARN, said)


def test_an_alarm_that_is_about_to_fall_tells_what_it_was() -> None:
    health, limits = Health(), Limits(max_latency_ms=100)
    sentence(health, measures(143.0), limits)
    was = (Level.WARN, "latency p95 was 143 ms; the limit is 100 ms")
    assert [health.judge(measures(50.0), limits) for _ in range(3)] == [was, was, (Level.OK, "segmenting")]


@pytest.mark.parametrize(("ratio", "level"), [(0.1, Level.OK), (0.9, Level.WARN), (1.0, Level.ERROR)])
def test_drops_are_an_error_when_nothing_is_left(ratio: float, level: Level) -> None:
    assert sentence(Health(), measures(drop_ratio=ratio), Limits(max_drop_ratio=0.1))[0] is level


@pytest.mark.parametrize(
    ("shown", "problem", "expected"),
    [
        (measures(failed=2), "", (Level.ERROR, "frames that failed in the last second: 2")),
        (measures(failed=2), "a frame failed: no memory", (Level.ERROR, "a frame failed: no memory")),
        (measures(rejected=3), "", (Level.WARN, "messages rejected in the last second: 3")),
        (measures(rejected=3), "an image was rejected: rgb12", (Level.WARN, "an image was rejected: rgb12")),
        (measures(received=0), "", (Level.WARN, "no image in the last second")),
        (measures(), "building an engine: 40 %", (Level.WARN, "building an engine: 40 %")),
        (measures(), "", (Level.OK, "segmenting")),
    ],
)
def test_what_happened_is_said_at_once_and_for_one_report(
    shown: Measures, problem: str, expected: tuple[Level, str]
) -> None:
    health = Health()
    assert health.judge(shown, Limits(), problem=problem) == expected
    assert health.judge(measures(), Limits()) == (Level.OK, "segmenting")


def test_several_problems_are_joined_the_worst_first() -> None:
    health, limits = Health(), Limits(max_latency_ms=100, max_input_age_s=1)
    assert sentence(health, measures(143.0, input_age_s=9.0, received=0), limits) == (
        Level.ERROR,
        "input age is 9 s; the limit is 1 s | no image in the last second | latency p95 is 143 ms; the limit is 100 ms",
    )


def test_an_inactive_node_is_a_warning_and_holds_no_limit() -> None:
    health, limits = Health(), Limits(max_input_age_s=1)
    stale = measures(input_age_s=100.0, received=0)
    assert sentence(health, stale, limits)[0] is Level.ERROR
    assert health.judge(stale, limits, "inactive") == (Level.WARN, "the node is inactive")
    assert health.judge(stale, limits, "inactive", "no such file") == (
        Level.WARN,
        "no such file | the node is inactive",
    )
    assert health.judge(stale, limits) == (Level.WARN, "no image in the last second")  # counted anew


@pytest.mark.parametrize("state", BROKEN_STATES)
def test_a_broken_engine_is_an_error(state: str) -> None:
    assert Health().judge(measures(received=0), Limits(), state, "out of memory") == (
        Level.ERROR,
        f"out of memory | the node is {state}",
    )


def test_a_node_that_skips_every_image_is_no_fault() -> None:
    health, limits = Health(), Limits(max_keyframe_age_s=1)
    skipping = "every image is skipped: disabled, or not ready yet"
    shown = measures(keyframe_age_s=50.0, skipped=30)
    assert sentence(health, shown, limits) == (Level.OK, skipping)
    assert health.judge(shown, limits, problem="building an engine: 40 %") == (Level.WARN, "building an engine: 40 %")
    stopped = measures(keyframe_age_s=51.0, received=0)
    assert sentence(health, stopped, limits) == (Level.WARN, "no image in the last second")
    assert sentence(health, measures(keyframe_age_s=52.0, skipped=29), limits)[0] is Level.ERROR


@pytest.mark.parametrize("value", [-1.0, math.nan, math.inf])
@pytest.mark.parametrize("name", ["max_latency_ms", "max_input_age_s", "max_keyframe_age_s", "max_drop_ratio"])
def test_a_limit_is_a_number_from_zero(name: str, value: float) -> None:
    with pytest.raises(LimitError, match=f"{name} is {value}; expected 0"):
        Limits(**{name: value})
