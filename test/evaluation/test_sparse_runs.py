"""The segmenter held against sparse labels: a keyframe at each distance before every labelled frame."""

from __future__ import annotations

from collections import Counter

import pytest
from drawn_clips import Drawn, Mixed, Random, Stale, options, video
from hypothesis import given, settings
from hypothesis import strategies as st

from dcfm_ros.evaluation.metrics import SegmentationScore
from dcfm_ros.evaluation.runs import evaluate, steps
from dcfm_ros.imaging.frame import Frame
from dcfm_ros.imaging.labels import CAMVID
from dcfm_ros.streaming import StreamSegmenter


def test_each_distance_is_the_segmenters_own_with_its_keyframe_placed_there() -> None:
    data, interval = Random(dict.fromkeys(range(30), 0), labelled=(9, 19)), 4
    (clip,) = data.clips
    result = evaluate(Mixed(), data, options(interval=interval))
    segmenter = StreamSegmenter(Mixed(), options(interval=1000))
    pooled = SegmentationScore(len(CAMVID))
    for distance in range(interval):
        score = SegmentationScore(len(CAMVID))
        for labelled in (9, 19):
            segmenter.restart("placed")
            for index in range(labelled - distance, labelled + 1):
                ((frame,), label) = segmenter.push(Frame(data.image(clip, index))), data.label(clip, labelled)
            assert frame.keyframe_age_frames == distance
            assert label is not None
            for each in (score, pooled):
                each.update(frame.mask, label)
        assert result.by_distance[distance] == score.miou() > 0
    assert (result.miou, result.wiou) == (pooled.miou(), pooled.wiou())
    assert len(set(result.by_distance.values())) == interval  # the masks do differ
    assert (result.frames, result.labelled, result.keyframes, result.sparse) == (30, 2, 8, True)
    assert result.labelled_by_distance == dict.fromkeys(range(interval), 2)
    assert (result.mvc8, result.mvc16) == (None, None)


def test_a_dense_run_and_a_sparse_one_agree_where_they_measure_the_same() -> None:
    clip = dict.fromkeys(range(20), 0)
    dense = evaluate(Mixed(), Random(clip), options(interval=5))
    sparse = evaluate(Mixed(), Random(clip, labelled=(3, 8, 13, 18)), options(interval=5))
    assert dense.labelled_by_distance[3] == sparse.labelled_by_distance[3] == 4
    assert sparse.by_distance[3] == dense.by_distance[3]


def test_a_frame_counts_for_the_distances_it_has() -> None:
    # 1 has one frame before it; 12 has three, the fourth is missing; 30 has none.
    numbers = [*range(6), *range(9, 20), 30]
    result = evaluate(Stale(), Drawn(dict.fromkeys(numbers, 2), labelled=(1, 12, 30)), options(interval=5))
    assert result.labelled_by_distance == {0: 3, 1: 2, 2: 1, 3: 1}
    assert (result.without_predecessor, result.miou_present) == (1, 1)


@settings(max_examples=30)
@given(st.sets(st.integers(0, 12), min_size=2), st.data(), st.integers(1, 6))
def test_distances_are_those_whose_frames_are_all_there(numbers: set[int], data: st.DataObject, interval: int) -> None:
    labelled = data.draw(st.sets(st.sampled_from(sorted(numbers)), min_size=1, max_size=max(1, len(numbers) // 2)))
    clip = Random(dict.fromkeys(numbers, 0), labelled=labelled)
    expected = Counter(
        distance
        for number in labelled
        for distance in range(interval)
        if numbers.issuperset(range(number - distance, number))
    )
    advanced = []
    result = evaluate(Mixed(), clip, options(interval=interval), advance=lambda: advanced.append(1))
    assert result.labelled_by_distance == dict(expected)
    assert result.keyframes == sum(expected.values())
    assert result.without_predecessor == sum(number - 1 not in numbers for number in labelled)
    assert len(advanced) == steps(clip, options(interval=interval)) == len(labelled)


def test_the_frame_after_a_label_is_no_matter_to_a_causal_stream() -> None:
    backend = Stale()
    evaluate(backend, Drawn(video(*range(10)), labelled=(6,)), options(interval=3))
    assert backend.seen == [6, 5, 6, 4, 5, 6]


def test_full_mode_runs_labelled_frames_alone() -> None:
    backend = Stale()
    result = evaluate(backend, Drawn(video(*range(10)), labelled=(2, 7)), options("full", interval=5))
    assert backend.seen == [2, 7]
    assert (result.labelled_by_distance, result.keyframes, result.frames) == ({0: 2}, 2, 10)


def test_bidirectional_at_an_interval_of_2_is_once_a_keyframe_and_once_between_two() -> None:
    data = Random(dict.fromkeys(range(3), 0), labelled=(1,))
    (clip,) = data.clips
    frames = [Frame(data.image(clip, index)) for index in range(3)]
    segmenter = StreamSegmenter(Mixed(), options("bidirectional", interval=2))
    _, between, _ = [result for frame in frames for result in segmenter.push(frame)]
    (keyframe,) = StreamSegmenter(Mixed(), options()).push(frames[1])
    result = evaluate(Mixed(), data, options("bidirectional", interval=2))
    label = data.label(clip, 1)
    assert label is not None
    for distance, mask in enumerate((keyframe.mask, between.mask)):
        score = SegmentationScore(len(CAMVID))
        score.update(mask, label)
        assert result.by_distance[distance] == score.miou()
    assert (result.keyframes, result.labelled_by_distance) == (3, {0: 1, 1: 1})


@pytest.mark.parametrize(("frames", "distances"), [(20, {0: 1, 1: 2, 2: 2}), (8, {0: 1, 1: 2, 2: 1, 3: 1})])
def test_bidirectional_without_a_next_keyframe_takes_the_one_before(frames: int, distances: dict[int, int]) -> None:
    # At an interval of 5 the frame 6 lies 1 and 4, 2 and 3, 3 and 2, 4 and 1 frames from two keyframes.
    # Of 8 frames the last is 7: there is a next keyframe for the last of these alone.
    result = evaluate(Stale(), Drawn(video(*[1] * frames), labelled=(6,)), options("bidirectional", interval=5))
    assert (result.labelled_by_distance, result.miou_present) == (distances, 1)
