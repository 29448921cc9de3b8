"""What is wrong with a label is said before the first step, wherever the label is used."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import cv2
import numpy as np
import pytest
from labelled_folders import street_like, write_folder

Call = Callable[..., CompletedProcess[str]]

RECIPE = """
model: camvid_mitb0
data_root: {root}
output: {root}/run
precision: fp32
crop: [64, 64]
sources:
  - {{path: mine, share: 1.0, dataset: {kind}, split: train, {more}}}
"""


@pytest.fixture
def train(called: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """What `dcfm train` says of a recipe that must not be begun on."""

    def step(*arguments: Any) -> None:
        raise AssertionError("training was begun")

    monkeypatch.setattr("dcfm_ros.training.trainer.TrainingStep", step)

    def run(kind: str, more: str) -> str:
        (tmp_path / "recipe.yaml").write_text(RECIPE.format(root=tmp_path, kind=kind, more=more))
        done = called("train", str(tmp_path / "recipe.yaml"))
        assert done.returncode == 1, done.stderr
        return " ".join(done.stderr.split())

    return run


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    for split in ("train", "val"):
        write_folder(tmp_path / "mine" / split, street_like(6))
    return tmp_path / "mine"


@pytest.mark.parametrize(
    ("split", "more"), [("train", ""), ("train", "hold_out: f005"), ("val", "validate_split: val")]
)
def test_the_last_label_is_checked_before_training(
    mine: Path, train: Callable[..., str], split: str, more: str
) -> None:
    last = mine / split / "labels" / "f005.png"
    cv2.imwrite(str(last), np.full((64, 96), 17, np.uint8))
    assert f"{last} holds the label 17; expected 0 to 10, or 255: write the id of one of the 11" in train(
        "folder", more
    )
    cv2.imwrite(str(last), np.zeros((64, 96, 3), np.uint8))
    assert "write the id of each class in place of its colour" in train("folder", more)


def test_ids_of_32_classes_are_refused(tmp_path: Path, train: Callable[..., str]) -> None:
    root = tmp_path / "mine"
    (root / "gt").mkdir(parents=True)
    (root / "seq").mkdir()
    for number, (image, label) in enumerate(street_like(4)):
        cv2.imwrite(str(root / "seq" / f"seq_{number}.png"), image)
        cv2.imwrite(str(root / "gt" / f"seq_f{number}_L.png"), np.where(label == 3, 17, 21).astype(np.uint8))
    (root / "id2id.txt").write_text("".join(f"seq_f{number} seq_{number}\n" for number in range(4)))
    (root / "train.txt").write_text("".join(f"seq_f{number}\n" for number in range(4)))
    said = train("camvid", "")
    assert "seq_f0_L.png holds the label 21; expected 0 to 11, or 255, 11 and 255 being ignored" in said
    assert "where these are CamVid's 32 classes" in said
    assert "write the ids of its 11 in their place" in said
