"""Features that follow the picture, in a stream."""

from __future__ import annotations

import numpy as np
import pytest
from fake_backend import SECOND, FakeBackend, frame, stream_of
from moving_pictures import moved, texture

from dcfm_ros.imaging.frame import Frame
from dcfm_ros.imaging.motion import Motion
from dcfm_ros.streaming import Decision, FixedInterval, Schedule, Situation
from dcfm_ros.streaming.schedules import Adaptive


def stream(steps: int, right: int = 0) -> list[Frame]:
    """A camera that turns: each picture lies `right` pixels further than the one before."""
    return [Frame(moved(texture(), i * right, 0), stamp_ns=SECOND + i * SECOND // 10) for i in range(steps)]


def test_where_nothing_moves_nothing_is_aligned() -> None:
    backend = FakeBackend()
    segmenter = stream_of(backend, FixedInterval(9), align="flow")
    for picture in stream(4):
        segmenter.push(picture)
    assert backend.grids == []


def test_frames_are_aligned_with_their_keyframe_and_keyframes_are_not() -> None:
    backend = FakeBackend()
    segmenter = stream_of(backend, FixedInterval(3), align="flow")
    results = [segmenter.push(picture)[0] for picture in stream(5, right=4)]
    assert [result.stage_ms["align"] > 0 for result in results] == [False, True, True, False, True]
    assert [result.stage_ms["motion"] > 0 for result in results] == [True] * 5
    offsets = [np.median(grid - Motion(None).grid((45, 60)), (0, 1))[0] * 240 for grid in backend.grids]
    assert offsets == pytest.approx([-4, -8, -4], abs=1)


def test_bidirectional_frames_are_aligned_with_both_keyframes() -> None:
    backend = FakeBackend()
    segmenter = stream_of(backend, FixedInterval(3), mode="bidirectional", align="flow")
    for picture in stream(4, right=6):
        segmenter.push(picture)
    offsets = [np.median(grid - Motion(None).grid((45, 60)), (0, 1))[0] * 240 for grid in backend.grids]
    assert offsets == pytest.approx([-6, 12, -12, 6], abs=1)


def test_a_keyframe_on_its_way_is_followed_until_it_comes_into_use() -> None:
    backend = FakeBackend()
    backend.let_through.set()
    segmenter = stream_of(backend, FixedInterval(3), align="flow", keyframe_mode="async", swap_after=2)
    results = [segmenter.push(picture)[0] for picture in stream(7, right=4)]
    segmenter.close()
    assert [result.keyframe_index for result in results] == [0, 0, 0, 0, 0, 3, 3]
    offsets = [np.median(grid - Motion(None).grid((45, 60)), (0, 1))[0] * 240 for grid in backend.grids]
    assert offsets == pytest.approx([-4, -8, -12, -16, -8, -12], abs=1.5)


def test_without_alignment_no_motion_is_looked_for() -> None:
    backend = FakeBackend()
    for mode, align in (("causal", "none"), ("full", "flow")):
        segmenter = stream_of(backend, FixedInterval(3), mode=mode, align=align)
        assert all(segmenter.push(picture)[0].stage_ms["motion"] < 0.2 for picture in stream(3, right=4))
    assert backend.grids == []


def test_a_schedule_sees_what_changed_since_the_keyframe_where_it_asks() -> None:
    seen: list[Situation] = []

    class Watching(Schedule):
        needs_change = True

        def decide(self, situation: Situation) -> Decision:
            seen.append(situation)
            return Decision(situation.index == 2, "third")

    segmenter = stream_of(FakeBackend(), Watching())
    for value in (0, 1, 3, 7):  # the fake's change is a tenth of the difference
        segmenter.push(frame(value, stamp=10 + value / 10))
    assert [situation.keyframe_index for situation in seen] == [None, 0, 0, 2]
    assert [situation.change for situation in seen] == [None, *map(pytest.approx, (0.1, 0.1 + 0.3, 0.4))]


def test_a_parked_robot_takes_no_keyframes_and_a_turning_one_many() -> None:
    parked, turning = (stream_of(FakeBackend(), Adaptive(0.2)) for _ in range(2))
    assert [parked.push(frame(0, 10 + i / 10))[0].is_keyframe for i in range(6)] == [True] + [False] * 5
    results = [turning.push(frame(i))[0] for i in range(6)]
    assert [result.is_keyframe for result in results] == [True, False, True, False, True, False]
    assert results[2].reason == "change 0.300"


def test_a_schedule_that_comes_later_finds_nothing_to_compare_with_and_takes_a_keyframe() -> None:
    segmenter = stream_of(FakeBackend(), FixedInterval(9))
    segmenter.push(frame(0))
    segmenter.schedule = Adaptive(1)
    assert segmenter.push(frame(1))[0].reason == "change inf"
    assert segmenter.push(frame(2))[0].reason == "reused"


def test_another_alignment_is_refused() -> None:
    with pytest.raises(ValueError, match="align is 'warp'; expected one of none, flow"):
        stream_of(FakeBackend(), align="warp")
