"""Class ids and confidence of every pixel from logits on their grid, in one Triton kernel."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

_BLOCK = (4, 64)


def ids_in_one_kernel(logits: Tensor, size: tuple[int, int], confidence: bool) -> tuple[Tensor, Tensor | None]:
    """Return ids and, when asked for, max softmax x 255 of logits, computed in float32.

    logits: (classes, h, w) float16, bfloat16 or float32, in any layout. Both results are (height, width) uint8 on the
    same device; as `imaging.logits.ids_from_logits` gives them.
    """
    classes, *grid = logits.shape
    height, width = size
    ids = torch.empty(size, dtype=torch.uint8, device=logits.device)
    max_softmax = torch.empty_like(ids) if confidence else None
    blocks = (triton.cdiv(width, _BLOCK[1]), triton.cdiv(height, _BLOCK[0]))
    inputs = (logits, ids, max_softmax, classes, *grid, *logits.stride(), *size, *_BLOCK, confidence)
    # Said here because Triton's own choice changes with its version, and the last bits with that.
    _decide[blocks](*inputs, enable_fp_fusion=True)
    return ids, max_softmax


@triton.jit
def _decide(
    logits: tl.tensor,
    ids: tl.tensor,
    max_softmax: tl.tensor,
    classes: tl.tensor,
    rows: tl.tensor,
    columns: tl.tensor,
    class_stride: tl.tensor,
    row_stride: tl.tensor,
    column_stride: tl.tensor,
    height: tl.tensor,
    width: tl.tensor,
    block_height: tl.constexpr,
    block_width: tl.constexpr,
    with_confidence: tl.constexpr,
) -> None:
    """A block of pixels: their classes one after another, with a running maximum and sum of exponentials."""
    y = tl.program_id(1) * block_height + tl.arange(0, block_height)[:, None]
    x = tl.program_id(0) * block_width + tl.arange(0, block_width)[None, :]
    top, bottom, down = _neighbours(y, rows, height)
    left, right, along = _neighbours(x, columns, width)
    top_left = logits + top * row_stride + left * column_stride
    top_right = logits + top * row_stride + right * column_stride
    bottom_left = logits + bottom * row_stride + left * column_stride
    bottom_right = logits + bottom * row_stride + right * column_stride

    largest = tl.full((block_height, block_width), float("-inf"), tl.float32)
    winner = tl.zeros((block_height, block_width), tl.int32)
    total = tl.zeros((block_height, block_width), tl.float32)
    for k in range(classes):
        offset = k * class_stride
        a = tl.load(top_left + offset).to(tl.float32)
        b = tl.load(top_right + offset).to(tl.float32)
        c = tl.load(bottom_left + offset).to(tl.float32)
        d = tl.load(bottom_right + offset).to(tl.float32)
        above = a + along * (b - a)
        below = c + along * (d - c)
        value = above + down * (below - above)
        larger = tl.maximum(largest, value)
        winner = tl.where(value > largest, k, winner)
        if with_confidence:
            total = total * tl.exp(largest - larger) + tl.exp(value - larger)
        largest = larger

    inside = (y < height) & (x < width)
    pixel = y * width + x
    tl.store(ids + pixel, winner.to(tl.uint8), mask=inside)
    if with_confidence:
        tl.store(max_softmax + pixel, (255 / total + 0.5).to(tl.uint8), mask=inside)


@triton.jit
def _neighbours(pixel: tl.tensor, places: tl.tensor, length: tl.tensor) -> tuple[tl.tensor, tl.tensor, tl.tensor]:
    """The places of the grid before and after each pixel of a side, and how far it is between them, from 0 to 1."""
    position = tl.maximum((pixel + 0.5) * places / length - 0.5, 0.0)
    # Beyond the last place, as pixels outside the picture are too, the last one counts.
    before = tl.minimum(position.to(tl.int32), places - 1)
    after = tl.minimum(before + 1, places - 1)
    return before, after, position - before
