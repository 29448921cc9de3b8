"""The judge of `make soak` finds made-up leaks, gaps and losses, and nothing in a run that is well."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest
from soak.judge import End, Sample, growth_mb_per_hour, growth_mb_per_trip, judge

from dcfm_ros.node.worker import Counts

WELL = [End("drive", ("front",), 605, 0, "[INFO] segmenting /image")]
SECONDS = 600


def samples(change: Callable[[Sample], dict[str, Any]] = lambda sample: {}) -> list[Sample]:
    """Ten minutes at one report a second, 20 messages and 15 answers in each, 1 bad message in 10 seconds."""

    def sample(second: int) -> Sample:
        return Sample(
            phase="drive",
            camera="front",
            seconds=second + 5.0,
            state="active",
            counts=Counts(20 * second, 15 * second, 5 * second - second // 10 - 1, second // 10, pending=1),
            p95_ms=20.0 + second % 7,
            private_mb=400 + second % 5,
            rss_mb=600,
            threads=20 + second % 2,
            files=12 + second % 3,
            sent=20 * second + 5,
            hostile=second // 10,
            masks=15 * second,
            timings=15 * second,
            is_due=True,
            trips=second // 60,
        )

    made = (sample(second) for second in range(1, SECONDS))
    return [replace(one, **change(one)) for one in made]


def the_one(found: Sequence[str]) -> str:
    assert len(found) == 1, found
    return found[0]


def with_counts(**changes: Any) -> Callable[[Sample], dict[str, Any]]:
    """Counts changed in the sample after 300 seconds and later ones."""
    return lambda sample: {"counts": replace(sample.counts, **changes)} if sample.seconds > 300 else {}


def test_a_run_that_is_well_is_left_alone() -> None:
    assert judge(samples(), WELL) == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda s: {"private_mb": s.private_mb + 0.1 * s.seconds}, "drive, front: memory grew by"),
        (
            lambda s: {"trips": s.seconds // 10, "private_mb": 2 * (s.seconds // 10)},
            "2.0 MB with each of 31 round",
        ),
        (lambda s: {"threads": s.threads + int(s.seconds // 20)}, "threads grew"),
        (lambda s: {"files": s.files + int(s.seconds // 30)}, "files grew"),
        (lambda s: {"p95_ms": s.p95_ms + max(0, s.seconds - 350)}, "latency (p95) drifted"),
        (with_counts(dropped=0), "the counts do not add up"),
        (with_counts(pending=3), "the counts do not add up"),
        (with_counts(failed=1, pending=0), "1 frames failed; expected none"),
        (lambda s: {"sent": s.sent - 10}, "messages were received of"),
        (lambda s: {"hostile": 0}, "59 messages were rejected, of which 0 were bad"),
        (lambda s: {"masks": min(s.masks, 3000)}, "no masks came for 399 s"),
        (lambda s: {"timings": 0}, "no timings came at all"),
    ],
)
def test_what_is_wrong_is_found(change: Callable[[Sample], dict[str, Any]], said: str) -> None:
    assert any(said in sentence for sentence in judge(samples(change), WELL))


def test_memory_is_followed_between_round_trips_which_take_and_free_engines() -> None:
    def leaking(sample: Sample) -> dict[str, Any]:
        return {"private_mb": sample.private_mb + 0.1 * sample.seconds + 40 * (sample.trips % 2)}

    assert growth_mb_per_hour(samples(leaking)) == pytest.approx(360, rel=0.1)
    by_trip = samples(
        lambda s: {"trips": int(s.seconds // 10), "private_mb": 2 * (s.seconds // 10) + 7 * (s.seconds % 2)}
    )
    assert growth_mb_per_trip(by_trip) == pytest.approx(2, rel=0.1)
    assert growth_mb_per_hour(by_trip) is None


def test_a_leak_that_began_and_ended_at_the_start_is_a_warm_up() -> None:
    assert judge(samples(lambda s: {"private_mb": 300 + min(s.seconds, 250)}), WELL) == []


def test_memory_is_held_against_what_the_node_takes_while_it_is_active() -> None:
    def grows_while_it_is_cleaned_up(sample: Sample) -> dict[str, Any]:
        return {"state": "unconfigured", "private_mb": sample.seconds} if int(sample.seconds) % 3 == 0 else {}

    assert judge(samples(grows_while_it_is_cleaned_up), WELL) == []


def test_counts_that_fall_are_found() -> None:
    begun_anew = [replace(s, counts=Counts()) if s.seconds > 300 else s for s in samples()]
    assert "received fell from" in the_one(judge(begun_anew, WELL))


def test_answers_are_missed_only_while_they_are_due() -> None:
    def silent(sample: Sample) -> dict[str, Any]:
        return {"masks": min(sample.masks, 3000), "is_due": sample.masks < 3000}

    assert judge(samples(silent), WELL) == []
    # In many short times that add up, they are.
    often = [replace(s, masks=min(s.masks, 3000), is_due=int(s.seconds) % 10 < 5) for s in samples()]
    assert "no masks came for" in the_one(judge(often, WELL))


def test_silence_is_found() -> None:
    gap = [s for s in samples() if not 200 < s.seconds < 260]
    assert "/diagnostics was silent for 60 s" in the_one(judge(gap, WELL))
    assert "came after 100 s" in the_one(judge([s for s in samples() if s.seconds >= 100], WELL))
    assert "drive, front: /diagnostics never came" in the_one(judge([], WELL))


@pytest.mark.parametrize(
    ("end", "said"),
    [
        (End("drive", ("front",), 605, None, ""), "the node did not end when it was interrupted"),
        (End("drive", ("front",), 700, 0, ""), "/diagnostics was silent for 96 s"),
        (End("drive", ("front",), 605, -11, ""), "the node ended with -11"),
        (End("drive", ("front",), 605, 0, "x\nTraceback (most recent call last):\n"), "the log has 1 errors"),
        (End("drive", ("front",), 605, 0, "[ERROR] a frame failed: KeyError()\n"), "a frame failed: KeyError()"),
        (End("drive", ("front",), 605, 0, "", ("a service did not answer",) * 2), "drive: a service did not answer"),
    ],
)
def test_a_bad_end_is_found(end: End, said: str) -> None:
    assert said in the_one(judge(samples(), [end]))
