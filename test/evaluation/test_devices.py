"""On which device a score is counted, seen without a GPU: the "meta" device has shapes and places, and no values."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from dataset_files import write_ids, write_pixels
from torchmetrics.classification import MulticlassConfusionMatrix

from dcfm_ros.datasets.folder import FolderDataset
from dcfm_ros.evaluation.metrics import SegmentationScore
from dcfm_ros.imaging.labels import CAMVID
from dcfm_ros.model import DCFM, model_config
from dcfm_ros.training.validation import LabelledFrame, validate


@pytest.fixture
def counted_on(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The devices of the counts, the prediction and the label of each frame."""
    seen: list[str] = []

    def update(matrix: MulticlassConfusionMatrix, predicted: torch.Tensor, labelled: torch.Tensor) -> None:
        seen.extend(tensor.device.type for tensor in (matrix.confmat, predicted, labelled))

    monkeypatch.setattr(MulticlassConfusionMatrix, "update", update)
    monkeypatch.setattr(SegmentationScore, "_check", lambda *ids, **ignored: None)  # asks for values
    return seen


@pytest.mark.parametrize("device", ["meta", torch.device("meta"), "cpu"])
def test_pixels_are_counted_where_it_is_said(counted_on: list[str], device: torch.device | str) -> None:
    score = SegmentationScore(3, device)
    score.update(np.zeros((2, 4), np.uint8), torch.zeros(2, 4, dtype=torch.uint8))
    assert counted_on == [torch.device(device).type] * 3


def test_validation_counts_on_the_models_device(counted_on: list[str], tmp_path: Path) -> None:
    write_pixels(tmp_path / "images" / "a.png")
    write_ids(tmp_path / "labels" / "a.png")
    dataset = FolderDataset(tmp_path, labels=CAMVID)
    model = DCFM(replace(model_config("camvid_mitb0"), input_size=(32, 64))).eval().to("meta")
    validate(model, [LabelledFrame(dataset, dataset.clips[0], 0)])
    assert counted_on == ["meta"] * 3
