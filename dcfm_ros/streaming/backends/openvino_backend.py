"""The network in OpenVINO: on Intel and AMD CPUs, ARM CPUs, and Intel GPUs."""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any

import numpy as np

from dcfm_ros.imaging.logits import ids_from_logits
from dcfm_ros.streaming.backends.background import BackgroundThread, threads_beside
from dcfm_ros.streaming.backends.base import BackendError
from dcfm_ros.streaming.backends.graphs import checked_precision, load_graphs

_HINTS = {"fp32": "f32", "bf16": "bf16", "fp16": "f16"}
_CAPABILITIES = {"fp32": "FP32", "bf16": "BF16", "fp16": "FP16"}
# Moving a feature and comparing two: small sums, in which bfloat16 would cost more than it saves.
_ALWAYS_FP32 = ("align", "change")
_KEPT = 24  # compiled parts: of four sizes


class OpenVinoBackend:
    """weights: a weights file, or a folder exported as openvino or onnx.

    device: "auto" (the CPU), "cpu" or "gpu" (Intel's). num_threads: on the CPU; 0 leaves OpenVINO's own choice.
    precision: "auto" (as exported; of weights bf16 where the CPU computes in it, else fp32), or one of these.
    The parts are compiled for each network size when it first comes. Raises BackendError when library, device or
    precision is not there, and as `load_graphs` does.
    """

    def __init__(
        self, weights: str | os.PathLike[str], device: str = "auto", num_threads: int = 0, precision: str = "auto"
    ) -> None:
        self._ov = _library()
        self._core = self._ov.Core()
        self._device = _device(device, self._core.available_devices)
        if num_threads < 0:
            raise BackendError(f"num_threads is {num_threads}; expected 0 (OpenVINO's own choice) or more")
        self._threads = num_threads
        self._graphs = load_graphs(weights, ("openvino", "onnx"))
        allowed = (*self._precisions(), "int8")
        self._wanted = checked_precision(precision, allowed, self._graphs.precision, f"OpenVINO on this {self._device}")
        self.config = self._graphs.config
        self.selection = ""
        self._requests: OrderedDict[tuple[Any, ...], Any] = OrderedDict()
        self._background = BackgroundThread()
        self._beside: tuple[tuple[int, ...], Any] = ((), None)

        size = self._graphs.size or (self.config.size_multiple, self.config.size_multiple)
        compiled = self._request("shallow", (1, *size, 3)).get_compiled_model()
        computes_in = {"f32": "fp32", "bf16": "bf16", "f16": "fp16"}[
            compiled.get_property("INFERENCE_PRECISION_HINT").to_string()
        ]
        self.precision = "int8" if self._wanted == "int8" else computes_in
        rest = f", the rest {computes_in}" if self._wanted == "int8" else ""
        threads = f", {compiled.get_property('INFERENCE_NUM_THREADS')} threads" if self._device == "CPU" else ""
        self.description = (
            f"openvino {self._ov.__version__.split('-')[0]} {self.precision}{rest} on "
            f"{self._core.get_property(self._device, 'FULL_DEVICE_NAME')}{threads}"
        )

    def encode_shallow(self, image: np.ndarray) -> Any:
        """(h, w, 3) uint8 RGB -> an openvino.Tensor."""
        self._graphs.check_size(image.shape[:2])
        return self._run("shallow", image=self._tensor(image[None]))

    def encode_shallow_batch(self, images: Sequence[np.ndarray]) -> list[Any]:
        """One after another: the graphs are of batch 1."""
        return [self.encode_shallow(image) for image in images]

    def encode_common(self, shallow: Any) -> Any:
        """An openvino.Tensor -> another."""
        return self._run("common", shallow=shallow)

    def decide(
        self, commons: Sequence[Any], shallow: Any, size: tuple[int, int], confidence: bool
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """See `Backend.decide`."""
        return ids_from_logits(self.logits(commons, shallow), size, confidence)

    def logits(self, commons: Sequence[Any], shallow: Any) -> np.ndarray:
        """(classes, h', w') float32, summed over the common features; not upsampled."""
        first, *others = (self._run("logits", common=common, shallow=shallow).data[0] for common in commons)
        return sum(others, first)

    def align(self, common: Any, grid: np.ndarray) -> Any:
        """See `Backend.align`."""
        return self._run("align", common=common, grid=self._tensor(grid[None]))

    def change(self, shallow: Any, reference: Any) -> float:
        """See `Backend.change`."""
        return float(self._run("change", shallow=shallow, reference=reference).data)

    def background(self) -> AbstractContextManager[None]:
        """The thread's keyframes run at low priority and with one thread fewer."""
        return self._background.entered()

    def _run(self, part: str, **inputs: Any) -> Any:
        shapes = tuple(tuple(tensor.shape) for tensor in inputs.values())
        request = self._request_beside(shapes[0]) if self._background.is_here else self._request(part, *shapes)
        for name, tensor in inputs.items():
            request.set_tensor(name, tensor)
        port = request.get_compiled_model().outputs[0]
        # Memory of its own for each call: features stay as they are while somebody holds them.
        result = self._ov.Tensor(port.get_element_type(), port.get_shape())
        request.set_output_tensor(result)
        request.infer()
        return result

    def _request(self, part: str, *shapes: tuple[int, ...]) -> Any:
        key = (part, *shapes)
        if key not in self._requests:
            self._requests[key] = self._compiled(part, shapes, self._threads).create_infer_request()
            if len(self._requests) > _KEPT:
                self._requests.popitem(last=False)
        self._requests.move_to_end(key)
        return self._requests[key]

    def _request_beside(self, shape: tuple[int, ...]) -> Any:
        """The common part once more, for the thread beside the stream: of the last size only."""
        if self._beside[0] != shape:
            compiled = self._compiled("common", (shape,), threads_beside(self._threads))
            self._beside = (shape, compiled.create_infer_request())
        return self._beside[1]

    def _compiled(self, part: str, shapes: tuple[tuple[int, ...], ...], num_threads: int) -> Any:
        graph = self._graphs.parts[part]
        model = self._core.read_model(graph)
        model.reshape(dict(zip((port.any_name for port in model.inputs), shapes, strict=True)))
        options: dict[str, Any] = {"PERFORMANCE_HINT": "LATENCY"}
        if self._device == "CPU":
            options |= {"INFERENCE_NUM_THREADS": num_threads, "ENABLE_CPU_PINNING": False}
        wanted = "fp32" if part in _ALWAYS_FP32 else self._wanted
        if wanted in _HINTS:
            options["INFERENCE_PRECISION_HINT"] = _HINTS[wanted]
        return self._core.compile_model(model, self._device, options)

    def _precisions(self) -> tuple[str, ...]:
        capabilities = self._core.get_property(self._device, "OPTIMIZATION_CAPABILITIES")
        return tuple(precision for precision, name in _CAPABILITIES.items() if name in capabilities)

    def _tensor(self, array: np.ndarray) -> Any:
        # Without a copy where the array allows it; OpenVINO wants to be able to write to it.
        array = np.require(array, requirements=("C", "W"))
        return self._ov.Tensor(array, shared_memory=True)


def _library() -> Any:
    try:
        import openvino
    except ModuleNotFoundError as error:
        raise BackendError("openvino is not installed; pip install openvino") from error
    return openvino


def _device(name: str, available: list[str]) -> str:
    if name not in ("auto", "cpu", "gpu"):
        raise BackendError(f"device is {name!r}; expected auto, cpu or gpu (Intel's)")
    if name != "gpu":
        return "CPU"
    found = next((device for device in available if device.startswith("GPU")), None)
    if found is None:
        raise BackendError(
            f"device is 'gpu', but OpenVINO sees only {', '.join(available)}; it needs Intel's GPU driver"
        )
    return found
