"""The parts of the network as ONNX graphs, which ONNX Runtime, OpenVINO and TensorRT read."""

from __future__ import annotations

import copy
import inspect
import io
import warnings
from typing import Any

import onnx  # noqa: F401 (torch's exporter needs it, and would say so in the middle of its work)
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dcfm_ros.deploy.parts import inference_parts, joined_parts
from dcfm_ros.model import DCFM
from dcfm_ros.model.backbones.resnet import PyramidPooling
from dcfm_ros.model.catalogue import Size

OPSET = 17
HALF_INT8_OPSET = 19
"""The least in which QuantizeLinear has float16 scales; ONNX Runtime and TensorRT 10.3 read it, torch 2.1 writes it."""

_EXAMPLE_SIZE = (64, 96)  # a multiple of every network's
_BAND_ROWS = 128


def onnx_graphs(
    model: DCFM, size: Size | None = None, ids_size: Size | None = None, joined: bool = False, opset: int = OPSET
) -> dict[str, bytes]:
    """Return every part of `deploy.parts` as an ONNX graph of batch 1, by name.

    The inputs -> outputs of each:

    shallow: image -> shallow. common: shallow -> common. logits: common, shallow -> logits.
    align: common, grid -> aligned. change: shallow, reference -> change.
    decide, when `ids_size` is given: common, shallow -> ids, confidence, (height, width) uint8 of that size, as
    `Backend.decide` gives them; full-resolution logits exist for a band of rows at a time.

    keyframe, reused, moved, when `joined`: whole frames, see `deploy.parts.Joined`.

    model: is left as it is; its dtype is the features', and in float16 what that cannot hold is computed in float32.
    size: the network's input; None leaves height and width open. opset: of ONNX.
    Raises ValueError for a size that is no multiple of the network's.
    """
    if size is not None:
        model.config.check_input_size(size)
    parts = inference_parts(_exportable(model))
    parts.shallow.to(next(model.parameters()).dtype)  # its constants are made in float32
    with torch.inference_mode():
        image = torch.zeros(1, *(size or _EXAMPLE_SIZE), 3, dtype=torch.uint8)
        shallow = parts.shallow(image)
        common = parts.common(shallow)
    frame = {"image": image, "common": common}
    grid = torch.zeros(1, *common.shape[2:], 2)

    inputs: dict[str, tuple[nn.Module, dict[str, Tensor], tuple[str, ...]]] = {
        "shallow": (parts.shallow, {"image": image}, ("shallow",)),
        "common": (parts.common, {"shallow": shallow}, ("common",)),
        "logits": (parts.logits, {"common": common, "shallow": shallow}, ("logits",)),
        "align": (parts.align, {"common": common, "grid": grid}, ("aligned",)),
        "change": (parts.change, {"shallow": shallow, "reference": torch.ones_like(shallow)}, ("change",)),
    }
    if ids_size is not None:
        decide = _Decide(parts.logits, ids_size)
        inputs["decide"] = (decide, {"common": common, "shallow": shallow}, ("ids", "confidence"))
    if joined:
        keyframe, reused, moved = joined_parts(parts)
        inputs |= {
            "keyframe": (keyframe, {"image": image}, ("common", "logits")),
            "reused": (reused, frame, ("logits",)),
            "moved": (moved, frame | {"grid": grid}, ("logits",)),
        }
    return {name: _exported(*of_part, opset=opset, is_dynamic=size is None) for name, of_part in inputs.items()}


def _exportable(model: DCFM) -> DCFM:
    model = copy.deepcopy(model)
    pooling = getattr(model.encoder, "ppm", None)
    if isinstance(pooling, PyramidPooling):
        model.encoder.ppm = _SlicedPooling(pooling)
    return model


def _exported(
    module: nn.Module, inputs: dict[str, Tensor], outputs: tuple[str, ...], opset: int, is_dynamic: bool
) -> bytes:
    buffer = io.BytesIO()
    # The other exporter, the default since torch 2.9, needs further packages; torch 2.4 and before know this one only.
    exporter: dict[str, Any] = {"dynamo": False} if "dynamo" in inspect.signature(torch.onnx.export).parameters else {}
    with warnings.catch_warnings():
        # Tracing warns of every size that is compared or looped over. Which branch is taken is the same for all sizes.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module.eval(),
            tuple(inputs.values()),
            buffer,  # type: ignore[arg-type]
            input_names=list(inputs),
            output_names=list(outputs),
            opset_version=opset,
            dynamic_axes=_open_axes(inputs, outputs) if is_dynamic else None,
            **exporter,
        )
    return buffer.getvalue()


