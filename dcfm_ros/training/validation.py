"""Accuracy on frames that are not trained on."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatch
from typing import NamedTuple

import torch
import torch.nn.functional as F

from dcfm_ros.datasets.dataset import Clip, Dataset
from dcfm_ros.evaluation.metrics import SegmentationScore
from dcfm_ros.imaging.frame import Frame
from dcfm_ros.imaging.geometry import network_size, resize_to_network
from dcfm_ros.model import DCFM
from dcfm_ros.training.batches import open_split
from dcfm_ros.training.recipe import Recipe


class LabelledFrame(NamedTuple):
    """A frame of a data set that has a label: where it is, not its pixels. `at` is its index in the clip."""

    dataset: Dataset
    clip: Clip
    at: int


def validation_frames(model: DCFM, recipe: Recipe) -> list[LabelledFrame]:
    """The held-out frames of the sources and those of their validation splits, or `validate_frames` of them.

    Raises DatasetError when a split cannot be opened, or one of the frames not be read; ValueError when something is to
    be validated on and has no label.
    """
    frames: list[LabelledFrame] = []
    for source in recipe.sources:
        if source.hold_out:
            dataset = open_split(source, source.split, model, recipe)
            labelled = dataset.labelled()
            held_out = [(clip, i) for clip, i in labelled if fnmatch(clip.frames[i].stem, source.hold_out)]
            if not held_out:
                raise ValueError(
                    f"{dataset.root}: hold_out={source.hold_out!r} matches no frame with a label; expected a pattern "
                    f"of stems like {dataset.clips[0].frames[0].stem}"
                )
            frames += [LabelledFrame(dataset, clip, index) for clip, index in held_out]
        if source.validate_split:
            dataset = open_split(source, source.validate_split, model, recipe)
            if not (labelled := dataset.labelled()):
                raise ValueError(f"{dataset.root}: the split {source.validate_split} has no label to validate on")
            frames += [LabelledFrame(dataset, clip, index) for clip, index in labelled]
    chosen = _evenly(frames, recipe.validate_frames or len(frames))
    for dataset in {id(frame.dataset): frame.dataset for frame in chosen}.values():
        dataset.check_labels([(frame.clip, frame.at) for frame in chosen if frame.dataset is dataset])
    return chosen


@torch.inference_mode()
def validate(model: DCFM, frames: Sequence[LabelledFrame]) -> SegmentationScore:
    """Full-frame accuracy, every frame a keyframe, at the labels' own size. The model must be in evaluation mode.

    Of several processes each validates its part of the frames. A value of the score is over all parts, and all
    processes have to ask for it.
    """
    device = next(model.parameters()).device
    score = SegmentationScore(model.config.num_classes, device)
    mean, std = (torch.tensor(v, device=device)[:, None, None] for v in (model.config.mean, model.config.std))
    for dataset, clip, index in frames:
        image, label = dataset.read(clip, index)
        assert label is not None
        size = network_size(image.shape[0], image.shape[1], model.config.input_size, model.config.size_multiple)
        pixels = torch.from_numpy(resize_to_network(Frame(image), size)).to(device).permute(2, 0, 1) / 255
        shallow = model.encode_shallow(((pixels - mean) / std)[None])
        logits = model.fuse(model.encode_common(shallow), shallow)
        ids = F.interpolate(logits, label.shape, mode="bilinear", align_corners=False).argmax(1)[0]
        score.update(ids, label)
    return score


def _evenly(frames: Sequence[LabelledFrame], count: int) -> list[LabelledFrame]:
    """At most `count` of them, spread evenly over all."""
    count = min(count, len(frames))
    return [frames[(2 * i + 1) * len(frames) // (2 * count)] for i in range(count)]
