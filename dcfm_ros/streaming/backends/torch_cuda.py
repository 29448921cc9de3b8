"""PyTorch on a CUDA device: the network's parts as CUDA graphs, and class ids without a host in between."""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from dcfm_ros.streaming.backends.cuda_device import CudaDevice

log = logging.getLogger(__name__)

Decide = Callable[[Tensor, tuple[int, int], bool], tuple[Tensor, "Tensor | None"]]

_BAND_BYTES = 1 << 24


class CudaRunner:
    """Each part is captured as a CUDA graph when it is called again with the same shapes.

    kept_graphs: how many of these stay.
    The host waits for the device only where it needs a result: see `download` and `ids`.
    """

    def __init__(self, device: CudaDevice, kept_graphs: int) -> None:
        self._device = device
        self._kept_graphs = kept_graphs
        # Byte-equal masks between runs, for which nothing may be tuned by time; and fp32 that is float32 throughout.
        torch.backends.cudnn.benchmark = False
        torch.backends.cudnn.deterministic = True
        torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
        self._cuda_graphs: OrderedDict[Any, Callable[..., Tensor] | None] = OrderedDict()
        with self._device.selected():
            self._decide = _decide_of(device.device)
        self.name = device.name

    def upload(self, array: np.ndarray) -> Tensor:
        """Through pinned memory; returns before the copy is done."""
        with self._device.selected():
            return self._device.upload(array)

    def download(self, tensor: Tensor) -> np.ndarray:
        """Waits until the tensor is there."""
        with self._device.selected():
            return self._device.download(tensor)[0]

    def run(self, part: nn.Module, *inputs: Tensor) -> Tensor:
        """`part(*inputs)`, enqueued; in `background`, computed."""
        with self._device.selected():
            if self._device.is_background:  # CUDA graphs belong to the other thread, and so does their memory
                output = part(*inputs)
                self._device.hand_over(output)
                return output
            return self._captured(part, inputs)

    def ids(
        self, logits: Sequence[Tensor], size: tuple[int, int], confidence: bool
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """Full-size ids are computed on the device and fetched."""
        with self._device.selected(), torch.inference_mode():
            first, *others = (each[0] for each in logits)
            decided = self._decide(sum((other.float() for other in others), first), size, confidence)
            ids, *rest = self._device.download(*(each for each in decided if each is not None))
        return ids, rest[0] if rest else None

    def background(self) -> AbstractContextManager[None]:
        """A stream of low priority, of whose results the frames' stream never waits for one that is not there yet."""
        return self._device.background()

    def _captured(self, part: nn.Module, inputs: tuple[Tensor, ...]) -> Tensor:
        key = (part, *(each.shape for each in inputs))
        if key not in self._cuda_graphs:  # libraries set themselves up in a first call, which cannot be captured
            self._cuda_graphs[key] = None
            if len(self._cuda_graphs) > self._kept_graphs:
                self._cuda_graphs.popitem(last=False)
            return part(*inputs)
        self._cuda_graphs.move_to_end(key)
        graph = self._cuda_graphs[key] or self._capture(part, inputs)
        self._cuda_graphs[key] = graph
        return graph(*inputs)

    def _capture(self, part: nn.Module, inputs: tuple[Tensor, ...]) -> Callable[..., Tensor]:
        """A graph reads and writes the same memory each time: inputs are copied there, and the output from there."""
        fixed = [each.clone() for each in inputs]
        outputs: list[Tensor] = []
        replay = self._device.captured(lambda: outputs.append(part(*fixed)))
        if replay is None:
            return part

        def graph(*given: Tensor) -> Tensor:
            for place, each in zip(fixed, given, strict=True):
                place.copy_(each)
            replay()
            return outputs[-1].clone()

        return graph


def ids_in_bands(logits: Tensor, size: tuple[int, int], confidence: bool) -> tuple[Tensor, Tensor | None]:
    """Return ids and, when asked for, max softmax x 255 of logits (classes, h, w), computed in float32.

    Both are (height, width) uint8 on the same device. Bands of rows bound the memory that this takes.
    """
    top, bottom, down = _neighbours(logits.shape[1], size[0], logits.device)
    left, right, along = _neighbours(logits.shape[2], size[1], logits.device)
    grid = logits.float().contiguous()
    wide = torch.lerp(grid[..., left], grid[..., right], along)
    step = max(1, _BAND_BYTES // (wide[:, 0].numel() * wide.element_size()))
    bands = []
    for rows in torch.arange(size[0], device=logits.device).split(step):
        band = torch.lerp(wide[:, top[rows]], wide[:, bottom[rows]], down[rows, None])
        largest, ids = band.max(0)
        max_softmax = 255 / (band - largest).exp().sum(0) if confidence else largest
        bands.append((ids.to(torch.uint8), max_softmax.round().to(torch.uint8)))
    ids, max_softmax = (torch.cat(parts) for parts in zip(*bands, strict=True))
    return ids, max_softmax if confidence else None


def _neighbours(places: int, length: int, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """The places of the grid before and after each pixel of a side, and how far it is between them, from 0 to 1."""
    pixels = torch.arange(length, device=device, dtype=torch.float32)
    position = ((pixels + 0.5) * places / length - 0.5).clamp(0, places - 1)
    before = position.long()
    return before, (before + 1).clamp(max=places - 1), position - before


def _decide_of(device: torch.device) -> Decide:
    """The kernel, tried once: Triton needs a C compiler when it first runs, which not every robot has."""
    try:
        from dcfm_ros.streaming.backends.triton_decide import ids_in_one_kernel

        ids_in_one_kernel(torch.zeros(1, 1, 1, device=device), (1, 1), True)
    except Exception as error:
        log.warning("Triton does not run here (%s); class ids are decided by torch, in bands", error)
        return ids_in_bands
    return ids_in_one_kernel
