"""From a path of weights to a backend that runs them."""

from __future__ import annotations

import gc
import importlib.util
import os
import sys
from pathlib import Path

from dcfm_ros.deploy.exported import is_exported
from dcfm_ros.machine.hardware import nvidia_driver
from dcfm_ros.machine.libraries import how_to_install
from dcfm_ros.streaming.backends.base import KEPT_SIZES, Backend, BackendError
from dcfm_ros.weights import DEFAULT_WEIGHTS

BACKENDS = ("auto", "torch", "onnxruntime", "openvino", "tensorrt")
# Fastest first, as measured: docs/performance.md.
_ON_CUDA = ("tensorrt", "torch", "onnxruntime")
_ON_CPU = ("openvino", "onnxruntime", "torch")

Weights = str | os.PathLike[str]


def create_backend(
    weights: Weights = "",
    name: str = "auto",
    device: str = "auto",
    num_threads: int = 0,
    precision: str = "auto",
    kept_sizes: int = KEPT_SIZES,
) -> Backend:
    """Load `weights` onto a backend, one of BACKENDS.

    weights: a weights file, or a folder that `dcfm export` wrote; empty: the default weights that ship. name: "auto"
    takes the fastest that runs here and says in its `selection` which others do not, and why; of backends for NVIDIA's
    GPUs only where there is one. device, num_threads, precision: see the backend. "cuda" is never answered with the
    CPU; "auto" prefers a GPU. kept_sizes: of pictures, for which what was made is kept: of all streams at once, or each
    frame waits for it.
    Raises BackendError for an unknown backend, or for a library, device or precision that is not there; WeightsError
    and ExportError for weights that cannot be read.
    """
    if name not in BACKENDS:
        raise BackendError(f"backend is {name!r}; expected one of {', '.join(BACKENDS)}")
    weights = weights or DEFAULT_WEIGHTS
    check_weights(weights)
    if name != "auto":
        return _create(name, weights, device, num_threads, precision, kept_sizes)
    passed_over: list[str] = []
    is_news = device != "auto" or bool(nvidia_driver())
    for candidate, where in _candidates(device):
        try:
            backend = _create(candidate, weights, where, num_threads, precision, kept_sizes)
        except BackendError as error:
            if is_news or where != "cuda":
                passed_over.append(f"{candidate} on {where}: {error}")
            continue
        faster = f"; what is faster elsewhere: {'; '.join(passed_over)}" if passed_over else ""
        backend.selection = f"the fastest that runs here{faster}"
        return backend
    raise BackendError(f"no backend runs {weights} on device {device!r}: {'; '.join(passed_over)}")


def check_weights(weights: Weights = "") -> None:
    """Raises BackendError for weights that are not there, or that no backend could run as torch is not installed."""
    weights = weights or DEFAULT_WEIGHTS
    if not Path(weights).exists():
        raise BackendError(f"{weights} is not there; expected a weights file, or a folder that `dcfm export` wrote")
    if not is_exported(weights) and importlib.util.find_spec("torch") is None:  # whatever would run the network
        raise BackendError(
            f"running {weights} needs torch, which is not installed; {how_to_install('torch')}, or give a folder that "
            "`dcfm export` wrote on another machine"
        )


def free_devices() -> None:
    """Give memory of backends that nobody holds any more back to the devices: torch keeps it for itself."""
    gc.collect()
    torch = sys.modules.get("torch")  # where nothing has imported it, it holds nothing
    if torch is not None and torch.cuda.is_initialized():
        torch.cuda.empty_cache()


def _candidates(device: str) -> list[tuple[str, str]]:
    """Backends with their device, fastest first."""
    on_cpu = [(name, "cpu") for name in _ON_CPU]
    if device == "auto":
        return [*((name, "cuda") for name in _ON_CUDA), *on_cpu]
    if device == "cpu":
        return on_cpu
    if device == "gpu":
        return [("openvino", device)]
    if device.partition(":")[0] == "cuda":
        return [(name, device) for name in _ON_CUDA]
    raise BackendError(f"device is {device!r}; expected auto, cpu, cuda, cuda:N or gpu (Intel's)")


def _create(name: str, weights: Weights, device: str, num_threads: int, precision: str, kept_sizes: int) -> Backend:
    if name == "onnxruntime":
        from dcfm_ros.streaming.backends.onnxruntime_backend import OnnxRuntimeBackend

        return OnnxRuntimeBackend(weights, device, num_threads, precision)  # whose sessions take any size
    if name == "openvino":
        from dcfm_ros.streaming.backends.openvino_backend import OpenVinoBackend

        return OpenVinoBackend(weights, device, num_threads, precision, kept_sizes)
    if name == "tensorrt":
        return _tensorrt(weights, device, precision, kept_sizes)
    assert name == "torch", name
    return _torch(weights, device, num_threads, precision, kept_sizes)


def _tensorrt(weights: Weights, device: str, precision: str, kept_sizes: int) -> Backend:
    try:
        from dcfm_ros.streaming.backends.tensorrt_backend import TensorRTBackend
    except ImportError as error:  # also where Python's part is there and its libraries are not
        raise BackendError(
            f"{error}; TensorRT comes with JetPack 6.1 and later; elsewhere pip install 'tensorrt<12', with torch"
        ) from error
    return TensorRTBackend(weights, device, precision, kept_sizes=kept_sizes)


def _torch(weights: Weights, device: str, num_threads: int, precision: str, kept_sizes: int) -> Backend:
    if is_exported(weights):
        raise BackendError(f"{weights} is a folder; torch reads a weights file")
    try:
        from dcfm_ros.model import load_weights
        from dcfm_ros.streaming.backends.torch_backend import TorchBackend
    except ModuleNotFoundError as error:
        raise BackendError(f"{error.name} is not installed; {how_to_install(str(error.name))}") from error
    return TorchBackend(load_weights(weights), device, num_threads, precision, kept_sizes)
