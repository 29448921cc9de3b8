"""Views: the part of a camera's picture that is looked at, and the form in which its mask is published."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import cv2
import numpy as np

from dcfm_ros.imaging.class_map import ClassMap
from dcfm_ros.imaging.compressed import PNG_SIGNATURE, decode_compressed
from dcfm_ros.imaging.encodings import EncodingError
from dcfm_ros.imaging.frame import Frame
from dcfm_ros.imaging.geometry import Size, mask_to_size, resized
from dcfm_ros.imaging.labels import UNLABELLED
from dcfm_ros.imaging.masks import check_mask

Region = tuple[int, int, int, int]  # x, y, width, height


@dataclass(frozen=True, eq=False)
class View:
    """The part of a camera's picture that is looked at, and the form in which its mask is published.

    By default the picture is looked at whole, and the mask published as it is.

    region: x, y, width and height in pixels of the picture; everything else is not looked at.
    ignore: (H, W) uint8, of the picture's size or resized to it; what is not 0 there, such as the bonnet, has no class.
    output_size: (height, width) of the masks; None for the picture's own.
    min_confidence: 0 to 1; pixels whose best class is less probable have no class.
    class_map: other classes than the network's.

    Raises ValueError for values that cannot be these.
    """

    region: Region | None = None
    ignore: np.ndarray | None = None
    output_size: Size | None = None
    min_confidence: float = 0.0
    class_map: ClassMap | None = None

    def __post_init__(self) -> None:
        if self.region is not None and not (min(self.region[:2]) >= 0 and min(self.region[2:]) >= 1):
            raise ValueError(f"region is {self.region}; expected x and y of at least 0, width and height of at least 1")
        if self.ignore is not None:
            check_mask(self.ignore)
        if self.output_size is not None and min(self.output_size) < 1:
            raise ValueError(f"output_size is {self.output_size}; expected a height and a width of at least 1")
        if not 0 <= self.min_confidence <= 1:
            raise ValueError(f"min_confidence is {self.min_confidence}; expected 0 to 1")

    @property
    def needs_confidence(self) -> bool:
        """Whether `finish` must be given a confidence."""
        return self.min_confidence > 0

    def crop(self, frame: Frame) -> Frame:
        """The part of a frame that is looked at, without a copy of its pixels.

        Raises ValueError when the region does not lie inside the frame.
        """
        if self.region is None:
            return frame
        return replace(frame, pixels=frame.pixels[self._inside((frame.height, frame.width))])

    def finish(
        self, mask: np.ndarray, confidence: np.ndarray | None, size: Size
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """Return a cropped frame's mask and confidence as published: for the whole frame, at the output's size.

        mask, confidence: (H, W) uint8 of the cropped frame; ids, and probabilities x 255 or None. Neither is changed.
        size: height and width of the whole frame.

        Pixels outside the region and ignored ones have the id 255 and a confidence of 0; those of too little confidence
        have the id 255. Sizes change by nearest pixel centres, so that every id is one the network gave, and its
        confidence goes with it. With nothing set both come back as they are, not copied.

        Raises ValueError when a size does not fit, or a confidence is needed and not there.
        """
        self._check(mask, confidence, size)
        mask = self._placed(mask, size, UNLABELLED)
        confidence = None if confidence is None else self._placed(confidence, size, 0)
        # What follows looks at each pixel alone, so it may come after the pixels have become fewer. Any id or 255 bit
        # by bit is 255.
        if self.class_map is not None:
            mask = self.class_map.apply(mask)
        if confidence is not None and self.needs_confidence:
            unsure = self._unsure(confidence)
            mask = cv2.bitwise_or(mask, unsure, dst=unsure)  # new memory costs more than the work
        if self._ignored is not None:
            ignored = mask_to_size(mask_to_size(self._ignored, size), self.output_size or size)
            mask = cv2.bitwise_or(mask, ignored)
            confidence = None if confidence is None else cv2.subtract(confidence, ignored)
        return mask, confidence

    def picture(self, frame: Frame) -> Frame:
        """The whole frame at the size of the masks, to show them over; areas are averaged where it shrinks."""
        return replace(frame, pixels=resized(frame.pixels, self.output_size or (frame.height, frame.width)))

    @cached_property
    def _ignored(self) -> np.ndarray | None:
        """The ignore mask of 0 and 255 alone."""
        return None if self.ignore is None else cv2.threshold(self.ignore, 0, 255, cv2.THRESH_BINARY)[1]

    def _unsure(self, confidence: np.ndarray) -> np.ndarray:
        """255 where confidence is below the least, else 0."""
        highest = math.ceil(255 * self.min_confidence) - 1
        return cv2.threshold(confidence, highest, 255, cv2.THRESH_BINARY_INV)[1]

    def _inside(self, size: Size) -> tuple[slice, slice]:
        """The rows and columns of the region within a frame of `size`."""
        x, y, width, height = self.region or (0, 0, size[1], size[0])
        if y + height > size[0] or x + width > size[1]:
            raise ValueError(
                f"region is {width}x{height} at ({x}, {y}); expected it inside the frame of {size[1]}x{size[0]} pixels"
            )
        return slice(y, y + height), slice(x, x + width)

    def _placed(self, values: np.ndarray, size: Size, outside: int) -> np.ndarray:
        """The cropped frame's values at the output's size, with `outside` all around the region."""
        if self.region is not None:
            whole = np.full(size, outside, np.uint8)
            whole[self._inside(size)] = values
            values = whole
        return mask_to_size(values, self.output_size or size)

    def _check(self, mask: np.ndarray, confidence: np.ndarray | None, size: Size) -> None:
        rows, columns = self._inside(size)
        expected = rows.stop - rows.start, columns.stop - columns.start
        for name, values in (("mask", mask), ("confidence", confidence)):
            if values is not None and (values.shape != expected or values.dtype != np.uint8):
                raise ValueError(f"{name} is {values.dtype} {values.shape}; expected uint8 {expected}, as cropped")
        if self.needs_confidence and confidence is None:
            raise ValueError(f"min_confidence is {self.min_confidence}, but there is no confidence; expected one")


def load_ignore_mask(path: str | Path) -> np.ndarray:
    """A PNG as (H, W) uint8, for `View.ignore`: a pixel is ignored where any of its colours is not black.

    Raises ValueError, which names the path, when the file cannot be read, or is no PNG.
    """
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise ValueError(f"the ignore mask {path} cannot be read: {error.strerror}") from error
    if not data.startswith(PNG_SIGNATURE):
        raise ValueError(f"the ignore mask {path} begins with {data[:8]!r}; expected a PNG")
    try:
        frame = decode_compressed(data, "png")
    except EncodingError as error:
        raise ValueError(f"the ignore mask {path} cannot be used: {error}") from error
    return frame.pixels if frame.order == "mono" else frame.pixels.max(axis=2)
