"""Motion and change since a keyframe, and its feature moved to where the picture is now."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from dcfm_ros.imaging.motion import Motion, MotionSince
from dcfm_ros.streaming.backends.base import Backend


class SinceKeyframe:
    """Compares the frames of a stream with one of its keyframes, as far as somebody wants that.

    grey: the keyframe's small picture, see `imaging.motion.small_grey`; None where no feature is moved.
    shallow: its F_in; None where no schedule needs the change.
    """

    def __init__(self, grey: np.ndarray | None = None, shallow: Any = None) -> None:
        self._motion = None if grey is None else MotionSince(grey)
        self._shallow = shallow
        self._change = 0.0

    def follow(self, grey: np.ndarray | None) -> Motion:
        """Find the motion since the keyframe. Each frame after it has to be given once, in order."""
        return Motion(None) if self._motion is None or grey is None else self._motion.follow(grey)

    def add_change(self, backend: Backend, shallow: Any) -> float:
        """Add how much a frame's F_in differs from the keyframe's, and return the sum over the frames so far.

        It is infinite where a schedule that needs it came after the keyframe, which then kept nothing to compare with.
        """
        self._change += math.inf if self._shallow is None else backend.change(shallow, self._shallow)
        return self._change


def motions_back_to(grey: np.ndarray, before: Iterable[np.ndarray]) -> Iterator[Motion]:
    """Find the motions of earlier frames to a keyframe that came after them; before: from the latest back in time."""
    motion = MotionSince(grey)
    for earlier in before:
        yield motion.follow(earlier)


def align(backend: Backend, common: Any, motion: Motion, size: tuple[int, int]) -> Any:
    """Resample a common feature where it lies after that motion; size: (height, width) of the network's input."""
    stride = backend.config.common_stride
    return backend.align(common, motion.grid((size[0] // stride, size[1] // stride)))
