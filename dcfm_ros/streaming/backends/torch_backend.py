"""The network in PyTorch, on the CPU or a CUDA device."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from dcfm_ros.model import DCFM, fold_batch_norm
from dcfm_ros.streaming.backends.base import BackendError


class TorchBackend:
    """Inference mode, batch norm folded, channels_last (on CPU a shallow pass takes a quarter of the time).

    model: taken over and changed; use `load_weights` again for another copy. device: "auto" (CUDA where there is one),
    "cpu", "cuda" or "cuda:N". num_threads: CPU threads of this process's torch; 0 leaves torch's own choice.
    Raises BackendError when the device is not there.
    """

    def __init__(self, model: DCFM, device: str = "auto", num_threads: int = 0) -> None:
        self.device = _device(device)
        if num_threads < 0:
            raise BackendError(f"num_threads is {num_threads}; expected 0 (torch's own choice) or more")
        if num_threads:
            torch.set_num_threads(num_threads)
        if self.device.type == "cuda":
            # Byte-equal masks between runs; an autotuned choice may differ each time.
            torch.backends.cudnn.benchmark = False
            torch.backends.cudnn.deterministic = True
        self.config = model.config
        model.eval()
        fold_batch_norm(model)
        self._model = model.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        mean, std = (torch.tensor(v, device=self.device)[:, None, None] for v in (model.config.mean, model.config.std))
        self._offset, self._scale = 255 * mean, 1 / (255 * std)
        self.description = f"torch {torch.__version__} float32 on {_device_name(self.device)}"

    @torch.inference_mode()
    def encode_shallow(self, image: np.ndarray) -> Tensor:
        """(h, w, 3) uint8 RGB -> (1, C, h/4, w/4) on the device."""
        pixels = torch.from_numpy(image if image.flags.writeable else image.copy()).to(self.device)
        # (h, w, 3) seen as (1, 3, h, w) is channels_last already.
        normalised = (pixels.permute(2, 0, 1)[None].float() - self._offset) * self._scale
        return self._model.encode_shallow(normalised)

    @torch.inference_mode()
    def encode_common(self, shallow: Tensor) -> Tensor:
        """(1, C, h/4, w/4) -> (1, C', h', w') on the device."""
        return self._model.encode_common(shallow)

    @torch.inference_mode()
    def decide(
        self, commons: Sequence[Tensor], shallow: Tensor, size: tuple[int, int], confidence: bool
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """See `Backend.decide`."""
        logits = torch.stack([self._model.fuse(common, shallow) for common in commons]).sum(0)
        full = F.interpolate(logits.contiguous(), size, mode="bilinear", align_corners=False)[0]
        # max, not argmax: on CPU it is fifteen times faster over the leading dimension.
        largest, ids = full.max(0)
        mask = ids.to(torch.uint8).cpu().numpy()
        if not confidence:
            return mask, None
        max_softmax = 1 / (full - largest).exp().sum(0)
        return mask, (max_softmax * 255).round().to(torch.uint8).cpu().numpy()


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


def _device_name(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"CPU, {torch.get_num_threads()} threads"