def _open_axes(inputs: dict[str, Tensor], outputs: tuple[str, ...]) -> dict[str, dict[int, str]]:
    axes = {name: _axes(name) for name in (*inputs, *outputs) if name not in ("change", "ids", "confidence")}
    if "logits" in axes:  # on F_co's grid or, with the fine fusion, on F_in's: no name says which
        axes["logits"] = {2: "logits_height", 3: "logits_width"}
    return axes


def _axes(name: str) -> dict[int, str]:
    """The open dimensions of a tensor, named so that equal ones have equal names within a graph."""
    if name == "image":
        return {1: "height", 2: "width"}
    if name in ("shallow", "reference"):
        return {2: "shallow_height", 3: "shallow_width"}
    if name == "grid":
        return {1: "common_height", 2: "common_width"}
    return {2: "common_height", 3: "common_width"}


class _SlicedPooling(nn.Module):
    """`PyramidPooling` by slices and their means: ONNX has no adaptive pooling for an open size."""

    def __init__(self, pooling: PyramidPooling) -> None:
        super().__init__()
        self.features = pooling.features
        self.bins = pooling.bins

    def forward(self, x: Tensor) -> Tensor:
        size = (x.shape[2], x.shape[3])
        pooled = [x]
        for bins, level in zip(self.bins, self.features, strict=True):
            means = _means(_means(x, 2, bins), 3, bins)
            projected = nn.Sequential(*list(level.children())[1:])(means)
            pooled.append(F.interpolate(projected, size, mode="bilinear", align_corners=True))
        return torch.cat(pooled, dim=1)


def _means(x: Tensor, dim: int, bins: int) -> Tensor:
    """Average x along `dim` in `bins` parts, which overlap where the length is no multiple: as adaptive pooling."""
    length = x.shape[dim]
    edges = [(i * length // bins, ((i + 1) * length + bins - 1) // bins) for i in range(bins)]
    if dim == 2:
        return torch.cat([x[:, :, low:high].mean(2, keepdim=True) for low, high in edges], 2)
    return torch.cat([x[:, :, :, low:high].mean(3, keepdim=True) for low, high in edges], 3)


class _Decide(nn.Module):
    """The logits, bilinearly resized to `size` in bands of rows; of each the largest class and its softmax x 255."""

    def __init__(self, logits: nn.Module, size: Size) -> None:
        super().__init__()
        self.logits = logits
        self.height, self.width = size

    def forward(self, common: Tensor, shallow: Tensor) -> tuple[Tensor, Tensor]:
        low = self.logits(common, shallow)[0].float()
        left, right, share = _neighbours(low.shape[2], self.width)
        wide = torch.lerp(low[:, :, left], low[:, :, right], share)
        above, below, share = _neighbours(low.shape[1], self.height)
        ids, confidences = [], []
        for first in range(0, self.height, _BAND_ROWS):
            rows = slice(first, min(first + _BAND_ROWS, self.height))
            band = torch.lerp(wide[:, above[rows]], wide[:, below[rows]], share[rows, None])
            largest = band.max(0).values
            ids.append(band.argmax(0).float())
            confidences.append((255 / (band - largest).exp().sum(0)).round())
        # TensorRT makes bytes of floating point only, and only where the graph ends.
        return torch.cat(ids).to(torch.uint8), torch.cat(confidences).to(torch.uint8)


def _neighbours(length: int, wanted: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return, for each of `wanted` places, the two of `length` that it lies between, and the second's share.

    As F.interpolate has them with align_corners=False.
    """
    places = ((torch.arange(wanted) + 0.5) * (length / wanted) - 0.5).clamp(min=0)
    first = places.floor()
    second = (first + 1).clamp(max=length - 1)
    return first.long(), second.long(), places - first
