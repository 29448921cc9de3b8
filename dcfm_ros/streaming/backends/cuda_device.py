"""A CUDA device, through torch: memory, two streams, and CUDA graphs of what was enqueued."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor

from dcfm_ros.streaming.backends.base import BackendError

log = logging.getLogger(__name__)


class CudaDevice:
    """Frames have a stream of high priority, the thread inside `background` one of low.

    name: "auto", "cuda" or "cuda:N"; then the device's own. Raises BackendError for any other and when there is no such
    device.
    """

    def __init__(self, name: str) -> None:
        kind, colon, index = name.partition(":")
        if name != "auto" and (kind != "cuda" or (colon and not index.isdecimal())):
            raise BackendError(f"device is {name!r}; expected auto, cuda or cuda:N")
        self.device = torch.device("cuda", int(index or 0))
        if self.device.index >= torch.cuda.device_count():
            raise BackendError(f"device is {name!r}, but torch sees {torch.cuda.device_count()} CUDA devices here")
        self.name = torch.cuda.get_device_name(self.device)
        self._frames = torch.cuda.Stream(self.device, priority=-1)
        self._beside = torch.cuda.Stream(self.device, priority=0)
        self._thread = threading.local()

    @property
    def is_background(self) -> bool:
        """Whether the caller is inside `background`."""
        return getattr(self._thread, "is_background", False)

    @property
    def stream(self) -> int:
        """The caller's stream, as TensorRT takes it."""
        return self._stream.cuda_stream

    @contextlib.contextmanager
    def selected(self) -> Iterator[None]:
        """Do what is asked of torch and TensorRT inside on this device, in the caller's stream."""
        with torch.cuda.stream(self._stream):
            if self.is_background:
                self._beside.wait_stream(self._frames)  # a feature it reads may still be on its way
            yield

    @contextlib.contextmanager
    def background(self) -> Iterator[None]:
        """Mark the calling thread as the one that computes keyframes in the background."""
        self._thread.is_background = True
        try:
            yield
        finally:
            self._thread.is_background = False

    def empty(self, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        """Memory, valid as long as somebody holds it."""
        return torch.empty(shape, dtype=dtype, device=self.device)

    def upload(self, array: np.ndarray) -> Tensor:
        """Returns before the copy is done, which later calls of the stream wait for."""
        pinned = torch.empty(array.shape, dtype=torch.from_numpy(np.empty(0, array.dtype)).dtype, pin_memory=True)
        np.copyto(pinned.numpy(), array)
        # torch keeps the pinned memory from being used again before it was read.
        return pinned.to(self.device, non_blocking=True)

    def download(self, *tensors: Tensor) -> list[np.ndarray]:
        """Waits once, for all that the caller's stream was asked for."""
        pinned = [torch.empty(each.shape, dtype=each.dtype, pin_memory=True) for each in tensors]
        for place, each in zip(pinned, tensors, strict=True):
            place.copy_(each, non_blocking=True)
        self._stream.synchronize()
        # Pinned memory is scarce, and callers may keep masks for long.
        return [place.numpy().copy() for place in pinned]

    def hand_over(self, feature: Tensor) -> None:
        """Wait for `feature` before the background thread gives it to the frames, which would have to wait for it."""
        if self.is_background:
            feature.record_stream(self._frames)
            self._beside.synchronize()

    def captured(self, enqueue: Callable[[], None]) -> Callable[[], None] | None:
        """`enqueue` as a CUDA graph, which does the same with the same memory; not done yet. None where CUDA cannot."""
        graph = torch.cuda.CUDAGraph()
        try:
            # Other threads may allocate meanwhile: the mode by default forbids that to all of the process.
            graph.capture_begin(capture_error_mode="thread_local")
            try:
                enqueue()
            finally:
                graph.capture_end()
        except (RuntimeError, BackendError) as error:
            log.warning("CUDA cannot capture the network's work here (%s); it is enqueued anew for each frame", error)
            return None
        return graph.replay

    def finish(self) -> None:
        """Wait for all that was asked for."""
        torch.cuda.synchronize(self.device)

    @property
    def _stream(self) -> torch.cuda.Stream:
        return self._beside if self.is_background else self._frames
