"""Several segmenters in step, with a network that is arithmetic: the figures are known, or those of `evaluate`."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

import cv2
import numpy as np
import pytest
from drawn_clips import Drawn, Mixed, Random, Stale, options, video

from dcfm_ros.evaluation.report.document import document, run_points
from dcfm_ros.evaluation.report.frames import FULL
from dcfm_ros.evaluation.report.in_step import Measured, run_in_step
from dcfm_ros.evaluation.report.inputs import DatasetInput
from dcfm_ros.evaluation.report.numbers import scores
from dcfm_ros.evaluation.runs import evaluate
from dcfm_ros.imaging.labels import CAMVID
from dcfm_ros.streaming import StreamSegmenter
from dcfm_ros.streaming.options import Mode

NAMES = CAMVID.names


def measured(backend: Stale, dataset: Drawn, *intervals: int, mode: Mode = "causal") -> Measured:
    """The runs at these intervals; the first is shown."""
    streams = {f"K={k}": StreamSegmenter(backend, options(mode, interval=k)) for k in intervals}
    return run_in_step(backend, DatasetInput(dataset), streams, f"K={intervals[0]}")


def by_distance(found: Mapping[str, list[dict[str, float]]], key: str) -> dict[float, float]:
    return {at["distance"]: at[key] for at in found["by_distance"]}


def test_each_run_is_held_against_the_full_network() -> None:
    runs = measured(Stale(), Drawn(video(1, 2, 3, 3)), 3, 2).runs
    assert [one.agreement for one in runs["K=3"]] == [1, 0, 0, 1]
    assert [one.agreement for one in runs["K=2"]] == [1, 0, 1, 1]
    assert [one.agreement for one in runs[FULL]] == [1, 1, 1, 1]
    found = scores(runs["K=3"], NAMES)
    assert (found["frames"], found["keyframes"], found["agreement"]) == (4, 2, 0.5)
    assert by_distance(found, "agreement") == {0: 1, 1: 0, 2: 0}
    classes = {one["class"]: one for one in found["by_class"]}
    assert classes["building"]["share"] == 0.75
    assert classes["building"]["iou_against_full"] == pytest.approx(1 / 3)
    assert classes["sky"]["iou_against_full"] is None


@pytest.mark.parametrize("mode", ["causal", "bidirectional"])
def test_scores_are_those_of_evaluate(mode: Mode) -> None:
    dataset = Random({0: 0, **dict.fromkeys(range(2, 22), 0)})
    if mode == "bidirectional":  # whose phase `evaluate` shifts from stream to stream
        dataset = Random(video(*range(20)))
    expected = evaluate(Mixed(), dataset, options(mode, interval=3))
    outcome = measured(Mixed(), dataset, 3, mode=mode)
    found = scores(outcome.runs["K=3"], NAMES)
    assert found["miou"] == pytest.approx(expected.miou, abs=1e-12)
    assert by_distance(found, "miou") == pytest.approx(expected.by_distance, abs=1e-12)
    assert found["keyframes"] == expected.keyframes
    assert (outcome.mvc8, outcome.mvc16) == (expected.mvc8, expected.mvc16)
    assert expected.mvc16 is not None
    per_class = {one["class"]: one["iou"] for one in found["by_class"]}
    assert per_class == pytest.approx(expected.per_class, abs=1e-12)


def test_without_labels_consistency_is_that_of_the_full_network() -> None:
    dataset = Random(video(*range(12)), labelled=[])
    expected = evaluate(Mixed(), dataset, options(interval=3), against="full")
    outcome = measured(Mixed(), dataset, 3)
    assert (outcome.mvc8, outcome.mvc16) == (expected.mvc8, None)
    found = scores(outcome.runs["K=3"], NAMES)
    assert (found["miou"], found["labelled"]) == (None, 0)


def test_sparse_labels_are_met_where_they_lie() -> None:
    found = scores(measured(Stale(), Drawn(video(1, 2, 3, 3), labelled=[1, 3]), 3).runs["K=3"], NAMES)
    assert by_distance(found, "labelled") == {0: 1, 1: 1, 2: 0}
    assert by_distance(found, "miou") == {0: pytest.approx(1 / len(NAMES)), 1: 0, 2: None}


def test_every_clip_begins_a_stream() -> None:
    records = measured(Stale(), Drawn(video(1, 2), video(3, 4)), 5).runs["K=5"]
    assert [one.stream for one in records] == [0, 0, 1, 1]
    assert [one.is_keyframe for one in records] == [True, False, True, False]
    assert [one.number for one in records] == [0, 1, 2, 3]


def test_the_worst_frames_are_apart_and_fit_a_page() -> None:
    dataset = Random(video(*range(40)))
    worst = measured(Mixed(), dataset, 4).worst
    assert len(worst) > 1
    assert [one.agreement for one in worst] == sorted(one.agreement for one in worst)
    numbers = sorted(one.number for one in worst)
    assert min(np.diff(numbers)) >= 10
    assert list(worst[0].images) == [
        *("The camera's picture", "Where mask and full network differ", "The mask", "The full network's mask"),
        *("The label", "Where mask and label differ"),
    ]
    for address in worst[0].images.values():
        head, _, data = address.partition(",")
        assert head in ("data:image/png;base64", "data:image/jpeg;base64")
        picture = cv2.imdecode(np.frombuffer(base64.b64decode(data), np.uint8), cv2.IMREAD_COLOR)
        assert picture is not None and picture.shape == (8, 12, 3)


def test_no_picture_where_nothing_differs() -> None:
    assert measured(Stale(), Drawn(video(1, 1, 1)), 3).worst == []


def test_an_input_without_frames_is_refused() -> None:
    with pytest.raises(ValueError, match="no frames"):
        measured(Stale(), Drawn(), 3)


def test_the_slider_has_a_point_for_every_run() -> None:
    outcome = measured(Stale(), Drawn(video(1, 2, 3, 3)), 3, 2)
    facts: dict[str, Any] = {"input": {}, "ran": {}, "made_with": {}, "drive": None}
    points = run_points(document(outcome, NAMES, facts))
    assert [point["title"] for point in points] == ["K=1 (full)", "K=3", "K=2"]
    assert [point["agreement"] for point in points] == [1, 0.5, 0.75]
    assert points[0]["speedup"] == 1
