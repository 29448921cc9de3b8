"""Several cameras on one backend: streams of their own, keyframes in turn, fairness, failures."""

from __future__ import annotations

from collections import Counter

import pytest
from fake_backend import FakeBackend, frame, stream_of

from dcfm_ros.streaming import FixedInterval
from dcfm_ros.streaming.cameras import CameraGroup
from dcfm_ros.streaming.schedules import Replayed

NAMES = ("front", "left", "right")


def group(backend: FakeBackend, interval: int = 5) -> CameraGroup:
    return CameraGroup({name: stream_of(backend, FixedInterval(interval)) for name in NAMES})


def values(number: int) -> dict[str, int]:
    """Pictures that tell camera and number."""
    return {name: 50 * i + number for i, name in enumerate(NAMES)}


def keyframes(cameras: CameraGroup, rounds: int) -> list[set[str]]:
    done = [cameras.push({name: frame(v) for name, v in values(n).items()}).results for n in range(rounds)]
    return [{name for name, (result,) in results.items() if result.is_keyframe} for results in done]


def test_each_camera_has_its_own_features() -> None:
    backend = FakeBackend()
    keyframes(group(backend), 9)
    for shallow, commons in backend.decided.items():
        assert shallow // 50 == commons[0] // 50
    assert len(backend.decided) == 27


def test_keyframes_of_different_cameras_fall_on_different_frames() -> None:
    taken = keyframes(group(FakeBackend()), 23)
    assert taken[0] == set(NAMES)  # a stream begins with one
    assert max(len(names) for names in taken[1:]) == 1
    assert Counter(name for names in taken[1:] for name in names) == {"front": 4, "left": 4, "right": 4}


def test_a_keyframe_that_waits_says_why_and_comes_first_in_the_next_round() -> None:
    cameras = group(FakeBackend(), interval=2)
    for number in range(2):
        cameras.push({name: frame(v) for name, v in values(number).items()})
    second, third = (cameras.push({n: frame(v) for n, v in values(number).items()}).results for number in (2, 3))
    assert [second[name][0].reason for name in NAMES] == ["interval", *["another camera's turn"] * 2]
    assert [third[name][0].reason for name in NAMES] == ["reused", "interval", "another camera's turn"]


def test_a_recorded_run_is_followed_whatever_the_turns() -> None:
    live = group(FakeBackend(), interval=3)
    rounds = [live.push({name: frame(v) for name, v in values(n).items()}).results for n in range(8)]
    backend = FakeBackend()
    records = {name: Replayed.of(results[name][0] for results in rounds) for name in NAMES}
    replay = CameraGroup({name: stream_of(backend, record) for name, record in records.items()})
    again = keyframes(replay, 8)
    assert again == [{n for n, (result,) in results.items() if result.is_keyframe} for results in rounds]
    assert again[3:6] == [{"front"}, {"left"}, {"right"}]


def test_a_camera_that_fails_fails_alone() -> None:
    backend = FakeBackend(fail_on="decide 51")
    cameras = group(backend)
    for number in range(3):
        done = cameras.push({name: frame(v) for name, v in values(number).items()})
        assert set(done.results) == ({"front", "right"} if number == 1 else set(NAMES))
        assert set(done.failures) == ({"left"} if number == 1 else set())
    assert done.results["left"][0].reason == "recovered"
    assert done.results["front"][0].reason == "reused"


def test_a_round_may_be_of_some_cameras_only() -> None:
    cameras = group(FakeBackend())
    cameras.push({"front": frame(0)})
    results = cameras.push({"front": frame(1), "left": frame(2)}).results
    assert [results[name][0].reason for name in ("front", "left")] == ["reused", "first"]


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(ValueError, match="there are no cameras"):
        CameraGroup({})
    with pytest.raises(ValueError, match="have 2 backends; expected one for all"):
        CameraGroup({name: stream_of(FakeBackend()) for name in ("front", "left")})
    with pytest.raises(ValueError, match="there is no camera 'rear'; expected one of front, left, right"):
        group(FakeBackend()).push({"rear": frame(0)})
