"""How good masks are: intersection over union from one confusion matrix, and consistency over time."""

from __future__ import annotations

from collections import deque

import numpy as np
import torch
from torch import Tensor
from torchmetrics.classification import MulticlassConfusionMatrix

from dcfm_ros.imaging.labels import UNLABELLED


class SegmentationScore:
    """Accumulates predictions against labels; 255 in the labels is ignored. Counts are int64.

    Every value comes from the one confusion matrix, in float64: torchmetrics' own Jaccard index reads the counts as
    float32, and its mean leaves absent classes out, which the authors' does not.

    device: where the pixels are counted. A value is over all processes of a run, which send each other their counts
    from there: it has to be the model's device, because processes on GPUs (NCCL) can send nothing from the CPU.
    """

    def __init__(self, classes: int, device: torch.device | str = "cpu") -> None:
        self._device = torch.device(device)
        # torchmetrics' own validation sorts every pixel, which takes longer than the counting.
        matrix = MulticlassConfusionMatrix(classes, ignore_index=UNLABELLED, validate_args=False)
        self._matrix = matrix.to(self._device)

    def update(self, prediction: Tensor | np.ndarray, target: Tensor | np.ndarray) -> None:
        """Two tensors or arrays of integers, equal in shape, of any size: ids 0..classes-1, and ids or 255.

        They may lie on any device. Raises ValueError when the shapes differ or there is another id.
        """
        predicted, labelled = (torch.as_tensor(ids, device=self._device).long() for ids in (prediction, target))
        if predicted.shape != labelled.shape:
            raise ValueError(
                f"the prediction is {tuple(predicted.shape)}; expected the label's {tuple(labelled.shape)}"
            )
        self._check(predicted, "prediction")
        self._check(labelled, "label", ignored=UNLABELLED)
        self._matrix.update(predicted, labelled)

    def per_class(self) -> list[float]:
        """IoU of each class; 0 where a class appears neither in the labels nor in the predictions."""
        hits, union = self._hits_and_union()
        return (hits / union.clamp(min=1)).tolist()

    def miou(self) -> float:
        """Mean over all classes, absent ones counting 0 (the authors' convention); between 0 and 1."""
        values = self.per_class()
        return sum(values) / len(values)

    def miou_present(self) -> float:
        """Mean over the classes that appear in the labels or, on labelled pixels, in the predictions; 0 without any."""
        hits, union = self._hits_and_union()
        present = union > 0
        values = (hits[present] / union[present]).tolist()
        return sum(values) / max(1, len(values))  # summed as `miou` does, which is never above it then

    def wiou(self) -> float:
        """Mean over classes weighted by how often each is labelled; between 0 and 1."""
        labelled = self._counts().sum(1)
        per_class = torch.tensor(self.per_class(), dtype=torch.float64)
        return float((labelled * per_class).sum() / labelled.sum().clamp(min=1))

    def _check(self, ids: Tensor, what: str, ignored: int | None = None) -> None:
        classes = self._matrix.num_classes
        known = ids if ignored is None else ids[ids != ignored]
        if known.numel() and not 0 <= known.min() <= known.max() < classes:
            stray = int(known[(known < 0) | (known >= classes)][0])
            raise ValueError(f"the {what} holds {stray}; expected 0 to {classes - 1}")

    def _counts(self) -> Tensor:
        """(classes, classes) float64 on the CPU: pixels of all processes, by label and prediction."""
        return self._matrix.compute().cpu().double()

    def _hits_and_union(self) -> tuple[Tensor, Tensor]:
        """Pixels of each class that label and prediction agree on, and that either of them has: float64."""
        matrix = self._counts()
        hits = matrix.diag()
        return hits, matrix.sum(0) + matrix.sum(1) - hits


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
        """The next frame of a clip: two (H, W) integer arrays. A frame of another size begins a new clip."""
        if self._clip and self._clip[-1][1].shape != label.shape:
            self.begin_clip()
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
