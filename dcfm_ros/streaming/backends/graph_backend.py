"""The base of the backends that run ONNX graphs: whole frames go through one graph each, as late as possible.

Each call into a runtime, and each feature that is returned in between, costs as much as a small network's layers.
So a feature is first a note of what it would be made of, and `decide` runs the one graph that makes all of it. Who
asks for a feature itself (two commons at once, how much a frame changed) gets it from the graph of that part.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any

import numpy as np

from dcfm_ros.imaging.logits import ids_from_logits
from dcfm_ros.streaming.backends.background import BackgroundThread
from dcfm_ros.streaming.backends.graphs import Graphs


class Shallow:
    """F_in of an image, or what it will be computed from. made: the runtime's tensor, once somebody needed it."""

    def __init__(self, image: Any) -> None:
        self.image = image
        self.made: Any = None


class Common:
    """A keyframe's common feature. of: the frame it was computed from; logits: that frame's own."""

    def __init__(self, made: Any, of: Shallow, logits: Any) -> None:
        self.made = made
        self.of = of
        self.logits = logits


class Moved:
    """A common feature that is to be resampled at a grid."""

    def __init__(self, common: Common, grid: Any) -> None:
        self.common = common
        self.grid = grid


class GraphBackend(ABC):
    """`Backend`'s calls in terms of `run`.

    _graphs: what the runtime has loaded. _moves_within: whether a feature may be moved within a frame's graph; not
    where that graph computes in a precision too coarse for a sampling grid.
    """

    _graphs: Graphs
    _moves_within = True

    def __init__(self) -> None:
        self._background = BackgroundThread()

    @abstractmethod
    def run(self, part: str, **inputs: Any) -> list[Any]:
        """The outputs of a part, in order, each in memory of its own."""

    @abstractmethod
    def tensor(self, array: np.ndarray) -> Any:
        """The array as an input of `run`; it may share its memory."""

    @abstractmethod
    def array(self, tensor: Any) -> np.ndarray:
        """An output of `run` on the host."""

    def encode_shallow(self, image: np.ndarray) -> Shallow:
        """See `Backend.encode_shallow`."""
        self._graphs.check_size(image.shape[:2])
        return Shallow(self.tensor(image[None].copy()))  # it is read later, when its memory is the caller's again

    def encode_common(self, shallow: Shallow) -> Common:
        """See `Backend.encode_common`."""
        common, logits = self.run("keyframe", image=shallow.image)
        return Common(common, shallow, logits)

    def align(self, common: Common, grid: np.ndarray) -> Moved:
        """See `Backend.align`."""
        return Moved(common, self.tensor(grid[None]))

    def change(self, shallow: Shallow, reference: Shallow) -> float:
        """See `Backend.change`."""
        [change] = self.run("change", shallow=self._made(shallow), reference=self._made(reference))
        return float(self.array(change).squeeze())

    def decide(
        self, commons: Sequence[Common | Moved], shallow: Shallow, size: tuple[int, int], confidence: bool
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """See `Backend.decide`."""
        if size == self._graphs.ids_size and len(commons) == 1:
            ids, certainty = self.run("decide", common=self._where_it_lies(commons[0]), shallow=self._made(shallow))
            return self.array(ids), self.array(certainty) if confidence else None
        return ids_from_logits(self.logits(commons, shallow), size, confidence)

    def logits(self, commons: Sequence[Common | Moved], shallow: Shallow) -> np.ndarray:
        """(classes, h', w') float32, summed over the common features; not upsampled."""
        if len(commons) == 1:
            return self._floats(self._logits(commons[0], shallow))
        made = self._made(shallow)
        each = (self.run("logits", common=self._where_it_lies(common), shallow=made)[0] for common in commons)
        first, *others = (self._floats(logits) for logits in each)
        return sum(others, first)

    def background(self) -> AbstractContextManager[None]:
        """The thread's keyframes run at low priority and with one thread fewer."""
        return self._background.entered()

    def _logits(self, common: Common | Moved, shallow: Shallow) -> Any:
        """By the graph of a whole frame."""
        if isinstance(common, Moved) and self._moves_within:
            return self.run("moved", image=shallow.image, common=common.common.made, grid=common.grid)[0]
        if isinstance(common, Common) and common.of is shallow:
            return common.logits
        return self.run("reused", image=shallow.image, common=self._where_it_lies(common))[0]

    def _made(self, shallow: Shallow) -> Any:
        if shallow.made is None:
            [shallow.made] = self.run("shallow", image=shallow.image)
        return shallow.made

    def _where_it_lies(self, common: Common | Moved) -> Any:
        if isinstance(common, Common):
            return common.made
        return self.run("align", common=common.common.made, grid=common.grid)[0]

    def _floats(self, logits: Any) -> np.ndarray:
        return self.array(logits)[0].astype(np.float32, copy=False)
