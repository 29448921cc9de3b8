"""Intersection over union: by hand, and against the authors' code."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from reference_data import load_module
from torchmetrics.functional.classification import multiclass_jaccard_index

from dcfm_ros.evaluation.metrics import SegmentationScore, VideoConsistency


def test_a_case_counted_by_hand() -> None:
    score = SegmentationScore(4)
    score.update(torch.tensor([[0, 0, 1], [1, 1, 2]]), torch.tensor([[0, 1, 1], [1, 255, 0]]))
    # Class 0: 1 hit, 1 false, 1 missed. Class 1: 2 hits, 1 missed; the third 1 is where nothing is labelled.
    # Class 2: 1 false. Class 3: nowhere, which counts 0.
    assert score.per_class() == pytest.approx([1 / 3, 2 / 3, 0, 0])
    assert score.miou() == pytest.approx((1 / 3 + 2 / 3) / 4)
    assert score.miou_present() == pytest.approx((1 / 3 + 2 / 3) / 3)


def test_frames_are_pooled_before_the_ratio_is_taken() -> None:
    score = SegmentationScore(2)
    score.update(torch.tensor([[0, 0, 0, 0]]), torch.tensor([[0, 0, 0, 1]]))
    score.update(torch.tensor([1, 1]), torch.tensor([1, 1]))  # of another size
    assert score.per_class() == pytest.approx([3 / 4, 2 / 3])


def test_a_perfect_prediction_scores_one() -> None:
    ids = torch.arange(11).repeat(3, 1)
    score = SegmentationScore(11)
    score.update(ids, ids)
    assert score.miou() == 1


@given(arrays(np.uint8, (2, 30), elements=st.integers(0, 4)), st.sets(st.integers(0, 29)))
def test_the_mean_over_classes_that_occur_is_torchmetrics(ids: np.ndarray, unlabelled: set[int]) -> None:
    prediction, label = ids
    label[sorted(unlabelled)] = 255
    score = SegmentationScore(6)
    score.update(prediction, label)
    theirs = multiclass_jaccard_index(
        torch.from_numpy(prediction).long(), torch.from_numpy(label).long(), 6, ignore_index=255
    )
    assert score.miou_present() == pytest.approx(float(theirs.nan_to_num()), abs=1e-6)
    assert score.miou() <= score.miou_present() <= 1


@pytest.mark.parametrize(
    ("prediction", "label", "said"),
    [
        ([3], [0], "the prediction holds 3; expected 0 to 2"),
        ([255], [0], "the prediction holds 255; expected 0 to 2"),
        ([0], [3], "the label holds 3; expected 0 to 2"),
        ([0], [-1], "the label holds -1; expected 0 to 2"),
        ([0, 1], [0], r"the prediction is \(2,\); expected the label's \(1,\)"),
    ],
)
def test_ids_and_shapes_that_do_not_fit_are_refused(prediction: list[int], label: list[int], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        SegmentationScore(3).update(np.array(prediction), np.array(label))


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int64])
def test_many_classes_do_not_overflow_the_type_of_the_ids(dtype: torch.dtype) -> None:
    score = SegmentationScore(124)
    score.update(torch.full((50, 50), 123, dtype=dtype), torch.full((50, 50), 122, dtype=dtype))
    score.update(torch.full((50, 50), 123, dtype=dtype), torch.full((50, 50), 123, dtype=dtype))
    assert score.per_class() == [0] * 123 + [0.5]


def test_a_picture_without_labels_counts_nothing() -> None:
    score = SegmentationScore(3)
    score.update(torch.tensor([[0, 1]]), torch.tensor([[0, 1]]))
    before = score.per_class()
    score.update(torch.zeros(2, 2, dtype=torch.int64), torch.full((2, 2), 255))
    assert score.per_class() == before


def test_consistency_counted_by_hand() -> None:
    consistency = VideoConsistency(2)
    labels = np.array([[0, 0, 255, 1]])
    for prediction, label in (
        ([[0, 5, 5, 1]], labels),  # the first window: three pixels keep their label,
        ([[0, 5, 6, 1]], np.array([[0, 0, 255, 2]])),  # two of them their prediction; right or wrong is not asked
        ([[9, 9, 9, 9]], labels),  # the second window ends the clip and is not counted
    ):
        consistency.update(np.array(prediction), label)
    assert consistency.value() == pytest.approx(2 / 3)


def test_consistency_needs_a_clip_longer_than_its_window() -> None:
    consistency = VideoConsistency(3)
    for _ in range(2):
        for _ in range(3):
            consistency.update(np.zeros((2, 2)), np.zeros((2, 2)))
        assert consistency.value() is None
        consistency.begin_clip()


def test_consistency_begins_anew_where_the_size_changes() -> None:
    consistency = VideoConsistency(2)
    for width, class_id in ((3, 0), (3, 0), (4, 1), (4, 2), (4, 2), (3, 0)):
        consistency.update(np.full((2, width), class_id), np.zeros((2, width)))
    # Two frames are no longer than a window; of three, the first two make one, and they differ; the last one is alone.
    assert consistency.value() == 0


@pytest.mark.parametrize("at", [0, 1, 2])
def test_scores_are_the_authors(shared_reference: Path, at: int) -> None:
    case = json.loads((shared_reference / "metrics.json").read_text())["cases"][at]
    inputs = load_module(shared_reference / "inputs.py")
    score = SegmentationScore(case["C"])
    consistencies = {n: VideoConsistency(n) for n in (8, 16)}
    for clip, running in zip(case["clips"], case["running"], strict=True):
        predictions, labels = inputs.clip(clip["length"], case["h"], case["w"], case["C"], clip["seed"])
        for prediction, label in zip(predictions, labels, strict=True):
            score.update(torch.from_numpy(prediction), torch.from_numpy(label))
            for consistency in consistencies.values():
                consistency.update(prediction, label)
        for length, consistency in consistencies.items():
            consistency.begin_clip()
            assert consistency.value() == pytest.approx(running[f"VC{length}"], abs=1e-6)
        assert score.miou() == pytest.approx(running["mIoU"], abs=1e-6)
        assert score.wiou() == pytest.approx(running["wIoU"], abs=1e-6)
