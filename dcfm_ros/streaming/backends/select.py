"""From a path of weights to a backend that runs them."""

from __future__ import annotations

import os

from dcfm_ros.model import load_weights
from dcfm_ros.streaming.backends.base import Backend
from dcfm_ros.weights import DEFAULT_WEIGHTS

BACKENDS = ("torch",)


def create_backend(
    weights: str | os.PathLike[str] = "", name: str = "torch", device: str = "auto", num_threads: int = 0
) -> Backend:
    """Load `weights` (empty: the default weights that ship) onto a backend, one of BACKENDS.

    device, num_threads: see the backend. Raises ValueError for an unknown backend, WeightsError for bad weights and
    BackendError for a device that is not there.
    """
    if name not in BACKENDS:
        raise ValueError(f"backend is {name!r}; expected one of {', '.join(BACKENDS)}")
    from dcfm_ros.streaming.backends.torch_backend import TorchBackend

    return TorchBackend(load_weights(weights or DEFAULT_WEIGHTS), device, num_threads)
