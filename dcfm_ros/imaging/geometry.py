"""Sizes: a source's picture to the network's input, and masks to the size somebody wants."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import lru_cache

import cv2
import numpy as np

from dcfm_ros.imaging.encodings import to_rgb
from dcfm_ros.imaging.frame import Frame
from dcfm_ros.imaging.masks import check_mask

Size = tuple[int, int]  # height, width


def network_size(height: int, width: int, trained_size: Size, multiple: int) -> Size:
    """The (height, width) at which a source of `height` x `width` pixels goes through the network.

    The source's aspect ratio at the pixel count of `trained_size`, each side rounded to the nearest multiple of
    `multiple` and at least one: weights do best on objects of the size they were trained on.

    Raises ValueError when a side or `multiple` is below 1.
    """
    for name, value in (("height", height), ("width", width), ("multiple", multiple)):
        if value < 1:
            raise ValueError(f"{name} is {value}; expected at least 1")
    if min(trained_size) < 1:
        raise ValueError(f"trained_size is {trained_size}; expected a height and a width of at least 1")
    scale = math.sqrt(trained_size[0] * trained_size[1] / (height * width))
    return _nearest_multiple(height * scale, multiple), _nearest_multiple(width * scale, multiple)


def resize_to_network(frame: Frame, size: Size) -> np.ndarray:
    """The frame at `size` (height, width), as (height, width, 3) uint8 RGB, contiguous.

    Resamples as `resized` does; a picture that has the size already is not resampled
    (and comes back as it is when it also is contiguous RGB, read-only where the frame is).

    Raises ValueError when a side of `size` is below 1.
    """
    # Channels are put in order last, when there are fewer pixels. A reversed view first would not be free either:
    # OpenCV copies what has negative strides.
    return to_rgb(replace(frame, pixels=resized(frame.pixels, size)))


def resized(pixels: np.ndarray, size: Size) -> np.ndarray:
    """Pixels, (H, W) or (H, W, C) uint8, at `size` (height, width).

    Along each side they are averaged over the largest whole number of pixels that fits into the ratio; what remains,
    less than a factor of two, is interpolated linearly: averages over other areas take OpenCV seven times as long.
    Pixels that have the size already come back as they are. Raises ValueError when a side of `size` is below 1.
    """
    _check_size(size)
    height, width = pixels.shape[:2]
    if (height, width) == tuple(size):
        return pixels
    down, along = max(1, height // size[0]), max(1, width // size[1])
    if down > 1 or along > 1:
        # A side that is no multiple is not cut: OpenCV then averages over a little more than that number.
        pixels = cv2.resize(pixels, (width // along, height // down), interpolation=cv2.INTER_AREA)
    return cv2.resize(pixels, size[::-1], interpolation=cv2.INTER_LINEAR)


def mask_to_size(mask: np.ndarray, size: Size) -> np.ndarray:
    """Class ids, (H, W) uint8, at `size` (height, width): each pixel takes the id at its centre, so none is invented.

    A centre on the edge between two pixels takes the one behind it (to the right, below). OpenCV's own nearest pixels
    differ there between 4.x and 5.0. A mask that has the size already comes back as it is.
    Raises ValueError when the mask is not (H, W) uint8, is empty, or a side of `size` is below 1.
    """
    check_mask(mask)
    _check_size(size)
    if mask.shape == tuple(size):
        return mask
    rows, columns = (_nearest(source, target) for source, target in zip(mask.shape, size, strict=True))
    if size[0] < mask.shape[0]:  # the axis that leaves less to do goes first
        return mask.take(rows, 0).take(columns, 1)
    return mask.take(columns, 1).take(rows, 0)


@lru_cache(maxsize=16)
def _nearest(source: int, target: int) -> np.ndarray:
    """For each of `target` pixels of a side, the one of `source` that its centre lies in."""
    return (2 * np.arange(target) + 1) * source // (2 * target)


def _nearest_multiple(length: float, multiple: int) -> int:
    # Not round(): that goes to the even neighbour, so equal remainders would go up for one side and down for the other.
    return max(1, math.floor(length / multiple + 0.5)) * multiple


def _check_size(size: Size) -> None:
    if min(size) < 1:
        raise ValueError(f"size is {size}; expected a height and a width of at least 1")
