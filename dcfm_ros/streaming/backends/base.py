"""What every backend offers. Features stay where the network runs: callers hand them back and never look inside."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from dcfm_ros.model import ModelConfig


class BackendError(ValueError):
    """A backend that cannot do what was asked for; it never does something else instead."""


class Backend(Protocol):
    """One network on one device.

    config: the weights' configuration. description: device and precision in words, for logs and diagnostics.
    """

    config: ModelConfig
    description: str

    def encode_shallow(self, image: np.ndarray) -> Any:
        """Enc_lo of an (h, w, 3) uint8 RGB image at the network's size."""

    def encode_common(self, shallow: Any) -> Any:
        """Enc_hi and projection: the common feature of the frame that `shallow` came from."""

    def decide(
        self, commons: Sequence[Any], shallow: Any, size: tuple[int, int], confidence: bool
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """Class ids, (height, width) uint8, and, when asked for, max softmax x 255 of the same shape and type.

        commons: one common feature (causal) or two, whose logits are summed (bidirectional). Logits are bilinearly
        brought to `size` (height, width), then the largest wins.
        """
