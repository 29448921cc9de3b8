"""The network in TensorRT engines, on an NVIDIA GPU or a Jetson; torch holds the device's memory."""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np
import tensorrt
import torch
from torch import Tensor

from dcfm_ros.deploy.engine_cache import EngineCache
from dcfm_ros.deploy.exported import PARTS, is_exported
from dcfm_ros.deploy.onnx_graphs import onnx_graphs
from dcfm_ros.deploy.tensorrt_engines import (
    Cancelled,
    EngineBuild,
    EngineError,
    EngineOptions,
    Progress,
    Report,
    build_engines,
    first_errors,
    gpu_of,
)
from dcfm_ros.imaging.logits import ids_from_logits
from dcfm_ros.model import ModelConfig, load_weights
from dcfm_ros.model.catalogue import Size
from dcfm_ros.streaming.backends.base import KEPT_SIZES, BackendError
from dcfm_ros.streaming.backends.cuda_device import CudaDevice
from dcfm_ros.streaming.backends.graphs import Graphs, checked_precision, load_graphs

_PRECISIONS = ("fp32", "fp16", "int8")
_DTYPES = {
    tensorrt.DataType.FLOAT: torch.float32,
    tensorrt.DataType.HALF: torch.float16,
    tensorrt.DataType.UINT8: torch.uint8,
}
_KEPT_CUDA_GRAPHS = 16
_CAPTURED = ("shallow", "decide")
_GraphsOf = Callable[[Size, "Size | None"], Mapping[str, bytes]]


