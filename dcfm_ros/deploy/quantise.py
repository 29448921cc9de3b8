"""ONNX graphs in int8, by explicit QuantizeLinear and DequantizeLinear nodes."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

from dcfm_ros.deploy.calibration import Clip

QUANTISED = ("shallow", "common", "keyframe", "reused", "moved")

_WEIGHTED = ["Conv", "MatMul"]
_ACTIVATIONS = ["Clip", "Relu"]

Feeds = dict[str, np.ndarray]


def quantised(graphs: Mapping[str, bytes], clips: Sequence[Clip], signed: bool) -> dict[str, bytes]:
    """The graphs with the convolutions and linear layers of QUANTISED in int8; the others, small, stay as they are.

    What is scaled is what comes behind an activation, never before: ReLU6 lets 0 to 6 through of a convolution that may
    give a hundred, of which 256 levels would leave a handful (measured: a mIoU point, and one pixel in twenty).
    Convolutions that give a graph's own outputs stay in floating point: 256 levels are few to decide by. So does all
    that moves features. Weights that a CPU runs have 7 bits, but for depthwise ones: a CPU without VNNI (before Cascade
    Lake, Zen 4, Alder Lake) sums products over channels in pairs in 16 bits, and with 8 bits cuts off what goes over.

    graphs: as `deploy.onnx_graphs` gives them, in float32, or in float16 and HALF_INT8_OPSET; scales are then float16,
    as is what lies between int8 layers. clips: what is seen in use; activations are scaled to the range seen in them,
    weights by channel, symmetrically.
    signed: activations symmetrically in int8, all that TensorRT takes. Else in uint8, which ONNX Runtime computes twice
    as fast, and where OpenVINO keeps its accuracy: of signed ones it makes another function (measured: 17 mIoU points).
    Raises ValueError without clips.
    """
    if not clips:
        raise ValueError("no frame to calibrate on; expected at least one")
    seen = _seen(graphs, clips)
    return {
        name: _quantised(graph, seen[name], signed) if name in QUANTISED else graph for name, graph in graphs.items()
    }


def _seen(graphs: Mapping[str, bytes], clips: Sequence[Clip]) -> dict[str, list[Feeds]]:
    """Collect the inputs that each of QUANTISED is given when the clips are run."""
    seen: dict[str, list[Feeds]] = {name: [] for name in QUANTISED}
    shallow_of, common_of = (
        onnxruntime.InferenceSession(graphs[name], providers=["CPUExecutionProvider"]) for name in ("shallow", "common")
    )
    for clip in clips:
        images = [image[None] for image in (clip.keyframe, *(other.image for other in clip.others))]
        shallow = [shallow_of.run(None, {"image": image})[0] for image in images]
        common = common_of.run(None, {"shallow": shallow[0]})[0]
        seen["shallow"] += [{"image": image} for image in images]
        seen["common"] += [{"shallow": feature} for feature in shallow]
        seen["keyframe"] += seen["shallow"][-len(images) :]  # any frame may become one
        seen["reused"] += [{"image": image, "common": common} for image in images]
        grids = [_in_place(common.shape), *(other.grid[None] for other in clip.others)]
        seen["moved"] += [
            {"image": image, "common": common, "grid": grid} for image, grid in zip(images, grids, strict=True)
        ]
    return seen


def _in_place(shape: tuple[int, ...]) -> np.ndarray:
    """The grid, (1, h', w', 2), that leaves a feature of (1, C', h', w') where it is."""
    y, x = ((np.arange(length, dtype=np.float32) + 0.5) * (2 / length) - 1 for length in shape[2:])
    return np.stack(np.meshgrid(x, y), axis=-1)[None]


def _quantised(graph: bytes, seen: list[Feeds], signed: bool) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        source, prepared, target = (Path(folder) / f"{stage}.onnx" for stage in ("float", "prepared", "int8"))
        source.write_bytes(graph)
        quant_pre_process(str(source), str(prepared), skip_optimization=True, skip_symbolic_shape=True)
        quantize_static(
            prepared,
            target,
            _Reader(seen),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=_WEIGHTED if signed else [*_WEIGHTED, *_ACTIVATIONS],
            nodes_to_exclude=_convolutions_giving_outputs(prepared),
            per_channel=True,
            activation_type=QuantType.QInt8 if signed else QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            extra_options={
                "ActivationSymmetric": signed,
                "WeightSymmetric": True,
                "MatMulConstBOnly": True,  # attention's products of two activations stay as they are
                "QuantizeBias": False,  # TensorRT takes float biases alone
                "TensorQuantOverrides": _half_scales(prepared) if signed else _seven_bits(prepared),
                # TensorRT scales inputs; ONNX Runtime is fast where outputs are scaled too, with activations taken in.
                "OpTypesToExcludeOutputQuantization": _WEIGHTED if signed else [],
            },
        )
        return target.read_bytes()


def _convolutions_giving_outputs(path: Path) -> list[str]:
    graph = onnx.load(path).graph
    outputs = {output.name for output in graph.output}
    return [node.name for node in graph.node if node.op_type in _WEIGHTED and outputs & set(node.output)]


def _half_scales(path: Path) -> dict[str, list[dict[str, Any]]]:
    """By weight in float16: the scale of each channel, symmetric.

    ONNX Runtime 1.23 to 1.31 give a scale of 1 to channels whose weights are all below 0.0078 in float16, which makes
    zeros of them: their scale is below float16's least normal number, though not below its least.
    """
    scales = {}
    for _, weight, axis in _weights(path):
        if weight.data_type == onnx.TensorProto.FLOAT16:
            values = np.abs(onnx.numpy_helper.to_array(weight))
            largest = values.max(axis=tuple(other for other in range(values.ndim) if other != axis))
            of_channels = np.maximum(largest / np.float16(127), np.finfo(np.float16).smallest_subnormal)
            of_channels[largest == 0] = 1
            scales[weight.name] = [{"axis": axis, "scale": scale, "zero_point": 0} for scale in of_channels]
    return scales


def _seven_bits(path: Path) -> dict[str, list[dict[str, Any]]]:
    """By weight that sums over channels: 7 bits. Depthwise ones need all 8, and overflow nowhere."""
    of_channels = {"quant_type": QuantType.QInt8, "symmetric": True, "reduce_range": True}
    return {
        weight.name: [{"axis": axis, **of_channels}] for node, weight, axis in _weights(path) if not _is_depthwise(node)
    }


def _weights(path: Path) -> Iterator[tuple[onnx.NodeProto, onnx.TensorProto, int]]:
    """Each convolution and linear layer with its constant weight, and that weight's axis of output channels."""
    graph = onnx.load(path).graph
    constants = {constant.name: constant for constant in graph.initializer}
    for node in graph.node:
        if node.op_type in _WEIGHTED and node.input[1] in constants:
            yield node, constants[node.input[1]], 0 if node.op_type == "Conv" else 1


def _is_depthwise(node: onnx.NodeProto) -> bool:
    return any(attribute.name == "group" and attribute.i > 1 for attribute in node.attribute)


class _Reader(CalibrationDataReader):
    def __init__(self, seen: list[Feeds]) -> None:
        self._seen: Iterator[Feeds] = iter(seen)

    def get_next(self) -> dict[str, Any] | None:
        """The next feeds, or None at the end."""
        return next(self._seen, None)
