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

    logits: (classes, h, w) float32, fastest with the classes innermost in memory. They are bilinearly resized to `size`
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
    pixels: (most pixels of a cell, cells), those of each cell; the last is repeated where there are fewer.
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
    within = np.minimum(np.arange(counts.max())[:, None], np.maximum(counts, 1) - 1)
    return _Axis(cell, (position - cell).astype(np.float32), counts.cumsum() - counts + within, counts > 0)


def _ids(corners: np.ndarray, rows: _Axis, columns: _Axis) -> np.ndarray:
    """Return each pixel's largest class.

    A class that is the largest at all four corners of a cell is so in all of it; only the other cells are interpolated.
    """
    best = corners.argmax(2).astype(np.uint8)
    beside, below = best[:, 1:] != best[:, :-1], best[1:] != best[:-1]
    mixed = beside[1:] | below[:, 1:] | below[:, :-1]
    mixed &= rows.filled[:, None] & columns.filled
    # np.take: a quarter of what an index takes.
    ids = np.take(np.take(best, columns.cell, 1), rows.cell, 0)
    y, x = mixed.nonzero()
    step = max(1, _CHUNK_PIXELS // (len(rows.pixels) * len(columns.pixels)))
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
    around = (y + [[0], [0], [1], [1]], x + [[0], [1], [0], [1]])
    values = corners[around]
    alive = _may_win(values, best[around])
    counts = alive.sum(1)
    order = np.argsort(-counts, kind="stable")
    y, x, counts = y[order], x[order], counts[order]
    classes = alive[order].nonzero()[1]
    first = counts.cumsum() - counts

    # np.take and not an index: what that gives lies in memory the other way round, and all below takes thrice as long.
    row, column = np.take(rows.pixels, y, 1)[:, None], np.take(columns.pixels, x, 1)
    down, right = rows.weight[row], columns.weight[column]
    many = int(np.searchsorted(-counts, -2))  # cells with most classes come first
    winner = np.empty((len(row), len(column), len(y)), np.uint8)
    winner[..., many:] = _first_or_second(
        values[:, order[many:]], classes[first[many:]], classes[first[many:] + 1], down[..., many:], right[..., many:]
    )
    if many:
        of_many = values[:, order[:many]]
        winner[..., :many] = _largest(
            of_many, classes, first[:many], counts[:many], down[..., :many], right[..., :many]
        )
    ids.reshape(-1)[row * ids.shape[1] + column] = winner


def _first_or_second(
    values: np.ndarray, one: np.ndarray, other: np.ndarray, down: np.ndarray, right: np.ndarray
) -> np.ndarray:
    """(rows, columns, cells): of two classes of each cell the larger, by the sign of their difference.

    Most cells have two, and this takes a third of what `_largest` does. values: (4, cells, classes); one, other:
    (cells,), the classes, the lower first; down, right: how far each pixel is in its cell.
    """
    cells = np.arange(len(one))
    a, b, c, d = values[:, cells, other] - values[:, cells, one]
    left, change = a + down * (c - a), (b - a) + down * ((d - c) - (b - a))
    wins = right * change > -left
    return one.astype(np.uint8) + wins.view(np.uint8) * (other - one).astype(np.uint8)


def _largest(
    values: np.ndarray,
    classes: np.ndarray,
    first: np.ndarray,
    counts: np.ndarray,
    down: np.ndarray,
    right: np.ndarray,
) -> np.ndarray:
    """(rows, columns, cells): the largest of the classes that each cell has, from its `first` of `classes` on."""
    shape = (down.shape[0], right.shape[0], len(first))
    largest, winner = np.full(shape, -np.inf, np.float32), np.zeros(shape, np.uint8)
    # Those that have a class of this rank are a prefix.
    for rank in range(counts[0]):
        cells = int(np.searchsorted(-counts, -rank))
        chosen = classes[first[:cells] + rank]
        a, b, c, d = values[:, np.arange(cells), chosen]
        left, change = a + down[..., :cells] * (c - a), (b - a) + down[..., :cells] * ((d - c) - (b - a))
        value = right[..., :cells] * change
        value += left
        wins = value > largest[..., :cells]
        np.maximum(largest[..., :cells], value, out=largest[..., :cells])
        # Where it wins, chosen replaces the winner: without a branch, six times as fast as a masked copy.
        winner[..., :cells] += wins.view(np.uint8) * (chosen.astype(np.uint8) - winner[..., :cells])
    return winner


def _may_win(values: np.ndarray, best: np.ndarray) -> np.ndarray:
    """(4, cells, classes) and the largest class at each corner, (4, cells) -> which classes may win, (cells, classes).

    The largest of the four winners is nowhere below their mean: what is below that mean at each corner never wins.
    """
    cells = np.arange(values.shape[1])
    mean = np.stack([values[:, cells, winner] for winner in best]).mean(0)
    alive = np.asarray((values >= mean[..., None]).any(0))
    for winner in best:  # which rounding may have put below the mean
        alive[cells, winner] = True
    return alive


def _max_softmax(corners: np.ndarray, rows: _Axis, columns: _Axis) -> np.ndarray:
    """Max softmax x 255 of each pixel, in bands of rows that stay in a core's cache."""
    planes = np.ascontiguousarray(corners.transpose(2, 0, 1))
    wide = _between(np.take(planes, columns.cell, 2), np.take(planes, columns.cell + 1, 2), columns.weight)
    height, width = len(rows.cell), len(columns.cell)
    confidence = np.empty((height, width), np.uint8)
    step = max(1, _BAND_BYTES // wide[:, 0].nbytes)
    for top in range(0, height, step):
        cell, weight = rows.cell[top : top + step], rows.weight[top : top + step, None]
        band = _between(wide[:, cell], wide[:, cell + 1], weight)
        band -= band.max(0)
        np.rint(255 / np.exp(band, out=band).sum(0), out=confidence[top : top + step], casting="unsafe")
    return confidence


def _between(low: np.ndarray, high: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """`low` where the weight is 0, `high` where it is 1; written into `high`."""
    high -= low
    high *= weight
    high += low
    return high
