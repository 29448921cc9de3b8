"""The segmenter held against dense labels, and what every evaluation refuses and reports."""

from __future__ import annotations

import gc
import tracemalloc
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
from drawn_clips import Drawn, Mixed, Random, Stale, options, video
from hypothesis import given, settings
from hypothesis import strategies as st

from dcfm_ros.datasets.dataset import Clip
from dcfm_ros.evaluation.disturbances import DISTURBANCES
from dcfm_ros.evaluation.metrics import SegmentationScore
from dcfm_ros.evaluation.runs import evaluate, is_sparse, steps
from dcfm_ros.imaging.frame import Frame
from dcfm_ros.imaging.labels import CAMVID, CITYSCAPES, LabelSet
from dcfm_ros.streaming import StreamSegmenter
from dcfm_ros.streaming.options import MODES, Mode


def test_scores_by_distance_from_the_keyframe() -> None:
    result = evaluate(Stale(), Drawn(video(1, 1, 2, 3, 3, 4)), options(interval=3))
    assert (result.frames, result.labelled, result.keyframes, result.sparse) == (6, 6, 2, False)
    # Frames 0 and 3 are keyframes, 1 and 4 show the same class as these, 2 and 5 another.
    assert result.by_distance == pytest.approx({0: 2 / 11, 1: 2 / 11, 2: 0})
    assert result.labelled_by_distance == {0: 2, 1: 2, 2: 2}
    assert result.per_class["building"] == pytest.approx(2 / 3)
    assert result.miou == pytest.approx((2 / 3 + 2 / 3) / 11)
    assert result.miou_present == pytest.approx((2 / 3 + 2 / 3) / 4)  # classes 1 to 4 are labelled
    assert result.wiou == pytest.approx((2 * 2 / 3 + 2 * 2 / 3) / 6)


def test_every_mode_answers_every_frame() -> None:
    frames = Drawn(video(1, 1, 2, 3, 3, 4, 4))
    full = evaluate(Stale(), frames, options("full"))
    assert (full.miou, full.keyframes, full.by_distance) == (pytest.approx(4 / 11), 7, {0: pytest.approx(4 / 11)})
    result = evaluate(Stale(), frames, options("bidirectional", interval=3))
    assert (result.frames, result.keyframes) == (7, 3)
    assert result.labelled_by_distance == {0: 3, 1: 4}  # from the nearest of two keyframes


def test_each_clip_is_a_stream_and_all_are_scored_together() -> None:
    result = evaluate(Stale(), Drawn(video(1, 1, 1), video(2, 2, 3)), options(interval=5))
    assert (result.keyframes, result.without_predecessor) == (2, 2)
    assert result.labelled_by_distance == {0: 2, 1: 2, 2: 2}
    assert result.per_class["building"] == 1 and result.per_class["pole"] == pytest.approx(2 / 3)


def test_a_missing_frame_ends_a_stream() -> None:
    result = evaluate(Stale(), Drawn({0: 1, 1: 1, 3: 2, 4: 2, 5: 2}), options(interval=5))
    assert (result.miou_present, result.keyframes, result.without_predecessor) == (1, 2, 2)
    assert result.labelled_by_distance == {0: 2, 1: 2, 2: 1}


def test_stills_are_at_no_distance_but_0() -> None:
    result = evaluate(Stale(), Drawn({0: 1, 30: 2, 60: 3}), options())
    assert (result.labelled_by_distance, result.without_predecessor, result.miou_present) == ({0: 3}, 3, 1)


def test_bidirectional_streams_begin_one_frame_later_in_turn() -> None:
    result = evaluate(Stale(), Drawn(*[video(1, 2, 2)] * 3), options("bidirectional", interval=2))
    # Keyframes are the frames 0 and 2, then 1, then 0 and 2 again; frames before the first one take the next one.
    assert result.keyframes == 5
    assert result.labelled_by_distance == {0: 5, 1: 4}


def test_consistency_spans_neither_clips_nor_gaps_nor_frames_without_a_label() -> None:
    long = evaluate(Stale(), Drawn(video(*[1] * 20)), options())
    assert (long.mvc8, long.mvc16) == (1, 1)
    two = evaluate(Stale(), Drawn(video(*[1] * 10), video(*[1] * 10)), options())
    assert (two.mvc8, two.mvc16) == (1, None)
    gap = evaluate(Stale(), Drawn({n: 1 for n in range(21) if n != 10}), options())
    assert (gap.mvc8, gap.mvc16) == (1, None)
    unlabelled = evaluate(Stale(), Drawn(video(*[1] * 20), labelled=set(range(20)) - {10}), options())
    assert (unlabelled.labelled, unlabelled.mvc8, unlabelled.mvc16) == (19, 1, None)


@pytest.mark.parametrize("mode", MODES)
def test_pictures_of_several_sizes_make_a_stream_each(mode: Mode) -> None:
    class Resized(Drawn):
        """Wider from frame 10 on."""

        def image(self, clip: Clip, index: int) -> np.ndarray:
            return np.repeat(super().image(clip, index), 2 if index >= 10 else 1, axis=1)

        def label(self, clip: Clip, index: int) -> np.ndarray | None:
            label = super().label(clip, index)
            assert label is not None
            return np.repeat(label, 2 if index >= 10 else 1, axis=1)

    result = evaluate(Stale(), Resized(video(*[1] * 10, *[2] * 10)), options(mode, interval=20))
    assert (result.miou_present, result.mvc8, result.mvc16) == (1, 1, None)
    assert result.keyframes >= 2 and sum(result.labelled_by_distance.values()) == 20


