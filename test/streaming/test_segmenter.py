"""A stream of frames in, masks out: which are keyframes and why, what each mask was decided from, new streams."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from fake_backend import SECOND, FakeBackend, frame, stream_of
from hypothesis import given, settings
from hypothesis import strategies as st

from dcfm_ros.imaging.frame import Frame
from dcfm_ros.streaming import Decision, FixedInterval, Schedule, Segmentation, Situation, StreamSegmenter


def segmented(segmenter: StreamSegmenter, values: Sequence[int]) -> list[Segmentation]:
    results = [result for value in values for result in segmenter.push(frame(value))]
    return results + segmenter.flush()


def reasons(results: Sequence[Segmentation]) -> list[str]:
    return [result.reason for result in results]


# Order, keyframes, ages


def test_causal_answers_each_frame_at_once_from_the_last_keyframe() -> None:
    backend = FakeBackend()
    segmenter = stream_of(backend, FixedInterval(3))
    results = []
    for value in range(8):
        (result,) = segmenter.push(frame(value))
        results.append(result)
    assert segmenter.flush() == []
    assert [result.mask[0, 0] for result in results] == list(range(8))
    assert [result.index for result in results] == list(range(8))
    assert [result.is_keyframe for result in results] == [value % 3 == 0 for value in range(8)]
    assert reasons(results) == ["first", "reused", "reused", "interval", "reused", "reused", "interval", "reused"]
    assert backend.decided == {value: [value - value % 3] for value in range(8)}
    assert [result.keyframe_age_frames for result in results] == [0, 1, 2, 0, 1, 2, 0, 1]
    assert [result.keyframe_age_s for result in results] == pytest.approx([0, 0.1, 0.2, 0, 0.1, 0.2, 0, 0.1])


def test_a_frame_that_reuses_costs_no_deep_half() -> None:
    backend = FakeBackend()
    results = segmented(stream_of(backend, FixedInterval(4)), range(4))
    assert backend.calls == [
        "shallow 0", "common 0", "decide 0", "shallow 1", "decide 1", "shallow 2", "decide 2", "shallow 3", "decide 3"
    ]  # fmt: skip
    assert [result.stage_ms["common"] > 0 for result in results] == [True, False, False, False]
    for result in results:
        assert list(result.stage_ms) == ["prepare", "shallow", "motion", "common", "align", "decide"]
        assert result.total_ms == pytest.approx(sum(result.stage_ms.values()))


def test_full_makes_every_frame_a_keyframe() -> None:
    backend = FakeBackend()
    results = segmented(stream_of(backend, FixedInterval(3), mode="full"), range(4))
    assert reasons(results) == ["first", "full", "full", "full"]
    assert all(result.is_keyframe and result.keyframe_age_frames == 0 for result in results)
    assert backend.decided == {value: [value] for value in range(4)}


def test_the_default_is_causal_with_a_keyframe_every_five_frames() -> None:
    results = segmented(stream_of(FakeBackend()), range(11))
    assert [result.index for result in results if result.is_keyframe] == [0, 5, 10]


def test_bidirectional_holds_frames_back_until_the_next_keyframe() -> None:
    backend = FakeBackend()
    segmenter = stream_of(backend, FixedInterval(3), mode="bidirectional")
    answered = [[int(result.mask[0, 0]) for result in segmenter.push(frame(value))] for value in range(8)]
    assert answered == [[0], [], [], [1, 2, 3], [], [], [4, 5, 6], []]
    assert [int(result.mask[0, 0]) for result in segmenter.flush()] == [7]
    assert backend.decided == {0: [0], 1: [0, 3], 2: [0, 3], 3: [3], 4: [3, 6], 5: [3, 6], 6: [6], 7: [6]}


def test_bidirectional_age_is_that_of_the_nearer_keyframe() -> None:
    results = segmented(stream_of(FakeBackend(), FixedInterval(5), mode="bidirectional"), range(8))
    assert [result.keyframe_age_frames for result in results] == [0, 1, 2, 2, 1, 0, 1, 2]
    assert [result.keyframe_age_s for result in results] == pytest.approx([0, 0.1, 0.2, 0.2, 0.1, 0, 0.1, 0.2])
    assert reasons(results) == ["first", *["reused"] * 4, "interval", "reused", "reused"]


@pytest.mark.parametrize(
    ("phase", "expected"),
    [
        (1, {0: [1], 1: [1], 2: [1, 4], 3: [1, 4], 4: [4], 5: [4]}),
        (2, {0: [2], 1: [2], 2: [2], 3: [2, 5], 4: [2, 5], 5: [5]}),
    ],
)
def test_frames_before_the_first_keyframe_use_the_next_one_only(phase: int, expected: dict[int, list[int]]) -> None:
    backend = FakeBackend()
    segmenter = stream_of(backend, FixedInterval(3, phase), mode="bidirectional")
    results = segmented(segmenter, range(6))
    assert [int(result.mask[0, 0]) for result in results] == list(range(6))
    assert backend.decided == expected
    assert results[phase].reason == "first"
    assert results[0].keyframe_age_frames == phase


def test_a_bidirectional_stream_shorter_than_its_phase_makes_each_frame_a_keyframe() -> None:
    backend = FakeBackend()
    results = segmented(stream_of(backend, FixedInterval(5, 4), mode="bidirectional"), range(3))
    assert backend.decided == {0: [0], 1: [1], 2: [2]}
    for result in results:
        assert (result.is_keyframe, result.reason, result.keyframe_age_frames) == (True, "no keyframe came", 0)
        assert result.stage_ms["common"] > 0


def test_causal_begins_with_a_keyframe_whatever_the_phase() -> None:
    results = segmented(stream_of(FakeBackend(), FixedInterval(3, 2)), range(5))
    assert reasons(results) == ["first", "reused", "reused", "interval", "reused"]


def test_a_schedule_of_ones_own_decides_and_says_why() -> None:
    class Primes(Schedule):
        def decide(self, situation: Situation) -> Decision:
            return Decision(situation.index in (2, 3, 5), f"after {situation.keyframe_index}")

    results = segmented(stream_of(FakeBackend(), Primes()), range(6))
    assert [result.is_keyframe for result in results] == [True, False, True, True, False, True]
    assert reasons(results) == ["first", "after 0", "after 0", "after 2", "after 3", "after 3"]


def test_a_flushed_segmenter_begins_a_new_stream_and_counts_on() -> None:
    segmenter = stream_of(FakeBackend(), FixedInterval(3), mode="bidirectional")
    first, second = segmented(segmenter, range(5)), segmented(segmenter, range(5, 10))
    assert reasons(first) == reasons(second)
    assert [result.index for result in first + second] == list(range(10))


def test_a_restart_loses_what_was_held_back_and_gives_its_reason() -> None:
    segmenter = stream_of(FakeBackend(), FixedInterval(3), mode="bidirectional")
    for value in range(3):
        segmenter.push(frame(value))
    segmenter.restart("reactivated")
    assert segmenter.flush() == []
    (result,) = segmenter.push(frame(3))
    assert (result.is_keyframe, result.index) == (True, 3)


def test_restart_names_the_next_keyframe() -> None:
    segmenter = stream_of(FakeBackend(), FixedInterval(3))
    segmenter.push(frame(0))
    segmenter.restart("reactivated")
    assert segmenter.push(frame(1))[0].reason == "reactivated"


# New streams


@pytest.mark.parametrize(
    ("second", "reason"),
    [
        (frame(1, stamp=9.999), "stamp went back"),
        (frame(1, stamp=12.1), "stamp gap"),
        (frame(1, stamp=10.1, size=(6, 9)), "size changed"),
        (frame(1, stamp=10.1, size=(8, 6)), "size changed"),
        (frame(1, stamp=10.1, encoding="bgr8"), "encoding changed"),
        (frame(1, stamp=12.0), "reused"),
        (frame(1, stamp=10.0), "reused"),
        (frame(1, stamp=0), "reused"),
    ],
)
@pytest.mark.parametrize("mode", ["causal", "bidirectional"])
def test_what_begins_a_new_stream(mode: str, second: Frame, reason: str) -> None:
    backend = FakeBackend()
    segmenter = stream_of(backend, FixedInterval(9), mode=mode)
    results = segmenter.push(frame(0)) + segmenter.push(second) + segmenter.flush()
    assert reasons(results) == ["first", reason]
    assert results[1].is_keyframe is (reason != "reused")
    assert backend.decided[1] == ([1] if results[1].is_keyframe else [0])


def test_zero_stamps_say_nothing() -> None:
    segmenter = stream_of(FakeBackend(), FixedInterval(9))
    results = [segmenter.push(frame(i, stamp=stamp))[0] for i, stamp in enumerate((0, 0, 1e9, 0, 1e9 + 0.5))]
    assert reasons(results) == ["first", *["reused"] * 4]
    assert [result.keyframe_age_s for result in results] == [0, 0, 0, 0, 0]
    assert [result.keyframe_age_frames for result in results] == [0, 1, 2, 3, 4]


def test_the_gap_that_begins_a_stream_can_be_chosen() -> None:
    segmenter = stream_of(FakeBackend(), FixedInterval(9), max_stamp_gap_s=0.05)
    assert reasons(segmented(segmenter, range(3))) == ["first", "stamp gap", "stamp gap"]


def test_held_results_of_the_old_stream_come_before_those_of_the_new_one() -> None:
    backend = FakeBackend()
    segmenter = stream_of(backend, FixedInterval(3), mode="bidirectional")
    for value in range(3):
        segmenter.push(frame(value))
    results = segmenter.push(frame(3, size=(4, 4)))
    assert [int(result.mask[0, 0]) for result in results] == [1, 2, 3]
    assert [result.mask.shape for result in results] == [(6, 8), (6, 8), (4, 4)]
    assert backend.decided == {0: [0], 1: [0], 2: [0], 3: [3]}
    assert results[-1].reason == "size changed"


# Forced keyframes


def test_a_forced_keyframe_restarts_the_interval() -> None:
    segmenter = stream_of(FakeBackend(), FixedInterval(3))
    results = []
    for value in range(6):
        if value == 2:
            segmenter.force_keyframe()
        results += segmenter.push(frame(value))
    assert reasons(results) == ["first", "reused", "forced", "reused", "reused", "interval"]
    assert [result.keyframe_age_frames for result in results] == [0, 1, 0, 1, 2, 0]


def test_a_keyframe_forced_while_a_frame_is_decided_is_the_next_frame() -> None:
    class Meanwhile(Schedule):
        """While it decides of the first frame, somebody wants a keyframe."""

        def decide(self, situation: Situation) -> Decision:
            if situation.number == 0:
                segmenter.force_keyframe()
            return Decision(False, "reused")

    segmenter = stream_of(FakeBackend(), Meanwhile())
    assert reasons(segmented(segmenter, range(3))) == ["first", "forced", "reused"]


@pytest.mark.parametrize("before", ["nothing", "flush", "new size", "failure"])
def test_a_forced_keyframe_is_not_forgotten_when_a_stream_begins(before: str) -> None:
    backend = FakeBackend(fail_on="shallow 1")
    segmenter = stream_of(backend, FixedInterval(9, 8), mode="bidirectional")
    if before != "nothing":
        segmenter.push(frame(0))
    segmenter.force_keyframe()
    if before == "flush":
        segmenter.flush()
    if before == "failure":
        with pytest.raises(RuntimeError):
            segmenter.push(frame(1))
    results = segmenter.push(frame(2, size=(4, 4) if before == "new size" else (6, 8)))
    assert (results[-1].is_keyframe, results[-1].reason) == (True, "forced")
    assert segmenter.push(frame(3, size=(4, 4) if before == "new size" else (6, 8))) == []  # once only


# Failures


@pytest.mark.parametrize("stage", ["shallow", "common", "decide"])
def test_after_a_failure_the_next_frame_begins_with_a_keyframe(stage: str) -> None:
    backend = FakeBackend(fail_on=f"{stage} 3")
    segmenter = stream_of(backend, FixedInterval(3))
    for value in range(3):
        segmenter.push(frame(value))
    with pytest.raises(RuntimeError, match=f"{stage} 3"):
        segmenter.push(frame(3))
    results = [segmenter.push(frame(value))[0] for value in (4, 5)]
    assert reasons(results) == ["recovered", "reused"]
    assert (backend.decided[4], backend.decided[5]) == ([4], [4])
    assert [result.index for result in results] == [4, 5]  # the failed frame leaves a gap
    assert [result.keyframe_age_frames for result in results] == [0, 1]


def test_after_a_failure_nothing_held_back_comes_out() -> None:
    segmenter = stream_of(FakeBackend(fail_on="shallow 2"), FixedInterval(3), mode="bidirectional")
    segmenter.push(frame(0))
    segmenter.push(frame(1))
    with pytest.raises(RuntimeError):
        segmenter.push(frame(2))
    assert segmenter.flush() == []


def test_a_flush_that_fails_leaves_nothing_behind() -> None:
    segmenter = stream_of(FakeBackend(fail_on="decide 1"), FixedInterval(3), mode="bidirectional")
    segmenter.push(frame(0))
    segmenter.push(frame(1))
    with pytest.raises(RuntimeError):
        segmenter.flush()
    assert segmenter.flush() == []
    assert segmenter.push(frame(2))[0].reason == "first"


# Sizes, confidence, arguments


def test_confidence_is_given_on_demand_only() -> None:
    segmenter = stream_of(FakeBackend(), FixedInterval(3), mode="bidirectional")
    results = [r for value in range(4) for r in segmenter.push(frame(value), confidence=value in (1, 3))]
    assert [result.confidence is not None for result in results] == [False, True, False, True]


@pytest.mark.parametrize("size", [(1, 1), (7, 13), (101, 203)])
def test_masks_have_the_sources_size(size: tuple[int, int]) -> None:
    backend = FakeBackend()
    (result,) = stream_of(backend).push(frame(0, size=size))
    assert result.mask.shape == size
    assert all(side % 8 == 0 for side in backend.sizes[0][:2])


def test_the_network_gets_the_frame_at_the_trained_pixel_count_or_the_size_asked_for() -> None:
    backend = FakeBackend()
    stream_of(backend).push(frame(0, size=(30, 40)))
    stream_of(backend, input_size=(16, 64)).push(frame(0, size=(30, 40)))
    assert backend.sizes == [(360, 480, 3), (16, 64, 3)]


def test_a_refused_input_size_comes_with_one_that_fits() -> None:
    with pytest.raises(ValueError, match="input_size is 61x90; expected positive multiples of 8, such as 64x88 "):
        stream_of(FakeBackend(), input_size=(61, 90))


@pytest.mark.parametrize("size", [(0, 8), (4, 8), (-8, 8), (12, 16), (16, 12)])
def test_an_impossible_input_size_is_refused(size: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match=r"input_size is .*; expected (positive multiples of 8|0 to 8192)"):
        stream_of(FakeBackend(), input_size=size)


def test_other_impossible_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match="mode is 'both'; expected one of causal, bidirectional, full"):
        stream_of(FakeBackend(), mode="both")
    for gap in (0.0, -1.0, float("nan")):
        with pytest.raises(ValueError, match="max_stamp_gap_s"):
            stream_of(FakeBackend(), max_stamp_gap_s=gap)
    for interval, phase, said in ((0, 0, "interval is 0"), (3, 3, "phase is 3"), (3, -1, "phase is -1")):
        with pytest.raises(ValueError, match=said):
            FixedInterval(interval, phase)


def test_labels_are_those_of_the_weights() -> None:
    assert stream_of(FakeBackend()).labels.names[3] == "road"


# Any sequence of events

EVENTS = st.lists(
    st.tuples(
        st.sampled_from([0, 0, 1, 1, 1, 2, 50, -3]),  # tenths of a second since the frame before
        st.sampled_from([(4, 4), (4, 4), (4, 4), (4, 6)]),
        st.sampled_from(["", "", "", "force", "flush"]),
    ),
    max_size=40,
)


@given(EVENTS, st.sampled_from(["causal", "bidirectional", "full"]), st.integers(1, 5), st.data())
@settings(max_examples=150)
def test_every_frame_is_answered_once_in_order(
    events: list[tuple[int, tuple[int, int], str]], mode: str, interval: int, data: st.DataObject
) -> None:
    phase = data.draw(st.integers(0, interval - 1)) if mode == "bidirectional" else 0
    backend = FakeBackend()
    segmenter = stream_of(backend, FixedInterval(interval, phase), mode=mode)
    results: list[Segmentation] = []
    starts, forced = {0}, set()
    tenths, last_size = 100, None
    for value, (step, size, event) in enumerate(events):
        if event == "flush":
            results += segmenter.flush()
        if event == "force":
            segmenter.force_keyframe()
            forced.add(value)
        if step < 0 or step > 20 or (last_size and size != last_size) or event == "flush":
            starts.add(value)
        tenths, last_size = tenths + step, size
        answered = segmenter.push(frame(value, stamp=tenths / 10, size=size))
        assert mode == "bidirectional" or len(answered) == 1
        results += answered
    results += segmenter.flush()

    assert [result.index for result in results] == list(range(len(events)))
    assert [int(result.mask[0, 0]) for result in results] == list(range(len(events)))
    keyframes = {result.index for result in results if result.is_keyframe}
    assert forced <= keyframes
    if mode == "causal":
        assert starts & set(range(len(events))) <= keyframes
    for result in results:
        commons = backend.decided[result.index]
        assert 1 <= len(commons) <= (2 if mode == "bidirectional" else 1)
        assert set(commons) <= keyframes
        assert result.keyframe_age_frames == min(abs(result.index - common) for common in commons)
        assert (result.keyframe_age_frames == 0) == result.is_keyframe
        assert result.keyframe_age_frames < (interval if mode != "full" else 1)
        for common in commons:  # of the same stream
            low, high = sorted((common, result.index))
            assert not any(low < start <= high for start in starts)
        nearest = min(commons, key=lambda common: abs(common - result.index))
        age_ns = abs(results[nearest].frame.stamp_ns - result.frame.stamp_ns)
        assert result.keyframe_age_s == pytest.approx(age_ns / SECOND)
