"""What `/diagnostics` says, from counts, latencies and limits; no node runs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import pytest
from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticStatus
from hypothesis import given
from hypothesis import strategies as st

from dcfm_ros.node.diagnostics import WINDOW, CameraReport, Diagnostics, Latencies
from dcfm_ros.node.health import Limits
from dcfm_ros.node.worker import Counts


def report(latencies: Latencies | None = None, problem: str = "", **counts: int) -> CameraReport:
    return CameraReport(Counts(**counts), latencies or Latencies(), 0.04, 0.2, problem)


def statuses(
    diagnostics: Diagnostics,
    seconds: float,
    cameras: Mapping[str, CameraReport],
    state: str = "active",
    problem: str = "",
    **limits: float,
) -> list[DiagnosticStatus]:
    now = Time(sec=math.floor(seconds), nanosec=round(seconds % 1 * 1e9))
    message = diagnostics.message(now, state, cameras, Limits(**limits), problem, "a CPU", {"device": "torch on a CPU"})
    assert message.header.stamp == now
    return list(message.status)


def values(status: DiagnosticStatus) -> dict[str, str]:
    found = {pair.key: pair.value for pair in status.values}
    assert len(found) == len(status.values), "a key is there twice"
    return found


def test_one_camera_has_one_status_with_everything() -> None:
    diagnostics, latencies = Diagnostics("segmentation"), Latencies()
    for milliseconds in (10.0, 20.0):
        latencies.add(True, 5 * milliseconds)
        latencies.add(False, milliseconds)
    statuses(diagnostics, 10, {"": report(latencies)})
    counts: dict[str, Any] = {
        "received": 44,
        "processed": 30,
        "dropped": 10,
        "rejected": 0,
        "failed": 0,
        "skipped": 0,
        "pending": 2,
    }
    (status,) = statuses(diagnostics, 12, {"": report(latencies, **counts)})
    assert (status.name, status.level, status.message) == ("segmentation", DiagnosticStatus.OK, "segmenting")
    assert status.hardware_id == "a CPU"
    percentiles = {
        "keyframe_p50_ms": "75.0",
        "keyframe_p95_ms": "97.5",
        "keyframe_p99_ms": "99.5",
        "other_frame_p50_ms": "15.0",
        "other_frame_p95_ms": "19.5",
        "other_frame_p99_ms": "19.9",
    }
    assert values(status) == {
        "state": "active",
        **{key: str(value) for key, value in counts.items()},
        "rate_hz": "15.0",
        "drop_ratio": "0.25",
        **percentiles,
        "input_age_s": "0.040",
        "keyframe_age_s": "0.200",
        "device": "torch on a CPU",
    }


def test_what_was_never_measured_is_not_there() -> None:
    unmeasured = CameraReport(Counts(), Latencies(), None, None)
    (status,) = statuses(Diagnostics("segmentation"), 0, {"": unmeasured}, "inactive")
    assert (status.level, status.message) == (DiagnosticStatus.WARN, "the node is inactive")
    assert not {"drop_ratio", "input_age_s", "keyframe_age_s", "keyframe_p50_ms"} & values(status).keys()


def test_several_cameras_have_a_status_each_and_the_node_sums_and_says_the_worst() -> None:
    diagnostics = Diagnostics("segmentation")
    statuses(diagnostics, 0, {"front": report(), "left": report(), "rear": report()})
    cameras = {
        "front": report(received=30, processed=20, dropped=10),
        "left": report(received=30, processed=29, rejected=1, problem="an image was rejected: rgb12"),
        "rear": report(received=2, failed=2),
    }
    node, *others = statuses(diagnostics, 1, cameras)
    assert [status.name for status in others] == ["segmentation: front", "segmentation: left", "segmentation: rear"]
    assert [(status.level, status.message) for status in others] == [
        (DiagnosticStatus.OK, "segmenting"),
        (DiagnosticStatus.WARN, "an image was rejected: rgb12"),
        (DiagnosticStatus.ERROR, "frames that failed in the last second: 2"),
    ]
    said = (DiagnosticStatus.ERROR, "rear: frames that failed in the last second: 2")
    assert (node.name, (node.level, node.message)) == ("segmentation", said)
    sums = {"received": "62", "processed": "49", "dropped": "10", "rejected": "1", "failed": "2", "rate_hz": "49.0"}
    assert (
        values(node).items() >= {**sums, "drop_ratio": "0.161", "state": "active", "device": "torch on a CPU"}.items()
    )
    assert "input_age_s" not in values(node)
    assert values(others[0]).items() >= {"state": "active", "rate_hz": "20.0", "input_age_s": "0.040"}.items()
    assert "device" not in values(others[0])


def test_a_problem_of_the_node_is_said_once() -> None:
    def of(state: str = "active", **front: Any) -> list[tuple[bytes, str]]:
        cameras = {"front": report(**{"received": 3, **front}), "left": report(received=3)}
        return [(s.level, s.message) for s in statuses(Diagnostics("segmentation"), 1, cameras, state, "no memory")]

    assert of() == [
        (DiagnosticStatus.WARN, "no memory"),
        (DiagnosticStatus.OK, "segmenting"),
        (DiagnosticStatus.OK, "segmenting"),
    ]
    assert of(failed=1)[0] == (DiagnosticStatus.ERROR, "no memory | front: frames that failed in the last second: 1")
    inactive = (DiagnosticStatus.WARN, "the node is inactive")
    assert of("inactive") == [(DiagnosticStatus.WARN, "no memory | the node is inactive"), inactive, inactive]
    assert of("broken")[0] == (DiagnosticStatus.ERROR, "no memory | the node is broken")


def test_the_only_cameras_problem_joins_the_nodes() -> None:
    camera = report(received=1, rejected=1, problem="an image was rejected: rgb12")
    (status,) = statuses(Diagnostics("segmentation"), 1, {"": camera}, problem="building an engine: 40 %")
    assert status.message == "building an engine: 40 % | an image was rejected: rgb12"


def test_cameras_that_agree_are_quoted_and_no_camera_at_all_is_well_to_say() -> None:
    disabled = report(received=5, skipped=5)
    node, front, _ = statuses(Diagnostics("segmentation"), 1, {"front": disabled, "left": disabled})
    assert node.message == front.message != "segmenting"
    (node,) = statuses(Diagnostics("segmentation"), 1, {}, "unconfigured")
    assert (node.level, node.message) == (DiagnosticStatus.WARN, "the node is unconfigured")


def test_each_camera_is_held_to_the_limits_by_what_it_published_since_the_last_report() -> None:
    diagnostics = Diagnostics("segmentation")
    front, left = Latencies(), Latencies()
    seen = []
    for second, front_ms in enumerate([250.0, 250.0, 10.0, 10.0, 10.0]):
        for _ in range(10):
            front.add(False, front_ms)
            left.add(False, 50.0)
        count = 10 * (second + 1)
        cameras = {
            "front": report(front, received=count, processed=count),
            "left": report(left, received=count, processed=count),
        }
        seen.append([status.level for status in statuses(diagnostics, second, cameras, max_latency_ms=100)])
    ok, error = DiagnosticStatus.OK, DiagnosticStatus.ERROR
    assert seen == [[ok, ok, ok], *[[error, error, ok]] * 3, [ok, ok, ok]]


def test_a_camera_that_comes_back_is_judged_anew() -> None:
    diagnostics = Diagnostics("segmentation")

    def level(second: int, cameras: Mapping[str, CameraReport]) -> Any:
        return statuses(diagnostics, second, cameras, max_keyframe_age_s=0.01)[0].level

    steady = {"": report(received=9, processed=9)}
    assert [level(0, steady), level(1, {"": report(received=12)})] == [DiagnosticStatus.OK, DiagnosticStatus.ERROR]
    level(2, {})
    assert level(3, steady) == DiagnosticStatus.OK


@given(st.lists(st.tuples(st.floats(0, 1e9), st.integers(0, 100)), min_size=1))
def test_no_clock_and_no_count_that_begins_anew_makes_a_negative_figure(reports: list[tuple[float, int]]) -> None:
    diagnostics = Diagnostics("segmentation")
    for seconds, count in reports:
        camera = report(received=2 * count, processed=count, dropped=count)
        for status in statuses(diagnostics, seconds, {"front": camera, "left": camera}):
            assert float(values(status)["rate_hz"]) >= 0
            assert 0 <= float(values(status).get("drop_ratio", 0)) <= 1


def test_the_rate_goes_on_after_the_clock_was_set_back() -> None:
    diagnostics = Diagnostics("segmentation")
    rates = [
        values(statuses(diagnostics, seconds, {"": report(received=count, processed=count)})[0])["rate_hz"]
        for seconds, count in [(100, 0), (101.5, 30), (5, 45), (6, 75)]
    ]
    assert rates == ["0.0", "20.0", "0.0", "30.0"]


def test_the_p95_is_of_what_was_added_since_it_was_taken() -> None:
    latencies = Latencies()
    assert latencies.take_p95() is None
    latencies.add(True, 7.0)
    assert latencies.take_p95() == 7.0
    assert latencies.take_p95() is None
    for milliseconds in range(101):
        latencies.add(milliseconds % 2 == 0, milliseconds)
    assert latencies.take_p95() == 95.0
    for milliseconds in range(WINDOW + 5):
        latencies.add(False, milliseconds)
    assert latencies.take_p95() == pytest.approx(5 + 0.95 * (WINDOW - 1))
    assert latencies.percentiles()["keyframe_p50_ms"] == 49.0
