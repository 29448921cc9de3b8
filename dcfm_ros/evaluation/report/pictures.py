"""The frames that went worst, as pictures that fit into a page."""

from __future__ import annotations

import base64
import bisect
from dataclasses import dataclass, field

import cv2
import numpy as np

from dcfm_ros.evaluation.report.frames import FrameRecord
from dcfm_ros.evaluation.report.inputs import Sample
from dcfm_ros.imaging.compressed import encode_jpeg
from dcfm_ros.imaging.encodings import to_rgb
from dcfm_ros.imaging.frame import Frame
from dcfm_ros.imaging.geometry import mask_to_size
from dcfm_ros.imaging.labels import UNLABELLED, LabelSet
from dcfm_ros.imaging.overlay import colorize

KEPT = 6
APART = 10
"""Frames between two that are kept: the neighbours of a bad frame are as bad, and show nothing new."""

_WIDTH = 560
_DIFFERENT = (0, 229, 255)  # no class of a street has it, and on dark grey everybody sees it
_JPEG_QUALITY = 75


@dataclass(frozen=True, order=True)
class WorstFrame:
    """A frame, its masks and where they differ, as `data:` addresses of images at most 560 pixels wide, by caption.

    name: where a person finds the frame.
    """

    agreement: float
    number: int
    name: str = field(compare=False)
    distance: int = field(compare=False)
    images: dict[str, str] = field(compare=False)


class WorstFrames:
    """Keeps the frames on which a run agrees the least with the full network, however many are offered."""

    def __init__(self, labels: LabelSet) -> None:
        self._labels = labels
        self._kept: list[WorstFrame] = []  # the worst first

    def offer(self, record: FrameRecord, sample: Sample, mask: np.ndarray, full: np.ndarray) -> None:
        """The next frame of the run; it is drawn only where it will be kept."""
        assert record.agreement is not None
        if record.agreement == 1 or not self._is_wanted(record.agreement, record.number):
            return
        near = [kept for kept in self._kept if abs(kept.number - record.number) < APART]
        self._kept = [kept for kept in self._kept if kept not in near]
        images = self._images(sample.frame, mask, full, sample.label)
        bisect.insort(self._kept, WorstFrame(record.agreement, record.number, sample.name, record.distance, images))
        del self._kept[KEPT:]

    def pictures(self) -> list[WorstFrame]:
        """Those that are kept, the worst first."""
        return list(self._kept)

    def _is_wanted(self, agreement: float, number: int) -> bool:
        near = [kept.agreement for kept in self._kept if abs(kept.number - number) < APART]
        if near:
            return agreement < min(near)
        return len(self._kept) < KEPT or agreement < self._kept[-1].agreement

    def _images(self, frame: Frame, mask: np.ndarray, full: np.ndarray, label: np.ndarray | None) -> dict[str, str]:
        scale = min(1.0, _WIDTH / frame.width)
        size = (max(1, round(frame.height * scale)), max(1, round(frame.width * scale)))
        picture = cv2.resize(to_rgb(frame), size[::-1], interpolation=cv2.INTER_AREA)
        small, small_full = mask_to_size(mask, size), mask_to_size(full, size)
        images = {
            "The camera's picture": _jpeg(picture),
            "Where mask and full network differ": _jpeg(_marked(picture, small != small_full)),
            "The mask": _png(colorize(small, self._labels)),
            "The full network's mask": _png(colorize(small_full, self._labels)),
        }
        if label is not None:
            small_label = mask_to_size(label, size)
            wrong = (small != small_label) & (small_label != UNLABELLED)
            images["The label"] = _png(colorize(small_label, self._labels))
            images["Where mask and label differ"] = _jpeg(_marked(picture, wrong))
        return images


def _marked(picture: np.ndarray, where: np.ndarray) -> np.ndarray:
    """The picture in dark grey, with the pixels in question in colour."""
    dark = cv2.cvtColor(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY) // 2, cv2.COLOR_GRAY2RGB)
    dark[where] = _DIFFERENT
    return dark


def _jpeg(rgb: np.ndarray) -> str:
    return _address("jpeg", encode_jpeg(rgb, _JPEG_QUALITY))


def _png(rgb: np.ndarray) -> str:
    bgr = cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR)
    return _address("png", cv2.imencode(".png", bgr, [cv2.IMWRITE_PNG_COMPRESSION, 9])[1].tobytes())


def _address(kind: str, data: bytes) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"
