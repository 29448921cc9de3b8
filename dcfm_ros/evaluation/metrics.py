"""How good masks are: intersection over union from one confusion matrix."""

from __future__ import annotations

import torch
from torch import Tensor
from torchmetrics.classification import MulticlassConfusionMatrix

from dcfm_ros.imaging.labels import UNLABELLED


class SegmentationScore:
    """Accumulates predictions against labels; 255 in the labels is ignored. Counts are int64."""

    def __init__(self, classes: int) -> None:
        self._matrix = MulticlassConfusionMatrix(classes, ignore_index=UNLABELLED)

    def update(self, prediction: Tensor, target: Tensor) -> None:
        """Two tensors of equal shape and any size: ids 0..classes-1, and ids or 255."""
        self._matrix.update(prediction, target)

    def per_class(self) -> list[float]:
        """IoU of each class; 0 where a class appears neither in the labels nor in the predictions."""
        matrix = self._matrix.compute().double()
        hits = matrix.diag()
        union = matrix.sum(0) + matrix.sum(1) - hits
        return torch.where(union > 0, hits / union.clamp(min=1), 0).tolist()

    def miou(self) -> float:
        """Mean over all classes, absent ones counting 0 (the authors' convention); between 0 and 1."""
        values = self.per_class()
        return sum(values) / len(values)
