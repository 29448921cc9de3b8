"""The network in PyTorch, on the CPU or a CUDA device."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn

from dcfm_ros.deploy.parts import inference_parts
from dcfm_ros.imaging.logits import ids_from_logits
from dcfm_ros.model import DCFM
from dcfm_ros.streaming.backends.background import BackgroundThread, threads_beside
from dcfm_ros.streaming.backends.base import KEPT_SIZES, BackendError
from dcfm_ros.streaming.backends.graphs import checked_precision

_DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
# The first is what "auto" means: on the CPU the reference's masks, though bfloat16, where it has that, halves the time.
_PRECISIONS = {"cpu": ("fp32", "bf16"), "cuda": ("fp16", "bf16", "fp32")}


class TorchBackend:
    """Inference mode, batch norm folded, channels_last (on CPU a shallow pass takes a quarter of the time).

    model: taken over and changed; use `load_weights` again for another copy. device: "auto" (CUDA where there is one),
    "cpu", "cuda" or "cuda:N". num_threads: on the CPU; 0 leaves torch's own choice. precision: "auto" (fp32 on the CPU,
    fp16 on CUDA), "fp32", "bf16" or, on CUDA, "fp16". kept_sizes: of pictures whose CUDA graphs are kept.
    Raises BackendError when the device or the precision is not there.
    """

    def __init__(
        self,
        model: DCFM,
        device: str = "auto",
        num_threads: int = 0,
        precision: str = "auto",
        kept_sizes: int = KEPT_SIZES,
    ) -> None:
        self.device = _device(device)
        if num_threads < 0:
            raise BackendError(f"num_threads is {num_threads}; expected 0 (torch's own choice) or more")
        allowed = _PRECISIONS[self.device.type]
        wanted = checked_precision(precision, allowed, "auto", f"torch on {self.device.type}")
        self.precision = allowed[0] if wanted == "auto" else wanted
        self.config = model.config
        self.selection = ""
        self._parts = inference_parts(model)
        for part in self._parts:
            part.to(self.device, _DTYPES[self.precision], memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._runner = _runner(self.device, num_threads, len(self._parts) * kept_sizes)
        self.description = f"torch {torch.__version__} {self.precision} on {self._runner.name}"

    def encode_shallow(self, image: np.ndarray) -> Tensor:
        """(h, w, 3) uint8 RGB -> (1, C, h/4, w/4) on the device."""
        return self._run(self._parts.shallow, self._runner.upload(image[None]))

    def encode_common(self, shallow: Tensor) -> Tensor:
        """(1, C, h/4, w/4) -> (1, C', h', w') on the device."""
        return self._run(self._parts.common, shallow)

    def decide(
        self, commons: Sequence[Tensor], shallow: Tensor, size: tuple[int, int], confidence: bool
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """See `Backend.decide`."""
        each = [self._run(self._parts.logits, common, shallow) for common in commons]
        return self._runner.ids(each, size, confidence)

    def align(self, common: Tensor, grid: np.ndarray) -> Tensor:
        """See `Backend.align`."""
        return self._run(self._parts.align, common, self._runner.upload(grid[None]))

    def change(self, shallow: Tensor, reference: Tensor) -> float:
        """See `Backend.change`."""
        return float(self._runner.download(self._run(self._parts.change, shallow, reference)))

    def background(self) -> AbstractContextManager[None]:
        """The thread's keyframes run at low priority, on the CPU with a thread fewer, on CUDA in their own stream."""
        return self._runner.background()

    def _run(self, part: nn.Module, *inputs: Tensor) -> Tensor:
        with torch.inference_mode():
            return self._runner.run(part, *inputs)


class Runner(Protocol):
    """The steps that differ between the CPU and CUDA. name: the device in words."""

    name: str

    def upload(self, array: np.ndarray) -> Tensor:
        """The array on the device; it may be changed afterwards."""

    def download(self, tensor: Tensor) -> np.ndarray:
        """Waits until the tensor is there."""

    def run(self, part: nn.Module, *inputs: Tensor) -> Tensor:
        """`part(*inputs)`, in memory of its own."""

    def ids(
        self, logits: Sequence[Tensor], size: tuple[int, int], confidence: bool
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """`Backend.decide` of the sum of one or two (1, classes, h', w')."""

    def background(self) -> AbstractContextManager[None]:
        """See `Backend.background`."""


class CpuRunner:
    """Runs the parts as they are; 0 threads leave torch's own choice."""

    def __init__(self, num_threads: int) -> None:
        self._threads = num_threads or torch.get_num_threads()
        self._background = BackgroundThread()
        self._set_threads()
        self.name = f"CPU, {self._threads} threads"

    def upload(self, array: np.ndarray) -> Tensor:
        """Without a copy where the array allows it: nothing that is computed from it reads it later."""
        return torch.from_numpy(np.require(array, requirements=("C", "W")))

    def download(self, tensor: Tensor) -> np.ndarray:
        """The same memory."""
        return tensor.numpy()

    def run(self, part: nn.Module, *inputs: Tensor) -> Tensor:
        """On the calling thread and others of its own."""
        self._set_threads()
        return part(*inputs)

    def ids(
        self, logits: Sequence[Tensor], size: tuple[int, int], confidence: bool
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """From the logits on their grid; see `ids_from_logits`."""
        first, *others = (each[0].float().numpy() for each in logits)
        return ids_from_logits(sum(others, first), size, confidence)

    def background(self) -> AbstractContextManager[None]:
        """At low priority, and with one thread fewer: the stream's threads would wait for each that it holds up."""
        return self._background.entered()

    def _set_threads(self) -> None:
        # torch counts for each calling thread on its own, and a new one begins with what any of them set last.
        threads = threads_beside(self._threads) if self._background.is_here else self._threads
        if torch.get_num_threads() != threads:
            torch.set_num_threads(threads)


def _runner(device: torch.device, num_threads: int, kept_graphs: int) -> Runner:
    if device.type == "cpu":
        return CpuRunner(num_threads)
    from dcfm_ros.streaming.backends.cuda_device import CudaDevice
    from dcfm_ros.streaming.backends.torch_cuda import CudaRunner

    return CudaRunner(CudaDevice(str(device)), kept_graphs)


def _device(name: str) -> torch.device:
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        device = None
    if device is None or device.type not in ("cpu", "cuda"):
        raise BackendError(f"device is {name!r}; expected auto, cpu, cuda or cuda:N")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise BackendError(f"device is {name!r}, but torch sees {torch.cuda.device_count()} CUDA devices here")
    return device
