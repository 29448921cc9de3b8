"""From a network's logits on its coarse grid to the class of every pixel, without logits of every pixel."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np

_BAND_BYTES = 1 << 19  # half of what a core's second cache usually holds
_CHUNK_PIXELS = 1 << 16


def ids_from_logits(
    logits: np.ndarray, size: tuple[int, int], confidence: bool = False
) -> tuple[np.ndarray, np.ndarray | None]:
    """Class ids, (height, width) uint8, and, when asked for, max softmax x 255 of the same shape and type.

    logits: (classes, h, w) float32, fastest with the classes innermost in memory. They are bilinearly brought to `size`
    (height, width), corners not aligned, then the largest wins; of equals the lowest id.
    Raises ValueError when the logits are not float32 of 1 to 256 classes on a grid of at least one place, or a side of
    `size` is below 1.
    """
    if logits.ndim != 3 or logits.dtype != np.float32 or logits.size == 0 or logits.shape[0] > 256:
        raise ValueError(
            f"logits are {logits.dtype} {logits.shape}; expected float32 (classes, h, w), 1 to 256 classes"
        )
    if min(size) < 1:
        raise ValueError(f"size is {size}; expected a height and a width of at least 1")
    rows, columns = _axis(logits.shape[1], size[0]), _axis(logits.shape[2], size[1])
    # With the edge repeated around them, the grid's places are corners of cells that cover every pixel.
    corners = np.pad(logits.transpose(1, 2, 0), ((1, 1), (1, 1), (0, 0)), mode="edge")
    ids = _ids(corners, rows, columns)
    return ids, _max_softmax(corners, rows, columns) if confidence else None


class _Axis(NamedTuple):
    """Where the pixels of one side lie between the places of the grid. Cells are those between two places.

    cell, weight: of each pixel, its cell and how far it is in it, from 0 to 1.
    pixels: (cells, most pixels of a cell), those of each cell; the last is repeated where there are fewer.
    filled: whether a cell has pixels at all.
    """

    cell: np.ndarray
    weight: np.ndarray
    pixels: np.ndarray
    filled: np.ndarray


@lru_cache(maxsize=64)
def _axis(places: int, length: int) -> _Axis:
    position = (np.arange(length) + 0.5) * (places / length) + 0.5
    cell = position.astype(np.intp)
    counts = np.bincount(cell, minlength=places + 1)
    within = np.minimum(np.arange(counts.max()), np.maximum(counts, 1)[:, None] - 1)
    first = counts.cumsum() - counts
    return _Axis(cell, (position - cell).astype(np.float32), first[:, None] + within, counts > 0)


def _ids(corners: np.ndarray, rows: _Axis, columns: _Axis) -> np.ndarray:
    """What is the largest at all four corners of a cell is so in all of it; only the other cells are interpolated."""
    best = corners.argmax(2).astype(np.uint8)
    mixed = (best[:-1] != best[1:])[:, 1:] | (best[:-1] != best[1:])[:, :-1] | (best[:-1, 1:] != best[:-1, :-1])
    mixed &= rows.filled[:, None] & columns.filled
    ids = best[:, columns.cell][rows.cell]
    y, x = mixed.nonzero()
    step = max(1, _CHUNK_PIXELS // (rows.pixels.shape[1] * columns.pixels.shape[1]))
    for start in range(0, len(y), step):
        _fill_mixed(ids, corners, best, rows, columns, y[start : start + step], x[start : start + step])
    return ids


def _fill_mixed(
    ids: np.ndarray,
    corners: np.ndarray,
    best: np.ndarray,
    rows: _Axis,
    columns: _Axis,
    y: np.ndarray,
    x: np.ndarray,
) -> None:
    """Write the ids of the pixels of the cells (y, x)."""
    around = (y[:, None] + (0, 0, 1, 1), x[:, None] + (0, 1, 0, 1))
    values = corners[around]  # (cells, 4, classes)
    alive = _may_win(values, best[around])
    counts = alive.sum(1)
    order = np.argsort(-counts, kind="stable")
    y, x, values, alive, counts = y[order], x[order], values[order], alive[order], counts[order]
    classes = alive.nonzero()[1]
    first = counts.cumsum() - counts

    row, column = rows.pixels[y].T, columns.pixels[x].T
    down, right = rows.weight[row][:, None], columns.weight[column][None]
    shape = (len(row), len(column), len(y))
    largest, winner = np.full(shape, -np.inf, np.float32), np.zeros(shape, np.uint8)
    # Cells with most classes come first: those that have a class of this rank are a prefix.
    for rank in range(counts[0]):
        cells = int(np.searchsorted(-counts, -rank))
        chosen = classes[first[:cells] + rank]
        a, b, c, d = values[np.arange(cells), :, chosen].T
        left, change = a + down[..., :cells] * (c - a), (b - a) + down[..., :cells] * ((d - c) - (b - a))
        value = left + right[..., :cells] * change
        wins = value > largest[..., :cells]
        np.copyto(largest[..., :cells], value, where=wins)
        np.copyto(winner[..., :cells], chosen.astype(np.uint8), where=wins)
    ids[row[:, None], column[None]] = winner


def _may_win(values: np.ndarray, best: np.ndarray) -> np.ndarray:
    """(cells, 4, classes) and the largest class at each corner, (cells, 4) -> which classes may win, (cells, classes).

    The largest of the four winners is nowhere below their mean: what is below that mean at each corner never wins.
    """
    mean = np.take_along_axis(values, best[:, None, :].astype(np.intp), 2).mean(2, keepdims=True)
    alive = (values >= mean).any(1)
    np.put_along_axis(alive, best.astype(np.intp), True, 1)
    return alive


def _max_softmax(corners: np.ndarray, rows: _Axis, columns: _Axis) -> np.ndarray:
    """Max softmax x 255 of each pixel, in bands of rows that stay in a core's cache."""
    planes = corners.transpose(2, 0, 1)
    wide = planes[..., columns.cell] * (1 - columns.weight) + planes[..., columns.cell + 1] * columns.weight
    height, width = len(rows.cell), len(columns.cell)
    confidence = np.empty((height, width), np.uint8)
    step = max(1, _BAND_BYTES // (wide.shape[0] * width * wide.itemsize))
    for top in range(0, height, step):
        cell, weight = rows.cell[top : top + step], rows.weight[top : top + step, None]
        band = wide[:, cell] * (1 - weight) + wide[:, cell + 1] * weight
        band -= band.max(0)
        np.rint(255 / np.exp(band, out=band).sum(0), out=confidence[top : top + step], casting="unsafe")
    return confidence