class TensorRTBackend:
    """weights: a weights file, or a folder exported as onnx or tensorrt.

    Engines are of one size of the network's input and one of the masks. They are built, which takes minutes, when
    `prepare` asks for them, or else at the first frame that needs them, and kept in `cache` (default: the user's).
    device: "auto", "cuda" or "cuda:N". precision: "auto" (as exported; of weights fp16), or one of these to insist on
    it: "fp32", "fp16", "int8". kept_sizes: of engines that stay loaded. Raises BackendError for a device or precision
    that is not there, and as `load_graphs` does.
    """

    def __init__(
        self,
        weights: str | os.PathLike[str],
        device: str = "auto",
        precision: str = "auto",
        cache: EngineCache | None = None,
        kept_sizes: int = KEPT_SIZES,
    ) -> None:
        self.config, graphs_are, self._graphs = _source(weights, half=precision in ("auto", "fp16"))
        wanted = checked_precision(precision, _PRECISIONS, graphs_are, "TensorRT")
        if graphs_are not in ("auto", wanted):
            raise BackendError(f"precision is {precision!r}, but the graphs were exported in {graphs_are}")
        self.precision = {"auto": "fp16"}.get(wanted, wanted)
        self._device = CudaDevice(device)
        self._gpu = gpu_of(self._device.device)
        self.selection = ""
        self._cache = cache or EngineCache()
        self._kept_sizes = kept_sizes
        self._networks: OrderedDict[Size, dict[str, _Program]] = OrderedDict()
        self._decides: OrderedDict[tuple[Size, Size], _Program | None] = OrderedDict()
        self._lock = threading.Lock()
        self.description = f"tensorrt {tensorrt.__version__} {self.precision} on {self._gpu.name}"

    def prepare(
        self, size: Size, ids_size: Size | None = None, report: Report = lambda progress: None
    ) -> EngineBuild[None]:
        """Begin to build, or load, what frames need whose network input is `size` and whose masks are `ids_size`.

        Both (height, width). The answer's `result` returns once such frames can go through at once, and raises
        BackendError or BuildCancelled.
        """
        return EngineBuild(lambda noted, cancelled: self._prepare(size, ids_size, noted, cancelled), report).start()

    def encode_shallow(self, image: np.ndarray) -> Tensor:
        """(h, w, 3) uint8 RGB -> (1, C, h/4, w/4) on the device."""
        height, width = image.shape[:2]
        program = self._network((height, width))["shallow"]
        with self._device.selected():
            return program(image=self._device.upload(image[None]))["shallow"]

    def encode_common(self, shallow: Tensor) -> Tensor:
        """(1, C, h/4, w/4) -> (1, C', h', w') on the device."""
        network = self._network(_size_of(shallow, 4))
        with self._device.selected():
            if self._device.is_background and "beside" not in network:
                network["beside"] = network["common"].another()
            common = network["beside" if self._device.is_background else "common"](shallow=shallow)["common"]
            self._device.hand_over(common)
        return common

    def decide(
        self, commons: Sequence[Tensor], shallow: Tensor, size: Size, confidence: bool
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """On the device for one common feature, else (and where nothing was exported for `size`) from logits here."""
        network_size = _size_of(shallow, 4)
        program = self._decide(network_size, size) if len(commons) == 1 else None
        if program is None:
            return ids_from_logits(self.logits(commons, shallow), size, confidence)
        with self._device.selected():
            outputs = program(common=commons[0], shallow=shallow)
            ids = outputs["ids"].cpu().numpy()
            return ids, outputs["confidence"].cpu().numpy() if confidence else None

    def align(self, common: Tensor, grid: np.ndarray) -> Tensor:
        """See `Backend.align`."""
        program = self._network(_size_of(common, self.config.common_stride))["align"]
        with self._device.selected():
            return program(common=common, grid=self._device.upload(grid[None]))["aligned"]

    def change(self, shallow: Tensor, reference: Tensor) -> float:
        """See `Backend.change`."""
        program = self._network(_size_of(shallow, 4))["change"]
        with self._device.selected():
            return float(program(shallow=shallow, reference=reference)["change"].cpu())

    def background(self) -> AbstractContextManager[None]:
        """The thread's keyframes then go to a stream of low priority."""
        return self._device.background()

    def logits(self, commons: Sequence[Tensor], shallow: Tensor) -> np.ndarray:
        """(classes, h', w') float32, summed over the common features; not upsampled."""
        program = self._network(_size_of(shallow, 4))["logits"]
        with self._device.selected():
            each = [program(common=common, shallow=shallow)["logits"] for common in commons]
            return np.stack([logits[0].float().cpu().numpy() for logits in each]).sum(0)

    def _network(self, size: Size) -> dict[str, _Program]:
        with self._lock:
            if size in self._networks:
                self._networks.move_to_end(size)
                return self._networks[size]
        self.prepare(size).result()
        return self._network(size)

    def _decide(self, size: Size, ids_size: Size) -> _Program | None:
        with self._lock:
            if (size, ids_size) in self._decides:
                self._decides.move_to_end((size, ids_size))
                return self._decides[size, ids_size]
        self.prepare(size, ids_size).result()
        return self._decide(size, ids_size)

    def _prepare(self, size: Size, ids_size: Size | None, report: Report, cancelled: Cancelled) -> None:
        with self._lock:
            has_network = size in self._networks
        report(Progress("", 0, 0, "graphs", 0.0))
        graphs = {
            name: graph
            for name, graph in self._graphs(size, ids_size).items()
            if (name == "decide" or not has_network) and (name != "decide" or ids_size is not None)
        }
        programs = {}
        try:
            with self._device.selected():
                options = EngineOptions(size, self._gpu)
                engines = build_engines(graphs, self.config, options, self._cache, report, cancelled)
                for name, engine in engines.items():
                    programs[name] = _Program(name, engine, self._device, name in _CAPTURED)
        except EngineError as error:
            raise BackendError(str(error)) from error
        with self._lock:
            if ids_size is not None:
                self._keep(self._decides, (size, ids_size), programs.pop("decide", None))
            if not has_network:
                self._keep(self._networks, size, programs)

    def _keep(self, store: OrderedDict, key: object, value: object) -> None:
        store[key] = value
        if len(store) > self._kept_sizes:
            self._device.finish()
            store.popitem(last=False)


def _source(weights: str | os.PathLike[str], half: bool) -> tuple[ModelConfig, str, _GraphsOf]:
    """The configuration, the precision as exported (or "auto"), and what gives the graphs of two sizes.

    half: make those of a weights file in float16.
    """
    if not is_exported(weights):
        model = load_weights(weights)
        model = model.half() if half else model
        return model.config, "auto", lambda size, ids_size: onnx_graphs(model, size, ids_size)
    graphs = load_graphs(weights, ("onnx", "tensorrt"))
    return graphs.config, graphs.precision, lambda size, ids_size: _exported(graphs, size, ids_size)


def _exported(graphs: Graphs, size: Size, ids_size: Size | None) -> dict[str, bytes]:
    graphs.check_size(size)
    return {
        name: graph.read_bytes() if isinstance(graph, Path) else graph
        for name, graph in graphs.parts.items()
        if name in PARTS or (name == "decide" and graphs.ids_size == ids_size)
    }


class _Program:
    """An engine with memory to run in: one frame's call at a time. Outputs are new with each call.

    is_captured: whether what it enqueues is captured as a CUDA graph, for each set of addresses that comes again. torch
    returns memory that was freed before first, so that these are few.
    """

    def __init__(self, name: str, engine: tensorrt.ICudaEngine, device: CudaDevice, is_captured: bool) -> None:
        self._name = name
        self._engine = engine
        self._device = device
        self._is_captured = is_captured
        self._cuda_graphs: OrderedDict[tuple[int, ...], Callable[[], None] | None] = OrderedDict()
        self._context = engine.create_execution_context()
        if self._context is None:
            raise BackendError(f"TensorRT has no memory to run {name}: {first_errors()}")
        names = [engine.get_tensor_name(i) for i in range(engine.num_io_tensors)]
        is_input = {name: engine.get_tensor_mode(name) == tensorrt.TensorIOMode.INPUT for name in names}
        self._inputs = {name: _dtype(engine, name) for name in names if is_input[name]}
        self._outputs = {name: _dtype(engine, name) for name in names if not is_input[name]}
        for name in self._inputs:
            shape = tuple(engine.get_tensor_shape(name))
            if -1 in shape:  # an engine's profile allows just one size
                shape = tuple(engine.get_tensor_profile_shape(name, 0)[1])
            self._context.set_input_shape(name, shape)

    def another(self) -> _Program:
        """One with memory of its own, which may run at the same time."""
        return _Program(self._name, self._engine, self._device, self._is_captured)

    def __call__(self, **inputs: Tensor) -> dict[str, Tensor]:
        for name, dtype in self._inputs.items():
            self._check(name, inputs[name], dtype)
        outputs = {
            name: self._device.empty(tuple(self._context.get_tensor_shape(name)), dtype)
            for name, dtype in self._outputs.items()
        }
        tensors = {**inputs, **outputs}
        if self._is_captured:
            self._replay(tensors)
        else:
            self._point_to(tensors)
            self._enqueue()
        return outputs

    def _replay(self, tensors: Mapping[str, Tensor]) -> None:
        addresses = tuple(tensor.data_ptr() for tensor in tensors.values())
        graph = self._cuda_graphs.get(addresses)
        if graph is None:
            self._point_to(tensors)
            if addresses in self._cuda_graphs:  # the first call could not be captured: TensorRT sets itself up in it
                graph = self._device.captured(self._enqueue)
                self._is_captured = graph is not None
        self._cuda_graphs[addresses] = graph
        self._cuda_graphs.move_to_end(addresses)
        if len(self._cuda_graphs) > _KEPT_CUDA_GRAPHS:
            self._cuda_graphs.popitem(last=False)
        (graph or self._enqueue)()

    def _point_to(self, tensors: Mapping[str, Tensor]) -> None:
        for name, tensor in tensors.items():
            self._context.set_tensor_address(name, tensor.data_ptr())

    def _enqueue(self) -> None:
        if not self._context.execute_async_v3(self._device.stream):
            raise BackendError(f"TensorRT did not run {self._name}: {first_errors()}")

    def _check(self, name: str, tensor: Tensor, dtype: torch.dtype) -> None:
        shape = tuple(self._context.get_tensor_shape(name))
        if tuple(tensor.shape) != shape or tensor.dtype != dtype or not tensor.is_contiguous():
            raise BackendError(
                f"{name} is {tensor.dtype} {tuple(tensor.shape)}; this engine of {self._name} takes {dtype} {shape}"
            )


def _dtype(engine: tensorrt.ICudaEngine, name: str) -> torch.dtype:
    dtype = engine.get_tensor_dtype(name)
    if dtype not in _DTYPES:
        raise BackendError(f"{name} is {dtype} in the engine; expected one of {', '.join(map(str, _DTYPES))}")
    return _DTYPES[dtype]


def _size_of(feature: Tensor, stride: int) -> Size:
    return feature.shape[2] * stride, feature.shape[3] * stride
