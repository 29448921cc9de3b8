"""What the charts hold of a run with more frames than a page has pixels."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from dcfm_ros.evaluation.report import charts
from dcfm_ros.evaluation.report.frames import FrameRecord
from dcfm_ros.imaging.labels import CAMVID
from dcfm_ros.streaming.result import STAGES

FRAMES = 4000


@pytest.fixture(scope="module")
def records() -> list[FrameRecord]:
    """A keyframe on every tenth; frame 1234 is slow, and flickers."""
    shares = np.eye(len(CAMVID))
    return [
        FrameRecord(
            number=number,
            stream=0,
            stamp_ns=number * 50_000_000,
            is_keyframe=number % 10 == 0,
            reason="",
            distance=number % 10,
            stage_ms=dict.fromkeys(STAGES, 0.0),
            latency_ms=500.0 if number == 1234 else 100.0 if number % 10 == 0 else 20.0,
            shares=shares[number % 2],
            flicker=None if number < 2 else 0.5 if number == 1234 else 0.01,
        )
        for number in range(FRAMES)
    ]


def drawn(chart: Any) -> dict[str, dict[float, float]]:
    """Points by curve."""
    return {curve.name: dict(zip(curve.x, curve.y, strict=True)) for curve in chart.data}


def test_the_slowest_frames_stay(records: list[FrameRecord]) -> None:
    curves = drawn(charts.latency(records, []))
    assert curves["other frame"][1234] == 500
    assert set(curves["keyframe"].values()) == {100}
    assert all(len(points) <= charts.MAX_POINTS for points in curves.values())


def test_the_worst_flicker_stays(records: list[FrameRecord]) -> None:
    (points,) = drawn(charts.flicker({"K=10": records})).values()
    assert points[1234] == 50
    assert len(points) <= charts.MAX_POINTS


def test_shares_are_the_mean_of_each_stretch(records: list[FrameRecord]) -> None:
    curves = drawn(charts.shares(records, CAMVID))
    assert list(curves) == ["sky", "building"]
    assert curves["sky"][0] == pytest.approx(100 * 2 / 3, abs=0.01)
    assert curves["building"][0] == pytest.approx(100 / 3, abs=0.01)


def test_every_frame_of_a_short_run_is_drawn(records: list[FrameRecord]) -> None:
    curves = drawn(charts.latency(records[:100], records[:100]))
    assert (len(curves["other frame"]), len(curves["keyframe"]), len(curves["full network"])) == (90, 10, 100)
