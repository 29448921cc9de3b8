"""What changed between two reports, of frames that are made up."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dcfm_ros.evaluation.compare import (
    Change,
    CompareError,
    changes,
    check_comparable,
    parse_bound,
    read_report,
)
from dcfm_ros.evaluation.report.frames import FrameRecord, Overlap
from dcfm_ros.evaluation.report.numbers import classes_csv, frames_csv
from dcfm_ros.streaming.result import STAGES

NAMES = ("road", "car")


def write_report(
    folder: Path, agreement: Sequence[float], ms: Sequence[float] | None = None, first: int = 0, **facts: Any
) -> Path:
    """A report of 100 pixels a frame, whose agreement is of `road` alone. Every frame takes the full network 100 ms."""
    folder.mkdir()
    ms = ms or [10.0] * len(agreement)
    shown = [_record(first + i, value, ms[i]) for i, value in enumerate(agreement)]
    full = [_record(first + i, 1.0, 100.0) for i in range(len(agreement))]
    (folder / "frames.csv").write_text(frames_csv({"full": full, "K=5": shown}))
    (folder / "classes.csv").write_text(classes_csv(shown, NAMES))
    source = {"path": "drive", "sha256": "input", "labels_sha256": None, "labels": None, "topic": None} | facts
    (folder / "metrics.json").write_text(json.dumps({"shown": "K=5", "input": source, "classes": list(NAMES)}))
    return folder


def _record(number: int, agreement: float, ms: float) -> FrameRecord:
    hits = round(100 * agreement)
    return FrameRecord(
        number=number,
        stream=0,
        stamp_ns=0,
        is_keyframe=number % 5 == 0,
        reason="",
        distance=number % 5,
        stage_ms=dict.fromkeys(STAGES, 0.0),
        latency_ms=ms,
        shares=np.array([1.0, 0.0]),
        flicker=None,
        agreement=agreement,
        against_full=Overlap(np.array([hits, 0]), np.array([100, 0])),
    )


def changed(before: Path, after: Path, seed: int = 0) -> dict[str, Change]:
    return {change.name: change for change in changes(read_report(before), read_report(after), seed)}


def steady(count: int, mean: float = 0.9, spread: float = 0.1, seed: int = 0) -> list[float]:
    return list(np.random.default_rng(seed).uniform(mean - spread, mean + spread, count).round(2))


def test_equal_reports_changed_in_nothing(tmp_path: Path) -> None:
    found = changed(write_report(tmp_path / "a", steady(200)), write_report(tmp_path / "b", steady(200)))
    assert {(change.low, change.difference, change.high) for change in found.values()} == {(0, 0, 0)}
    assert not any(change.is_clear for change in found.values())
    assert set(found) == {
        *("agreement", "keyframes", "iou_full/road", "cost", "mean_ms", "p50_ms", "p95_ms", "p99_ms"),
    }


def test_values_are_those_of_all_frames(tmp_path: Path) -> None:
    ms = [*range(1, 201)]
    found = changed(write_report(tmp_path / "a", steady(200), ms), write_report(tmp_path / "b", steady(200), ms))
    assert found["agreement"].before == pytest.approx(np.mean(steady(200)))
    assert found["iou_full/road"].before == pytest.approx(np.mean(steady(200)))
    assert found["keyframes"].before == 0.2
    assert found["mean_ms"].before == 100.5
    assert found["cost"].before == 1.005
    percentiles = np.percentile(ms, (50, 95, 99), method="inverted_cdf")
    assert [found[f"p{p}_ms"].before for p in (50, 95, 99)] == list(percentiles)


def test_on_the_same_frames_a_shift_is_seen_through_any_spread(tmp_path: Path) -> None:
    values = steady(200, 0.7, 0.3)
    less = [round(value - 0.02, 2) for value in values]
    found = changed(write_report(tmp_path / "a", values), write_report(tmp_path / "b", less))["agreement"]
    assert (found.low, found.high) == pytest.approx((-0.02, -0.02))
    assert found.is_clear


def test_of_other_frames_the_spread_counts(tmp_path: Path) -> None:
    values = steady(200, 0.7, 0.3)
    less = [round(value - 0.02, 2) for value in values]
    found = changed(write_report(tmp_path / "a", values), write_report(tmp_path / "b", less, first=1))["agreement"]
    assert found.low < -0.02 < 0 < found.high


def test_the_interval_is_that_of_the_mean_where_frames_are_independent(tmp_path: Path) -> None:
    even = write_report(tmp_path / "a", [0.9] * 2000)
    spread = write_report(tmp_path / "b", steady(2000, 0.9, 0.1))
    found = changed(even, spread)["agreement"]
    expected = 1.96 * np.std(steady(2000, 0.9, 0.1)) / np.sqrt(2000)
    assert (found.high - found.low) / 2 == pytest.approx(expected, rel=0.3)


def test_frames_like_their_neighbours_make_it_wider(tmp_path: Path) -> None:
    values = steady(100, 0.8, 0.1)
    even = write_report(tmp_path / "even", [0.9] * 2000)
    alone = changed(even, write_report(tmp_path / "alone", values * 20))["agreement"]
    alike = changed(even, write_report(tmp_path / "alike", list(np.repeat(values, 20))))["agreement"]
    assert alike.high - alike.low > 3 * (alone.high - alone.low)


def test_intervals_are_the_same_each_time(tmp_path: Path) -> None:
    reports = write_report(tmp_path / "a", steady(100)), write_report(tmp_path / "b", steady(100, seed=1))
    assert changed(*reports, seed=3) == changed(*reports, seed=3)
    assert changed(*reports, seed=3)["agreement"] != changed(*reports, seed=4)["agreement"]


CHANGE = Change("agreement", 0.9, 0.88, -0.03, -0.01)
TIME = Change("mean_ms", 50.0, 54.0, 2.0, 6.0)


@pytest.mark.parametrize(
    "text, change, kept",
    [
        ("agreement>=-0.03", CHANGE, True),
        ("agreement>=-0.02", CHANGE, False),  # the difference keeps it, its interval does not
        ("agreement<=0", CHANGE, True),
        ("agreement >= -5%", CHANGE, True),
        ("agreement>=-3%", CHANGE, False),
        ("mean_ms<=6", TIME, True),
        ("mean_ms<=5.9", TIME, False),
        ("mean_ms<=12%", TIME, True),
        ("mean_ms<=11%", TIME, False),
    ],
)
def test_a_bound_is_kept_by_the_whole_interval(text: str, change: Change, kept: bool) -> None:
    bound = parse_bound(text)
    assert bound.name == change.name
    assert bound.is_kept(change) is kept


@pytest.mark.parametrize("text", ["", "agreement", "agreement>-0.1", "agreement>=", ">=1", "agreement>=few"])
def test_what_is_no_bound_is_refused(text: str) -> None:
    with pytest.raises(CompareError, match=r"is no bound; expected .*agreement>=-0\.01"):
        parse_bound(text)


@pytest.mark.parametrize(
    "facts, named",
    [
        ({"sha256": "x"}, "inputs: the files in drive have changed between them; expected the same, or --other-input"),
        ({"sha256": "x", "path": "rear"}, "inputs: drive and rear; expected the same, or --other-input"),
        ({"topic": "/rear"}, "topics: none was named and /rear"),
        ({"labels_sha256": "y", "labels": "by_hand"}, "labels: none was named and by_hand"),
    ],
)
def test_other_inputs_are_compared_only_when_told(tmp_path: Path, facts: dict[str, Any], named: str) -> None:
    before = read_report(write_report(tmp_path / "a", [1.0]))
    after = read_report(write_report(tmp_path / "b", [1.0], **facts))
    with pytest.raises(CompareError, match=f"b are of different {named}"):
        check_comparable(before, after, other_input=False)
    check_comparable(before, after, other_input=True)


def test_other_classes_are_never_compared(tmp_path: Path) -> None:
    before = read_report(write_report(tmp_path / "a", [1.0]))
    after = read_report(write_report(tmp_path / "b", [1.0]))
    after.metrics["classes"].append("tree")
    with pytest.raises(CompareError, match="other classes"):
        check_comparable(before, after, other_input=True)


@pytest.mark.parametrize("file", ["metrics.json", "frames.csv", "classes.csv"])
def test_a_report_without_one_of_its_files_is_refused(tmp_path: Path, file: str) -> None:
    folder = write_report(tmp_path / "a", [1.0])
    (folder / file).unlink()
    with pytest.raises(CompareError, match=rf"{file} cannot be read.*dcfm report"):
        read_report(folder)


@pytest.mark.parametrize("text", ["{}", "[]", "no json"])
def test_another_file_of_that_name_is_refused(tmp_path: Path, text: str) -> None:
    folder = write_report(tmp_path / "a", [1.0])
    (folder / "metrics.json").write_text(text)
    with pytest.raises(CompareError, match="another kind of report"):
        read_report(folder)