@pytest.mark.parametrize(("labelled", "sparse"), [(20, False), (18, False), (17, True), (1, True)])
def test_labels_are_dense_from_nine_in_ten_on(labelled: int, sparse: bool) -> None:
    data = Drawn(video(*[1] * 20), labelled=range(labelled))
    assert is_sparse(data) is evaluate(Stale(), data, options()).sparse is sparse


@settings(max_examples=30)
@given(st.lists(st.sets(st.integers(0, 12), min_size=1), min_size=1, max_size=3), st.integers(1, 5))
def test_dense_runs_score_every_frame_once(clips: list[set[int]], interval: int) -> None:
    data = Random(*[dict.fromkeys(numbers, 0) for numbers in clips])
    advanced = []
    result = evaluate(Mixed(), data, options(interval=interval), advance=lambda: advanced.append(1))
    expected: Counter[int] = Counter()
    for numbers in clips:
        for number in numbers:
            since_gap = next(back for back in range(14) if number - back - 1 not in numbers)
            expected[since_gap % interval] += 1
    assert result.labelled_by_distance == dict(expected)
    assert len(advanced) == steps(data, options(interval=interval)) == result.frames == sum(map(len, clips))


def test_a_dense_run_is_the_segmenters_own() -> None:
    data = Random(dict.fromkeys(range(9), 0))
    segmenter = StreamSegmenter(Mixed(), options(interval=4))
    score = SegmentationScore(len(CAMVID))
    for index in range(9):
        image, label = data.read(data.clips[0], index)
        assert label is not None
        score.update(segmenter.push(Frame(image))[0].mask, label)
    result = evaluate(Mixed(), data, options(interval=4))
    assert (result.miou, list(result.per_class.values())) == (score.miou(), score.per_class())


def test_pictures_are_disturbed_and_labels_are_not() -> None:
    data = Drawn(video(4, 4, 4))
    assert evaluate(Stale(), data, options()).per_class["pavement"] == 1
    result = evaluate(Stale(), data, options(), disturb=lambda pixels: pixels // 2)
    assert result.per_class["pavement"] == 0
    seen = Stale()
    evaluate(seen, data, options("full"), disturb=DISTURBANCES["dark"])
    assert seen.seen == [2, 2, 2]


def test_no_label_at_all_is_refused() -> None:
    with pytest.raises(ValueError, match="none of the 3 frames of drawn has a label"):
        evaluate(Stale(), Drawn(video(1, 2, 3), labelled=()), options())


def test_other_classes_than_the_weights_are_refused() -> None:
    data = Drawn(video(1))
    data.labels = CITYSCAPES
    with pytest.raises(ValueError, match="camvid_resnet18 tell 11 classes apart, but drawn has 19"):
        evaluate(Stale(), data, options())


def test_the_weights_classes_in_another_order_are_refused() -> None:
    data = Drawn(video(1))
    data.labels = LabelSet((*CAMVID.names[:2], "road", "pole", *CAMVID.names[4:]), CAMVID.colors)
    with pytest.raises(ValueError, match="camvid_resnet18 and drawn have different classes: class 2 is 'pole' in"):
        evaluate(Stale(), data, options())


def test_other_colours_are_no_other_classes_and_weights_may_name_none() -> None:
    data, nameless = Drawn(video(1)), Stale()
    data.labels = replace(CAMVID, colors=CAMVID.colors[::-1])
    assert evaluate(Stale(), data, options()).miou_present == 1
    nameless.config = replace(nameless.config, label_set="")
    assert evaluate(nameless, data, options()).miou_present == 1


@pytest.fixture
def often_collected() -> Iterator[None]:
    """Cycles count in a peak until they are collected, for which Python 3.13 waits for three times as many."""
    before = gc.get_threshold()
    gc.set_threshold(700, *before[1:])
    yield
    gc.set_threshold(*before)


@pytest.mark.usefixtures("often_collected")
@pytest.mark.parametrize("every", [1, 4], ids=["dense", "sparse"])
@pytest.mark.parametrize("mode", MODES)
def test_memory_does_not_grow_with_the_video(mode: Mode, every: int) -> None:
    class Large(Drawn):
        """Frames that outweigh what a listing takes."""

        def image(self, clip: object, index: int) -> np.ndarray:
            return np.zeros((48, 64, 3), np.uint8)

        def label(self, clip: object, index: int) -> np.ndarray | None:
            return np.zeros((48, 64), np.uint8) if index % every == 0 else None

    def peak(frames: int) -> int:
        data = Large(video(*[0] * frames), labelled=range(0, frames, every))
        tracemalloc.start()
        try:
            evaluate(Stale(), data, options(mode, interval=3))
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    peak(8)  # what is imported or made once
    # What is kept of a frame is its place in listings; to hold its mask alone would be 3,072 bytes. Windows over frames
    # are full well before the 150th.
    assert (peak(230) - peak(150)) / 80 < 1000
