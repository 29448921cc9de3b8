"""The cost of the steps of a training run: time, waiting for data, memory."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch


class Speed:
    """A clock that runs while a run trains, and is read and set back with every log entry.

    The first entry of a run includes what is done once: loading libraries, choosing kernels, starting workers.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._restart()

    @contextmanager
    def waiting_for_data(self) -> Iterator[None]:
        """Around getting the batch of one step."""
        begin = time.perf_counter()
        yield
        self._waited += time.perf_counter() - begin
        self._steps += 1

    @contextmanager
    def not_training(self) -> Iterator[None]:
        """Around what is no part of a step, as validation: its time does not count."""
        begin = time.perf_counter()
        yield
        self._begin += time.perf_counter() - begin

    def read(self, pairs: int) -> dict[str, float]:
        """Values since the last reading, by their names in the log; `pairs`: how many a step is, over all processes.

        images_per_s: labelled frames and neighbours. data_wait_share: the part of the time, 0 to 1, that this process
        waited for its batches. A GPU computes while its process already waits, so there it is an upper bound.
        peak_memory_mb: the most that this process has had so far, in 10^6 bytes: on a GPU of its memory, by tensors.
        """
        elapsed = time.perf_counter() - self._begin
        values = {
            "speed/images_per_s": 2 * pairs * self._steps / elapsed,
            "speed/data_wait_share": self._waited / elapsed,
            "speed/peak_memory_mb": _peak_memory(self._device) / 1e6,
        }
        self._restart()
        return values

    def _restart(self) -> None:
        self._begin = time.perf_counter()
        self._waited = 0.0
        self._steps = 0


def _peak_memory(device: torch.device) -> int:
    """Bytes. Not by getrusage(): a process inherits that of the one that started it."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    status = Path("/proc/self/status").read_text()
    return 1024 * next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))
