"""Encoders trained on ImageNet, as starting points for training."""

from __future__ import annotations

import os
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from dcfm_ros.model.checkpoints import WeightsError
from dcfm_ros.model.dcfm import DCFM

# torchvision's names of the stem -> ours; the four layers have the same names in both.
_STEM = {"conv1.": "layer0.0.", "bn1.": "layer0.1."}
_COUNTER = "num_batches_tracked"  # in some files only, and read by nothing


def load_imagenet_resnet(model: DCFM, path: str | os.PathLike[str]) -> None:
    """Load a ResNet-18 with torchvision's names (safetensors; a classifier `fc` is ignored) into the encoder.

    Pyramid pooling, projection, fusion and head keep their random weights. Raises WeightsError, with nothing loaded,
    when the file cannot be read or does not hold exactly this backbone.
    """
    if model.config.backbone != "resnet18":
        raise WeightsError(f"{model.config.name} is built on {model.config.backbone}; expected resnet18 for {path}")
    try:
        tensors = load_file(Path(path))
    except (OSError, SafetensorError) as error:
        raise WeightsError(f"{path} cannot be read as safetensors: {error}") from error
    found = {_renamed(name): value.float() for name, value in tensors.items() if not name.startswith("fc.")}
    found = {name: value for name, value in found.items() if not name.endswith(_COUNTER)}
    own = {name: value for name, value in model.encoder.state_dict().items() if name.startswith("layer")}
    own = {name: value for name, value in own.items() if not name.endswith(_COUNTER)}
    _check_same(found, own, path)
    model.encoder.load_state_dict(found, strict=False)


def _renamed(name: str) -> str:
    for theirs, ours in _STEM.items():
        if name.startswith(theirs):
            return ours + name.removeprefix(theirs)
    return name


def _check_same(found: dict[str, Tensor], own: dict[str, Tensor], path: str | os.PathLike[str]) -> None:
    if difference := found.keys() ^ own.keys():
        raise WeightsError(f"{path} differs from a torchvision ResNet-18 in {', '.join(sorted(difference)[:3])}")
    for name, value in found.items():
        if value.shape != own[name].shape or not torch.isfinite(value).all():
            raise WeightsError(f"{path}: {name} is {tuple(value.shape)}; expected {tuple(own[name].shape)}, all finite")
