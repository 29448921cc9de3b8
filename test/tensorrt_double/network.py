"""From an ONNX graph to a network, or to errors."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import onnx

from tensorrt_double.values import _OF_ONNX, DataType, ILogger

_OPERATORS = {  # of onnx-tensorrt's list of those it supports
    *("Add", "ArgMax", "AveragePool", "Cast", "Clip", "Concat", "Constant", "Conv", "DequantizeLinear", "Div", "Equal"),
    *("Erf", "Exp", "Expand", "Floor", "Gather", "Gemm", "GlobalAveragePool", "GridSample", "Identity"),
    *("LayerNormalization", "Less", "MatMul", "MaxPool", "Mul", "Not", "Pad", "Pow", "QuantizeLinear", "Reciprocal"),
    *("ReduceL2", "ReduceMax", "ReduceMean", "ReduceSum", "Relu", "Reshape", "Resize", "Round", "Shape", "Slice"),
    *("Softmax", "Split", "Sqrt", "Squeeze", "Sub", "Transpose", "Unsqueeze", "Where", "Range", "ConstantOfShape"),
}


class ITensor:
    def __init__(self, name: str, dtype: DataType, shape: Sequence[int] = ()) -> None:
        self.name, self.shape = name, tuple(shape)
        self._dtype = dtype

    @property
    def dtype(self) -> DataType:
        """Not to be set: TensorRT 11 lets nobody."""
        return self._dtype


class INetworkDefinition:
    def __init__(self, is_strongly_typed: bool) -> None:
        self._is_strongly_typed = is_strongly_typed
        self._model = b""
        self._inputs: list[ITensor] = []
        self._outputs: list[ITensor] = []

    @property
    def num_inputs(self) -> int:
        return len(self._inputs)

    @property
    def num_outputs(self) -> int:
        return len(self._outputs)

    def get_input(self, index: int) -> ITensor:
        return self._inputs[index]

    def get_output(self, index: int) -> ITensor:
        return self._outputs[index]


class ParserError:
    def __init__(self, desc: str, operator: str = "", name: str = "") -> None:
        self._desc, self._operator, self._name = desc, operator, name

    def desc(self) -> str:
        return self._desc

    def node_name(self) -> str:
        return self._name

    def node_operator(self) -> str:
        return self._operator


class OnnxParser:
    def __init__(self, network: INetworkDefinition, logger: ILogger) -> None:
        self._network = network
        self._errors: list[ParserError] = []

    @property
    def num_errors(self) -> int:
        return len(self._errors)

    def get_error(self, index: int) -> ParserError:
        return self._errors[index]

    def parse(self, model: bytes, path: str | None = None) -> bool:
        try:
            loaded = onnx.shape_inference.infer_shapes(onnx.load_from_string(model), check_type=True, strict_mode=True)
        except Exception:
            self._errors = [ParserError("ModelProto could not be deserialized.")]
            return False
        graph = loaded.graph
        self._errors = [
            ParserError("No importer registered for op", node.op_type, node.name)
            for node in graph.node
            if node.op_type not in _OPERATORS
        ] + [*_misused_bytes(graph), *_mixed_types(graph)]
        network = self._network
        network._model = model
        network._inputs, network._outputs = (
            [_tensor(value) for value in values] for values in (graph.input, graph.output)
        )
        return not self._errors


def _misused_bytes(graph: onnx.GraphProto) -> Iterator[ParserError]:
    """uint8 is for inputs, made floating point at once, and for outputs, made of floating point."""
    types = _types(graph)
    ends = {value.name for value in (*graph.input, *graph.output)}
    floating = (onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16)
    for node in graph.node:
        for name in (*node.input, *node.output):
            if types.get(name) != onnx.TensorProto.UINT8:
                continue
            [other] = node.output if name in node.input else node.input[:1]
            if node.op_type != "Cast" or name not in ends or types[other] not in floating:
                yield ParserError("uint8 is only converted from and to floating point", node.op_type, node.name)


def _mixed_types(graph: onnx.GraphProto) -> Iterator[ParserError]:
    """Nothing is converted that the graph does not convert, also where ONNX lets inputs be of two types."""
    types = _types(graph)
    for node in graph.node:
        if node.op_type == "GridSample" and len({types[name] for name in node.input}) > 1:
            yield ParserError("inputs are of two types in a strongly typed network", node.op_type, node.name)


def _types(graph: onnx.GraphProto) -> dict[str, int]:
    values = [*graph.input, *graph.output, *graph.value_info]
    return {value.name: value.type.tensor_type.elem_type for value in values}


def _tensor(value: onnx.ValueInfoProto) -> ITensor:
    tensor = value.type.tensor_type
    shape = [-1 if dim.dim_param else dim.dim_value for dim in tensor.shape.dim]
    return ITensor(value.name, _OF_ONNX[tensor.elem_type], shape)
