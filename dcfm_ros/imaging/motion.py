"""How a picture has moved since a keyframe, so that the keyframe's feature can be laid where it belongs now."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, get_args

import cv2
import numpy as np

Align = Literal["none", "flow"]
ALIGNMENTS: tuple[str, ...] = get_args(Align)

_PIXELS = 240 * 180
"""Pixels of the small pictures. 160x120 was measured to gain a fifth less; a finer search (DIS "medium") gains a tenth
more and takes four times as long."""

_LEAST_SIDE = 64
"""The least side of the small pictures: below half of it OpenCV's flow reads outside, and may crash or give NaN."""

_STILL = 1.0
"""Grey levels, the mean difference of two small pictures below which nothing moves: noise of a sigma of 2.5 at
360x480 leaves less than this."""


@dataclass(frozen=True, eq=False)
class Motion:
    """Where the places of this frame lay in the keyframe.

    flow: (h, w, 2) float32, x and y in pixels of the small picture, from this frame to the keyframe; None where
    nothing moves.
    """

    flow: np.ndarray | None

    def grid(self, size: tuple[int, int]) -> np.ndarray:
        """Return a grid for `Backend.align`: (*size, 2) float32, places in the keyframe, -1 to 1 between its edges."""
        height, width = size
        grid = (_places(height, width) + np.float32(0.5)) * np.array([2 / width, 2 / height], np.float32) - np.float32(
            1
        )
        if self.flow is not None:
            small_height, small_width = self.flow.shape[:2]
            shrinks = height <= small_height and width <= small_width
            flow = cv2.resize(self.flow, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
            grid += flow * np.array([2 / small_width, 2 / small_height], np.float32)
        return grid


def small_grey(image: np.ndarray) -> np.ndarray:
    """The picture that motion is seen in: (h, w, 3) uint8 RGB -> (h', w') uint8, some 43,000 pixels of its aspect.

    It is smaller by a whole number, by which OpenCV averages many times as fast. Sides are at least 64, whatever the
    aspect.
    """
    height, width = image.shape[:2]
    shrinks = max(1, round((height * width / _PIXELS) ** 0.5))
    size = max(_LEAST_SIDE, round(width / shrinks)), max(_LEAST_SIDE, round(height / shrinks))
    return cv2.resize(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), size, interpolation=cv2.INTER_AREA)


class MotionSince:
    """The motion since one picture, the keyframe's, from frame to frame.

    A straight search breaks when much has moved. So the motion of each frame to the one before it is searched for and
    put before what is known of that one: F(x) = f(x) + F_before(x + f(x)). As far as a picture differs from the
    keyframe's by no more than noise, nothing has moved, and the first motion after that is searched for straight.

    keyframe: its small grey picture, as `small_grey` gives it.
    """

    def __init__(self, keyframe: np.ndarray) -> None:
        self._keyframe = keyframe
        self._before = keyframe
        self._flow: np.ndarray | None = None

    def follow(self, grey: np.ndarray) -> Motion:
        """From the next frame's small grey picture to the keyframe's. Each frame has to be given, in order."""
        if _is_still(grey, self._keyframe):
            self._flow = None
        elif self._flow is None:
            self._flow = _searched(grey, self._keyframe)
        else:
            self._flow = _composed(_searched(grey, self._before), self._flow)
        self._before = grey
        return Motion(self._flow)


def _is_still(grey: np.ndarray, other: np.ndarray) -> bool:
    return cv2.norm(grey, other, cv2.NORM_L1) <= _STILL * grey.size


def _searched(grey: np.ndarray, other: np.ndarray) -> np.ndarray:
    """The flow from one small grey picture to another of its size, by a search straight from one to the other.

    The search is dense inverse search (Kroeger et al., ECCV 2016) with OpenCV's fastest preset. The same pictures give
    the same flow on as many OpenCV threads.

    Places that cannot be matched (what was hidden, what has come in at the border) keep what the flow says: leaving
    them unaligned, by a photometric check or where the flow leads outside, was measured to be no better.
    """
    search = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST)  # type: ignore[attr-defined]
    flow = search.calc(grey, other, None)
    if not math.isfinite(cv2.norm(flow)):
        # Such places stay where they are: of a NaN in a grid PyTorch makes a pixel of the edge, and OpenVINO NaN.
        flow = np.nan_to_num(flow, copy=False, nan=0, posinf=0, neginf=0)
    return flow


def _composed(step: np.ndarray, before: np.ndarray) -> np.ndarray:
    """(h, w, 2): first `step`, to the frame before, then `before` from there; outside the picture the border's."""
    places = _places(step.shape[0], step.shape[1]) + step
    further = cv2.remap(before, places, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)  # type: ignore[call-overload]
    further += step
    return further


@lru_cache(maxsize=8)
def _places(height: int, width: int) -> np.ndarray:
    """(height, width, 2) float32: x and y of each pixel."""
    return np.stack(np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32)), axis=-1)
