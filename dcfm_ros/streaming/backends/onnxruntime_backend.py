"""The network in ONNX Runtime: on the CPU, or through its CUDA and TensorRT providers."""

from __future__ import annotations

import contextlib
import os
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np

from dcfm_ros.machine.libraries import how_to_install
from dcfm_ros.streaming.backends.background import threads_beside
from dcfm_ros.streaming.backends.base import BackendError
from dcfm_ros.streaming.backends.graph_backend import GraphBackend
from dcfm_ros.streaming.backends.graphs import checked_precision, load_graphs

_PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}
_ON_HOST = ("ids", "confidence", "logits", "change")


class OnnxRuntimeBackend(GraphBackend):
    """weights: a weights file, or a folder exported as onnx.

    device: "auto" (CUDA where this build of ONNX Runtime has it, else the CPU), "cpu", "cuda" or "cuda:N": the provider
    of that name and none other. num_threads: on the CPU; 0 leaves ONNX Runtime's own choice.
    precision: "auto" (as exported; of weights fp16 on a GPU, fp32 on the CPU), or one of these to insist on it.
    Raises BackendError when library, provider or precision is not there, and as `load_graphs` does.
    """

    def __init__(
        self, weights: str | os.PathLike[str], device: str = "auto", num_threads: int = 0, precision: str = "auto"
    ) -> None:
        super().__init__()
        self._ort = _library(device)
        self._device, self._index = _device(device, self._ort.get_available_providers())
        if num_threads < 0:
            raise BackendError(f"num_threads is {num_threads}; expected 0 (ONNX Runtime's own choice) or more")
        is_cpu = self._device == "cpu"
        self._graphs = load_graphs(weights, ("onnx",), half=precision == "fp16" or (precision == "auto" and not is_cpu))
        wanted = checked_precision(precision, ("fp32", "fp16", "int8"), self._graphs.precision, "ONNX Runtime")
        self.precision = {"auto": "fp32" if is_cpu else "fp16"}.get(wanted, wanted)
        if self._graphs.precision not in ("auto", self.precision):
            raise BackendError(f"precision is {precision!r}, but the graphs were exported in {self._graphs.precision}")
        self.config = self._graphs.config
        self.selection = ""
        self._threads = num_threads
        self._beside: Any = None
        self._sessions: dict[str, Any] = {}
        self._started("keyframe")  # what cannot run says so here and not at the first frame
        where = "CPU" if is_cpu else f"{_PROVIDERS[self._device]}, device {self._index}"
        threads = f", {num_threads} threads" if is_cpu and num_threads else ""
        self.description = f"onnxruntime {self._ort.__version__} {self.precision} on {where}{threads}"

    def tensor(self, array: np.ndarray) -> Any:
        """On the device, without a copy on the CPU."""
        return self._ort.OrtValue.ortvalue_from_numpy(np.ascontiguousarray(array), *self._memory)

    def array(self, tensor: Any) -> np.ndarray:
        """The same memory on the CPU."""
        return tensor.numpy()

    def background(self) -> AbstractContextManager[None]:
        """On the CPU, the thread's keyframes run at low priority and with one thread fewer."""
        return self._background.entered() if self._device == "cpu" else nullcontext()

    def run(self, part: str, **inputs: Any) -> list[Any]:
        """See `GraphBackend.run`. Features stay where they are, in memory that is made anew for each call."""
        session = self._session_beside(part) if self._background.is_here else self._started(part)
        binding = session.io_binding()
        for name, value in inputs.items():
            binding.bind_ortvalue_input(name, value)
        for output in session.get_outputs():
            binding.bind_output(output.name, *(("cpu",) if output.name in _ON_HOST else self._memory))
        session.run_with_iobinding(binding)
        return binding.get_outputs()

    @property
    def _memory(self) -> tuple[str, int]:
        return ("cpu", 0) if self._device == "cpu" else ("cuda", self._index)

    def _started(self, part: str) -> Any:
        if part not in self._sessions:
            self._sessions[part] = self._session(part, self._threads)
        return self._sessions[part]

    def _session_beside(self, part: str) -> Any:
        """Return another session of the keyframe, for the thread in the background."""
        if self._beside is None:
            self._beside = self._session(part, threads_beside(self._threads), is_beside=True)
        return self._beside

    def _session(self, part: str, num_threads: int, is_beside: bool = False) -> Any:
        """Created by the thread that will use it: ONNX Runtime's threads take over its priority."""
        options = self._ort.SessionOptions()
        options.log_severity_level = 3
        options.intra_op_num_threads = num_threads
        if is_beside:
            options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        provider, graph = _PROVIDERS[self._device], self._graphs.parts[part]
        try:
            session = self._ort.InferenceSession(
                str(graph) if isinstance(graph, Path) else graph,
                options,
                providers=self._providers(),
            )
        except Exception as error:  # its exceptions have no common base but Exception
            raise BackendError(f"ONNX Runtime cannot use the part {part} with {provider}: {_line(error)}") from error
        if session.get_providers()[0] != provider:
            raise BackendError(
                f"ONNX Runtime has {provider} but could not start it (are the CUDA and cuDNN libraries of its version "
                f"there?); it would run on {', '.join(session.get_providers())} instead"
            )
        session.disable_fallback()
        return session

    def _providers(self) -> list[tuple[str, dict[str, str]]]:
        """The one asked for."""
        options = {} if self._device == "cpu" else {"device_id": str(self._index)}
        return [(_PROVIDERS[self._device], options)]


def _library(device: str) -> Any:
    try:
        import onnxruntime
    except ModuleNotFoundError as error:
        raise BackendError(
            "onnxruntime is not installed; "
            + ("pip install onnxruntime-gpu" if device.startswith("cuda") else how_to_install("onnxruntime"))
        ) from error
    with contextlib.suppress(AttributeError):  # newer builds for GPUs find the CUDA libraries of pip packages so
        if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
            onnxruntime.preload_dlls()
    return onnxruntime


def _device(name: str, available: list[str]) -> tuple[str, int]:
    if name == "auto":
        return ("cuda", 0) if _PROVIDERS["cuda"] in available else ("cpu", 0)
    kind, colon, index = name.partition(":")
    if kind not in _PROVIDERS or (colon and (kind == "cpu" or not index.isdecimal())):
        raise BackendError(f"device is {name!r}; expected auto, cpu, cuda or cuda:N")
    if _PROVIDERS[kind] not in available:
        raise BackendError(
            f"device is {name!r}, but this build of ONNX Runtime has no {_PROVIDERS[kind]}, only "
            f"{', '.join(available)}; pip install onnxruntime-gpu"
        )
    return kind, int(index or 0)


def _line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
