"""A segmenter held against labels."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner

from dcfm_ros.cli.evaluate import command
from dcfm_ros.evaluation.runs import evaluate
from dcfm_ros.imaging import Frame
from dcfm_ros.model import model_config
from dcfm_ros.streaming import FixedInterval, StreamSegmenter


class Stale:
    """A backend whose mask is the class of the keyframe: right on keyframes, wrong when the class has changed since."""

    config = model_config("camvid_resnet18")
    description = "stale"

    def encode_shallow(self, image: np.ndarray) -> int:
        return int(image[0, 0, 0])

    def encode_common(self, shallow: int) -> int:
        return shallow

    def decide(
        self, commons: Sequence[int], shallow: int, size: tuple[int, int], confidence: bool
    ) -> tuple[np.ndarray, None]:
        return np.full(size, commons[0], np.uint8), None


def clip(classes: Sequence[int], labelled: Sequence[bool] | None = None) -> list[tuple[Frame, np.ndarray | None]]:
    flags = labelled or [True] * len(classes)
    return [
        (Frame(np.full((8, 8, 3), c, np.uint8)), np.full((8, 8), c, np.uint8) if flag else None)
        for c, flag in zip(classes, flags, strict=True)
    ]


def test_scores_by_distance_from_the_keyframe() -> None:
    result = evaluate(StreamSegmenter(Stale(), FixedInterval(3)), clip([1, 1, 2, 3, 3, 4]))
    assert (result.frames, result.labelled, result.keyframes) == (6, 6, 2)
    # Frames 0 and 3 are keyframes, 1 and 4 show the same class as these, 2 and 5 another.
    assert result.by_distance == pytest.approx({0: 2 / 11, 1: 2 / 11, 2: 0})
    assert result.per_class["building"] == pytest.approx(2 / 3)
    assert result.miou == pytest.approx((2 / 3 + 2 / 3) / 11)


def test_full_and_bidirectional_answer_every_frame() -> None:
    frames = clip([1, 1, 2, 3, 3, 4, 4])
    assert evaluate(StreamSegmenter(Stale(), mode="full"), frames).miou == pytest.approx(4 / 11)
    result = evaluate(StreamSegmenter(Stale(), FixedInterval(3), mode="bidirectional"), frames)
    assert (result.frames, result.labelled, result.keyframes) == (7, 7, 3)


def test_labels_may_be_sparse_and_end_a_run_of_consistency() -> None:
    dense = evaluate(StreamSegmenter(Stale()), clip([1] * 20))
    assert (dense.mvc8, dense.mvc16) == (1, 1)
    sparse = evaluate(StreamSegmenter(Stale()), clip([1] * 20, [i != 10 for i in range(20)]))
    assert (sparse.labelled, sparse.mvc8, sparse.mvc16) == (19, 1, None)


@pytest.mark.parametrize(
    ("label", "said"),
    [
        (None, "none of 1 frames has a label"),
        (np.zeros((4, 8), np.uint8), r"\(4, 8\); expected the frame's size \(8, 8\)"),
        (np.full((8, 8), 11, np.uint8), "holds 11; expected 0 to 10, or 255"),
    ],
    ids=["none", "size", "id"],
)
def test_labels_that_cannot_be_used_are_named(label: np.ndarray | None, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        evaluate(StreamSegmenter(Stale()), [(Frame(np.zeros((8, 8, 3), np.uint8)), label)])


def test_the_command_scores_a_folder_and_writes_json(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for folder in ("images", "labels"):
        (tmp_path / folder).mkdir()
    for index in range(3):
        cv2.imwrite(str(tmp_path / "images" / f"{index}.png"), rng.integers(0, 256, (48, 64, 3), np.uint8))
    cv2.imwrite(str(tmp_path / "labels" / "1.png"), rng.integers(0, 11, (48, 64), np.uint8))
    arguments = ["--images", tmp_path / "images", "--labels", tmp_path / "labels", "--json", tmp_path / "scores.json"]
    done = CliRunner().invoke(command, [str(argument) for argument in arguments], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    scores = json.loads((tmp_path / "scores.json").read_text())
    assert (scores["frames"], scores["labelled"], scores["keyframes"]) == (3, 1, 1)
    assert list(scores["by_distance"]) == ["1"]
    assert 0 <= scores["mIoU"] <= 1
    nothing = CliRunner().invoke(command, [*map(str, arguments), "--only", "night*"])
    assert nothing.exit_code == 2
    assert "night*" in nothing.output
