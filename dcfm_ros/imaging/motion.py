"""How a picture has moved since a keyframe, so that the keyframe's feature can be laid where it belongs now."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import cv2
import numpy as np

Align = Literal["none", "shift", "flow"]
ALIGNMENTS: tuple[str, ...] = get_args(Align)

_PIXELS = 240 * 180
"""Of the small pictures. 160x120 was measured to gain a fifth less; a finer search (DIS "medium") gains a tenth more
and takes four times as long."""

_LEAST_SIDE = 64
"""Of the small pictures: below half of this OpenCV's flow reads outside of them, and may crash or give NaN."""

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

    @property
    def magnitude(self) -> float:
        """The mean length of the flow as a fraction of the picture's width."""
        if self.flow is None:
            return 0.0
        return float(cv2.magnitude(self.flow[..., 0], self.flow[..., 1]).mean()) / self.flow.shape[1]

    def grid(self, size: tuple[int, int]) -> np.ndarray:
        """What `Backend.align` takes: (*size, 2) float32, places of the keyframe from -1 to 1 between its edges."""
        height, width = size
        x = np.broadcast_to((np.arange(width, dtype=np.float32) + 0.5) * (2 / width) - 1, size)
        y = np.broadcast_to((np.arange(height, dtype=np.float32)[:, None] + 0.5) * (2 / height) - 1, size)
        grid = np.stack([x, y], axis=-1)
        if self.flow is not None:
            small_height, small_width = self.flow.shape[:2]
            shrinks = height <= small_height and width <= small_width
            flow = cv2.resize(self.flow, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
            grid += flow * np.array([2 / small_width, 2 / small_height], np.float32)
        return grid


def small_grey(image: np.ndarray) -> np.ndarray:
    """The picture that motion is seen in: (h, w, 3) uint8 RGB -> (h', w') uint8, some 43,000 pixels of its aspect.

    Sides are at least 64, whatever the aspect.
    """
    height, width = image.shape[:2]
    scale = min(1.0, (_PIXELS / (height * width)) ** 0.5)
    size = max(_LEAST_SIDE, round(width * scale)), max(_LEAST_SIDE, round(height * scale))
    return cv2.cvtColor(cv2.resize(image, size, interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2GRAY)


def motion_between(grey: np.ndarray, keyframe: np.ndarray, kind: Align = "flow") -> Motion:
    """From this frame's small grey picture to the keyframe's, both of one size.

    kind: "flow", dense inverse search (Kroeger et al., ECCV 2016) with OpenCV's fastest preset, or "shift", one for the
    whole picture by phase correlation. The same pictures give the same motion on as many OpenCV threads.

    Places that cannot be matched (what was hidden, what has come in at the border) keep what the flow says: leaving
    them unaligned, by a photometric check or where the flow leads outside, was measured to be no better.
    """
    if cv2.norm(grey, keyframe, cv2.NORM_L1) <= _STILL * grey.size:
        return Motion(None)
    if kind == "shift":
        window = cv2.createHanningWindow(grey.shape[::-1], cv2.CV_32F)
        shift, _ = cv2.phaseCorrelate(grey.astype(np.float32), keyframe.astype(np.float32), window)
        # Where both pictures are of one colour there is no shift to find, and none is found: NaN.
        return Motion(np.full((*grey.shape, 2), shift, np.float32) if np.isfinite(shift).all() else None)
    search = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST)  # type: ignore[attr-defined]
    return Motion(search.calc(grey, keyframe, None))
