"""How good masks are: intersection over union from one confusion matrix, and consistency over time."""

from __future__ import annotations

from collections import deque

import numpy as np
import torch
from torch import Tensor
from torchmetrics.classification import MulticlassConfusionMatrix

from dcfm_ros.imaging.labels import UNLABELLED


class SegmentationScore:
    """Accumulates predictions against labels; 255 in the labels is ignored. Counts are int64."""

    def __init__(self, classes: int) -> None:
        self._matrix = MulticlassConfusionMatrix(classes, ignore_index=UNLABELLED)

    def update(self, prediction: Tensor | np.ndarray, target: Tensor | np.ndarray) -> None:
        """Two tensors or arrays of integers, equal in shape, of any size: ids 0..classes-1, and ids or 255."""
        self._matrix.update(torch.as_tensor(prediction).long(), torch.as_tensor(target).long())

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

    def wiou(self) -> float:
        """Mean over classes weighted by how often each is labelled; between 0 and 1."""
        labelled = self._matrix.compute().sum(1).double()
        return float((labelled * torch.tensor(self.per_class())).sum() / labelled.sum().clamp(min=1))


class VideoConsistency:
    """VC_n (Miao et al., "VSPW", 2021): of the pixels that keep their label over n frames, those that keep their class.

    The prediction is not held against the label, and 255 is a label like any other. As in the authors' code a clip of N
    frames has N - n windows, and the mean goes over the windows of all clips.
    """

    def __init__(self, length: int) -> None:
        self._length = length
        self._clip: deque[tuple[np.ndarray, np.ndarray]] = deque(maxlen=length)
        self._ratios: list[float] = []

    def update(self, prediction: np.ndarray, label: np.ndarray) -> None:
        """The next frame of a clip: two (H, W) integer arrays."""
        if len(self._clip) == self._length:
            self._ratios.append(self._ratio())
        self._clip.append((prediction, label))

    def begin_clip(self) -> None:
        """The next frame does not go on from the last one."""
        self._clip.clear()

    def value(self) -> float | None:
        """Between 0 and 1; None where no clip was longer than a window."""
        return float(np.mean(self._ratios)) if self._ratios else None

    def _ratio(self) -> float:
        predictions, labels = (np.stack(arrays) for arrays in zip(*self._clip, strict=True))
        same_label = (labels == labels[0]).all(0)
        same_both = same_label & (predictions == predictions[0]).all(0)
        return float(same_both.sum() / max(1, same_label.sum()))
