"""Keyframes beside the stream: the stream never waits, each comes into use once, and replays agree."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import pytest
from fake_backend import FakeBackend, frame, stream_of

from dcfm_ros.streaming import FixedInterval, Segmentation, StreamSegmenter
from dcfm_ros.streaming.keyframes import KeyframeWorker
from dcfm_ros.streaming.schedules import Adaptive, Replayed


def in_use(results: Sequence[Segmentation]) -> list[int]:
    return [result.keyframe_index for result in results]


def live(backend: FakeBackend, interval: int = 2) -> StreamSegmenter:
    return stream_of(backend, FixedInterval(interval), keyframe_mode="async")


def wait_until_idle(segmenter: StreamSegmenter) -> None:
    assert segmenter._keyframes._worker is not None
    segmenter._keyframes._worker.wait()


def test_the_stream_goes_on_with_the_last_feature_until_the_new_one_is_there() -> None:
    backend = FakeBackend()
    segmenter = live(backend)
    results = [segmenter.push(frame(value))[0] for value in range(5)]  # nothing is let through yet
    assert [result.reason for result in results] == ["first", "reused", "interval", *["keyframe under way"] * 2]
    assert [result.is_keyframe for result in results] == [True, False, True, False, False]
    assert in_use(results) == [0] * 5
    assert [result.keyframe_age_frames for result in results] == [0, 1, 2, 3, 4]
    assert backend.decided == {value: [0] for value in range(5)}

    backend.let_through.set()
    wait_until_idle(segmenter)
    backend.let_through.clear()
    later = [segmenter.push(frame(value))[0] for value in (5, 6)]
    assert in_use(later) == [2, 2]
    assert later[0].keyframe_age_frames == 3
    assert later[0].keyframe_age_s == pytest.approx(0.3)
    assert (later[0].background_ms > 0, later[1].background_ms) == (True, 0)
    assert later[0].reason == "interval"  # due since long, and now nothing is under way
    backend.let_through.set()
    segmenter.close()


def test_the_first_keyframe_of_a_stream_is_waited_for_and_the_others_have_a_thread_of_their_own() -> None:
    backend = FakeBackend()
    backend.let_through.set()
    segmenter = live(backend, interval=1)
    first = segmenter.push(frame(0))[0]
    assert (first.stage_ms["common"] > 0, backend.threads) == (True, [])
    second = segmenter.push(frame(1))[0]
    wait_until_idle(segmenter)
    assert second.stage_ms["common"] == 0
    assert len(backend.threads) == 1 and backend.threads[0] != threading.get_ident()
    segmenter.close()


def test_a_keyframe_is_never_started_while_one_runs() -> None:
    backend = FakeBackend()
    worker = KeyframeWorker(backend)
    one, other = (stream_of(backend, FixedInterval(1), keyframe_mode="async", worker=worker) for _ in range(2))
    one.push(frame(0)), other.push(frame(10))
    assert one.push(frame(1))[0].reason == "interval"
    assert other.push(frame(11))[0].reason == "keyframe under way"
    backend.let_through.set()
    worker.wait()
    assert other.push(frame(12))[0].reason == "interval"
    worker.close()
    assert [call for call in backend.calls if call.startswith("common")] == [
        "common 0", "common 10", "common 1", "common 12"
    ]  # fmt: skip


def test_a_replay_swaps_a_fixed_number_of_frames_later() -> None:
    def masks() -> tuple[list[int], list[str]]:
        backend = FakeBackend()
        backend.let_through.set()
        segmenter = stream_of(backend, FixedInterval(4), keyframe_mode="async", swap_after=2)
        results = [segmenter.push(frame(value))[0] for value in range(12)]
        segmenter.close()
        return in_use(results), [result.reason for result in results]

    assert masks() == masks()
    assert masks()[0] == [0, 0, 0, 0, 0, 0, 4, 4, 4, 4, 8, 8]
    assert masks()[1] == ["first", *["reused"] * 3, "interval", "keyframe under way", *["reused"] * 2, "interval",
                          "keyframe under way", *["reused"] * 2]  # fmt: skip


def test_the_change_of_frames_that_a_keyframe_is_under_way_in_counts_as_in_sync() -> None:
    def keyframes(**options: Any) -> list[tuple[int, str]]:
        backend = FakeBackend()
        backend.let_through.set()
        segmenter = stream_of(backend, Adaptive(0.95), **options)
        results = [segmenter.push(frame(value))[0] for value in range(12)]
        segmenter.close()
        return [(result.index, result.reason) for result in results if result.is_keyframe]

    # Of the frames after a keyframe the changes are 0.1, 0.2, 0.3 and 0.4: the fourth brings the sum to 1.
    assert keyframes() == [(0, "first"), (4, "change 1.000"), (8, "change 1.000")]
    for swap_after in (1, 2, 3, 4):
        assert keyframes(keyframe_mode="async", swap_after=swap_after) == keyframes()


def test_a_replay_follows_what_a_live_run_did() -> None:
    backend = FakeBackend()
    segmenter = live(backend, interval=2)
    recorded = [segmenter.push(frame(value))[0] for value in range(5)]
    segmenter.force_keyframe()
    backend.let_through.set()
    wait_until_idle(segmenter)
    recorded += [segmenter.push(frame(value))[0] for value in (5, 6)]
    wait_until_idle(segmenter)
    recorded += [segmenter.push(frame(value))[0] for value in range(7, 10)]
    segmenter.close()

    other = FakeBackend()
    other.let_through.set()
    replay = stream_of(other, Replayed.of(recorded), keyframe_mode="async")
    again = [replay.push(frame(value))[0] for value in range(10)]
    replay.close()
    assert in_use(again) == in_use(recorded)
    assert [result.is_keyframe for result in again] == [result.is_keyframe for result in recorded]
    assert other.decided == backend.decided
    with pytest.raises(ValueError, match="the record has no frame 10; expected one of its 10"):
        replay.push(frame(10))


def test_a_keyframe_that_fails_beside_the_stream_restarts_it() -> None:
    backend = FakeBackend(fail_on="common 2")
    backend.let_through.set()
    segmenter = live(backend)
    for value in range(3):
        segmenter.push(frame(value))
    wait_until_idle(segmenter)
    with pytest.raises(RuntimeError, match="common 2"):
        segmenter.push(frame(3))
    result = segmenter.push(frame(4))[0]
    assert (result.reason, result.keyframe_index) == ("recovered", 4)
    segmenter.close()


def test_a_forced_keyframe_waits_for_the_one_under_way() -> None:
    backend = FakeBackend()
    segmenter = live(backend, interval=3)
    for value in range(4):
        segmenter.push(frame(value))
    segmenter.force_keyframe()
    assert segmenter.push(frame(4))[0].reason == "keyframe under way"
    backend.let_through.set()
    wait_until_idle(segmenter)
    assert segmenter.push(frame(5))[0].reason == "forced"
    segmenter.close()


def test_a_new_stream_does_not_take_the_old_ones_keyframe() -> None:
    backend = FakeBackend()
    segmenter = live(backend)
    for value in range(3):
        segmenter.push(frame(value))
    new = segmenter.push(frame(3, size=(4, 4)))[0]
    backend.let_through.set()
    wait_until_idle(segmenter)
    results = [new, segmenter.push(frame(4, size=(4, 4)))[0]]
    assert in_use(results) == [3, 3]
    segmenter.close()


def test_warming_up_runs_every_stage_and_begins_no_stream() -> None:
    backend = FakeBackend()
    backend.let_through.set()
    segmenter = stream_of(backend, FixedInterval(2), align="flow", keyframe_mode="async")
    segmenter.warm_up(30, 40)
    assert {call.split()[0] for call in backend.calls} == {"shallow", "common", "align", "decide"}
    assert len(backend.threads) == 1
    result = segmenter.push(frame(7))[0]
    assert (result.index, result.reason) == (0, "first")
    segmenter.close()


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(ValueError, match="keyframe_mode is 'later'; expected one of sync, async"):
        stream_of(FakeBackend(), keyframe_mode="later")
    for mode in ("full", "bidirectional"):
        with pytest.raises(ValueError, match=f"keyframe_mode is 'async' in mode '{mode}'; expected mode 'causal'"):
            stream_of(FakeBackend(), mode=mode, keyframe_mode="async")
    with pytest.raises(ValueError, match="swap_after is -1"):
        stream_of(FakeBackend(), keyframe_mode="async", swap_after=-1)
