"""The interface of every backend.

Features stay where the network runs: callers hand them back and never look inside.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol, runtime_checkable

import numpy as np

from dcfm_ros.model import ModelConfig

PRECISIONS = ("auto", "fp32", "fp16", "bf16", "int8")

KEPT_SIZES = 4
"""For so many sizes a backend keeps what it made, unless it is told another number: a stream's pictures may change."""


class BackendError(ValueError):
    """A backend that cannot do what was asked for; it never does something else instead."""


class Backend(Protocol):
    """One network on one device. A feature stays valid, and unchanged, as long as somebody holds it.

    config: the weights' configuration. precision: one of PRECISIONS but "auto", that of the convolutions.
    description: library, precision and device in words, for logs and diagnostics.
    selection: why `create_backend` took it, in words; empty where it was asked for by name.
    Calls come one at a time, but for `encode_common`, which may also be called from one other thread inside
    `background()`, while the other calls continue.
    """

    config: ModelConfig
    precision: str
    description: str
    selection: str

    def encode_shallow(self, image: np.ndarray) -> Any:
        """Enc_lo of an (h, w, 3) uint8 RGB image at the network's size."""

    def encode_common(self, shallow: Any) -> Any:
        """Enc_hi and projection: the common feature of the frame that `shallow` came from."""

    def decide(
        self, commons: Sequence[Any], shallow: Any, size: tuple[int, int], confidence: bool
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """Class ids, (height, width) uint8, and, when asked for, max softmax x 255 of the same shape and type.

        commons: one common feature (causal) or two, whose logits are summed (bidirectional). Logits are bilinearly
        resized to `size` (height, width), then the largest wins.
        """

    def align(self, common: Any, grid: np.ndarray) -> Any:
        """The common feature resampled at `grid`, (h', w', 2) float32 on its own grid; see `deploy.parts.AlignPart`.

        h', w': the network's size over `config.common_stride`.
        """

    def change(self, shallow: Any, reference: Any) -> float:
        """How much a shallow feature differs from a keyframe's of the same size: 0 is not at all; see `ChangePart`."""

    def background(self) -> AbstractContextManager[None]:
        """Entered by the thread that computes keyframes in the background: its calls then yield to the others."""


class BuildProgress(Protocol):
    """How far a build is. fraction: of the whole, 0 to 1; graph: the name of the part, `number` of `graphs`."""

    graph: str
    number: int
    graphs: int
    fraction: float


class EngineBuilding(Protocol):
    """Engines that are being built on a thread of their own."""

    @property
    def progress(self) -> BuildProgress:
        """The last that was reported."""

    def cancel(self) -> None:
        """Ask it to end."""

    def result(self) -> None:
        """Wait until it is done. Raises BackendError, or what a cancelled build ends in."""


@runtime_checkable
class BuildsEngines(Protocol):
    """A backend that builds something for each size, which may take minutes."""

    def prepare(self, size: tuple[int, int], ids_size: tuple[int, int]) -> EngineBuilding:
        """Begin to build, or load, what frames need whose network input and masks have these (height, width)."""
