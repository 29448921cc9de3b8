"""The network in OpenVINO: on Intel and AMD CPUs, ARM CPUs, and Intel GPUs."""

from __future__ import annotations

import os
from collections import OrderedDict
from functools import cache
from typing import Any

import numpy as np

from dcfm_ros.machine.libraries import how_to_install
from dcfm_ros.streaming.backends.background import threads_beside
from dcfm_ros.streaming.backends.base import KEPT_SIZES, BackendError
from dcfm_ros.streaming.backends.graph_backend import GraphBackend
from dcfm_ros.streaming.backends.graphs import checked_precision, load_graphs

_HINTS = {"fp32": "f32", "bf16": "bf16", "fp16": "f16"}
_CAPABILITIES = {"fp32": "FP32", "bf16": "BF16", "fp16": "FP16"}
# Moving a feature and comparing two: small sums, in which bfloat16 would cost more than it saves.
_ALWAYS_FP32 = ("align", "change")
_PARTS_OF_A_STREAM = 6
"""At most: an adaptive one has keyframe, shallow, change, align, and logits or decide; a fixed one reused and moved."""


class OpenVinoBackend(GraphBackend):
    """weights: a weights file, or a folder exported as openvino or onnx.

    device: "auto" (the CPU), "cpu" or "gpu" (Intel's). num_threads: on the CPU; 0 leaves OpenVINO's own choice.
    precision: "auto" (as exported; of weights bf16 where the CPU computes in it, else fp32), or one of these.
    The parts are compiled for each network size when it first comes, and kept for `kept_sizes` of them. Raises
    BackendError when library, device or precision is not there, and as `load_graphs` does.
    """

    def __init__(
        self,
        weights: str | os.PathLike[str],
        device: str = "auto",
        num_threads: int = 0,
        precision: str = "auto",
        kept_sizes: int = KEPT_SIZES,
    ) -> None:
        super().__init__()
        self._ov = _library()
        self._core = _core(self._ov)
        self._device = _device(device, self._core.available_devices)
        if num_threads < 0:
            raise BackendError(f"num_threads is {num_threads}; expected 0 (OpenVINO's own choice) or more")
        self._threads = num_threads
        self._graphs = load_graphs(weights, ("openvino", "onnx"))
        allowed = (*self._precisions(), "int8")
        self._wanted = checked_precision(precision, allowed, self._graphs.precision, f"OpenVINO on this {self._device}")
        self.config = self._graphs.config
        self.selection = ""
        self._kept_sizes = kept_sizes
        self._requests: OrderedDict[tuple[Any, ...], Any] = OrderedDict()
        self._beside: OrderedDict[tuple[Any, ...], Any] = OrderedDict()

        size = self._graphs.size or (self.config.size_multiple, self.config.size_multiple)
        compiled = self._request("keyframe", (1, *size, 3)).get_compiled_model()
        computes_in = {"f32": "fp32", "bf16": "bf16", "f16": "fp16"}[
            compiled.get_property("INFERENCE_PRECISION_HINT").to_string()
        ]
        self._moves_within = computes_in == "fp32"
        self.precision = "int8" if self._wanted == "int8" else computes_in
        rest = f", the rest {computes_in}" if self._wanted == "int8" else ""
        threads = f", {compiled.get_property('INFERENCE_NUM_THREADS')} threads" if self._device == "CPU" else ""
        self.description = (
            f"openvino {self._ov.__version__.split('-')[0]} {self.precision}{rest} on "
            f"{self._core.get_property(self._device, 'FULL_DEVICE_NAME')}{threads}"
        )

    def tensor(self, array: np.ndarray) -> Any:
        """Without a copy where the array allows it; OpenVINO wants to be able to write to it."""
        return self._ov.Tensor(np.require(array, requirements=("C", "W")), shared_memory=True)

    def array(self, tensor: Any) -> np.ndarray:
        """The same memory."""
        return tensor.data

    def run(self, part: str, **inputs: Any) -> list[Any]:
        """See `GraphBackend.run`."""
        shapes = tuple(tuple(tensor.shape) for tensor in inputs.values())
        request = self._request_beside(part, *shapes) if self._background.is_here else self._request(part, *shapes)
        for name, tensor in inputs.items():
            request.set_tensor(name, tensor)
        outputs = []
        for port in request.model_outputs:
            # Memory of its own for each call: features stay as they are while somebody holds them.
            outputs.append(self._ov.Tensor(port.get_element_type(), port.get_shape()))
            request.set_tensor(port, outputs[-1])
        request.infer()
        return outputs

    def _request(self, part: str, *shapes: tuple[int, ...]) -> Any:
        most = _PARTS_OF_A_STREAM * self._kept_sizes
        return self._kept(self._requests, most, part, shapes, self._threads)

    def _request_beside(self, part: str, *shapes: tuple[int, ...]) -> Any:
        """Return another request of the keyframe, for the thread in the background."""
        return self._kept(self._beside, self._kept_sizes, part, shapes, threads_beside(self._threads))

    def _kept(
        self, store: OrderedDict, most: int, part: str, shapes: tuple[tuple[int, ...], ...], num_threads: int
    ) -> Any:
        key = (part, *shapes)
        if key not in store:
            store[key] = self._compiled(part, shapes, num_threads).create_infer_request()
            if len(store) > most:
                store.popitem(last=False)
        store.move_to_end(key)
        return store[key]

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


def _library() -> Any:
    try:
        import openvino
    except ModuleNotFoundError as error:
        raise BackendError(f"openvino is not installed; {how_to_install('openvino')}") from error
    return openvino


@cache
def _core(library: Any) -> Any:
    """Return OpenVINO's Core, one for the process and never freed.

    The CPU plugin of each gives signal handlers a stack (sigaltstack) and puts the one before back as it goes: of two
    that are freed in the order they came, that one is gone, and the next Ctrl-C ends the process in a segmentation
    fault (OpenVINO 2026.4.1).
    """
    return library.Core()


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
