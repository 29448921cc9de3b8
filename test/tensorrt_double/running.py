"""Engines on host memory."""

from __future__ import annotations

import ctypes
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import onnxruntime

from tensorrt_double.values import _NUMPY, DataType, ILogger, TensorIOMode, version


class Runtime:
    def __init__(self, logger: ILogger) -> None:
        self._logger = logger

    def deserialize_cuda_engine(self, serialized_engine: bytes) -> ICudaEngine | None:
        header, _, model = serialized_engine.partition(b"\n")
        try:
            plan = json.loads(header)
        except ValueError:
            self._logger.log(ILogger.Severity.ERROR, "Serialization assertion magicTagRead == kMAGIC_TAG failed.")
            return None
        if plan["version"] != version[0]:
            self._logger.log(ILogger.Severity.ERROR, f"The engine plan file is of TensorRT {plan['version']}.")
            return None
        return ICudaEngine(plan, model)


class ICudaEngine:
    def __init__(self, plan: dict[str, Any], model: bytes) -> None:
        self._model = model
        self._tensors = {tensor["name"]: tensor for tensor in plan["tensors"]}
        self._num_inputs = plan["inputs"]

    @property
    def num_io_tensors(self) -> int:
        return len(self._tensors)

    def get_tensor_name(self, index: int) -> str:
        return list(self._tensors)[index]

    def get_tensor_mode(self, name: str) -> TensorIOMode:
        if name not in self._tensors:
            return TensorIOMode.NONE
        return TensorIOMode.INPUT if name in list(self._tensors)[: self._num_inputs] else TensorIOMode.OUTPUT

    def get_tensor_dtype(self, name: str) -> DataType:
        return DataType[self._tensors[name]["dtype"]]

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        return tuple(self._tensors[name]["shape"])

    def get_tensor_profile_shape(self, name: str, profile_index: int) -> list[tuple[int, ...]]:
        return [tuple(shape) for shape in self._tensors[name]["profile"]]

    def create_execution_context(self) -> IExecutionContext | None:
        return IExecutionContext(self)


_capturing: dict[int, list[Callable[[], None]]] = {}


@contextmanager
def _captured(stream: int) -> Iterator[list[Callable[[], None]]]:
    """What is enqueued on the stream inside is not run, but listed, with the memory it was given then."""
    _capturing[stream] = []
    try:
        yield _capturing[stream]
    finally:
        del _capturing[stream]


class IExecutionContext:
    def __init__(self, engine: ICudaEngine) -> None:
        self._engine = engine
        options = onnxruntime.SessionOptions()
        # ONNX Runtime 1.32 makes int32 of float16 biases between Q/DQ, with scales that float16 does not hold.
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        self._session = onnxruntime.InferenceSession(engine._model, options, providers=["CPUExecutionProvider"])
        self._shapes: dict[str, tuple[int, ...]] = {}
        self._addresses: dict[str, int] = {}
        self._has_run = False

    def set_input_shape(self, name: str, shape: Sequence[int]) -> bool:
        profile = self._engine._tensors[name]["profile"]
        allowed = tuple(profile[1]) if profile else self._engine.get_tensor_shape(name)
        self._shapes[name] = tuple(shape)
        return tuple(shape) == allowed

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        shape = self._shapes.get(name, self._engine.get_tensor_shape(name))
        if -1 not in shape or self._engine.get_tensor_mode(name) == TensorIOMode.INPUT:
            return shape
        zeros = {name: np.zeros(shape, _ort_type(self._session, name)) for name, shape in self._shapes.items()}
        return self._session.run([name], zeros)[0].shape

    def set_tensor_address(self, name: str, memory: int) -> bool:
        self._addresses[name] = memory
        return name in self._engine._tensors

    def execute_async_v3(self, stream_handle: int) -> bool:
        engine = self._engine
        if set(self._addresses) != set(engine._tensors) or 0 in self._addresses.values():
            return False
        if -1 in (side for name in engine._tensors for side in self.get_tensor_shape(name)):
            return False
        views = {name: self._view(name) for name in engine._tensors}
        if stream_handle in _capturing:
            # The first time after shapes were set TensorRT does what a capture does not allow.
            _capturing[stream_handle].append(lambda: self._run(views))
            return self._has_run
        self._has_run = True
        self._run(views)
        return True

    def _view(self, name: str) -> np.ndarray:
        shape, dtype = self.get_tensor_shape(name), np.dtype(_NUMPY[self._engine.get_tensor_dtype(name)])
        length = int(np.prod(shape)) * dtype.itemsize
        memory = (ctypes.c_uint8 * length).from_address(self._addresses[name])
        return np.frombuffer(memoryview(memory), dtype).reshape(shape)

    def _run(self, views: dict[str, np.ndarray]) -> None:
        inputs, outputs = (list(views)[: self._engine._num_inputs], list(views)[self._engine._num_inputs :])
        feeds = {name: views[name].astype(_ort_type(self._session, name)) for name in inputs}
        for name, result in zip(outputs, self._session.run(outputs, feeds), strict=True):
            views[name][...] = result


def _ort_type(session: onnxruntime.InferenceSession, name: str) -> type[np.generic]:
    [of] = [value.type for value in session.get_inputs() if value.name == name]
    kinds: dict[str, type[np.generic]] = {
        "tensor(float)": np.float32,
        "tensor(float16)": np.float16,
        "tensor(uint8)": np.uint8,
    }
    return kinds[of]
