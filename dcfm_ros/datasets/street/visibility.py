"""Leaves out what nearer walls hide entirely, before anything is drawn. It never changes a picture, only its cost."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from dcfm_ros.datasets.street.canvas import Canvas


@dataclass(frozen=True)
class Drawing:
    """Something to draw: how far it is (metres), the columns it spans, its topmost row, and how to draw it.

    wall: the rows of its top at its left and right end, when it hides everything below that and further away.
    """

    distance: float
    left: float
    right: float
    top: float
    draw: Callable[[Canvas], None]
    wall: tuple[float, float] | None = None


def far_to_near(drawings: Iterable[Drawing], width: int) -> list[Drawing]:
    """The drawings to draw in a picture of `width` columns, in order."""
    hidden_below = np.full(width, np.inf)  # for each column, the row from which down walls hide what is further
    kept: list[Drawing] = []
    for drawing in sorted(drawings, key=lambda drawing: drawing.distance):
        # A column more on each side: outlines are rounded to pixels.
        first, last = max(0, int(drawing.left) - 1), min(width, int(drawing.right) + 3)
        if first >= last or hidden_below[first:last].max() <= drawing.top - 1:
            continue
        kept.append(drawing)
        if drawing.wall is not None:
            first = min(width, max(0, math.ceil(drawing.left)))
            last = max(first, min(width, math.floor(drawing.right) + 1))
            share = (np.arange(first, last) - drawing.left) / max(drawing.right - drawing.left, 1e-6)
            rows = drawing.wall[0] + (drawing.wall[1] - drawing.wall[0]) * share
            hidden_below[first:last] = np.minimum(hidden_below[first:last], rows + 1)
    return kept[::-1]
