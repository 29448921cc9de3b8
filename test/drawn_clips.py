"""Clips that are drawn when they are read, and a network that is arithmetic: what a mask must be is known by hand."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

from dcfm_ros.datasets.dataset import Clip, Dataset
from dcfm_ros.imaging.labels import CAMVID
from dcfm_ros.model import model_config
from dcfm_ros.streaming import StreamOptions
from dcfm_ros.streaming.options import Mode

SIZE = (8, 12)


class Stale:
    """A backend whose mask is the class of the keyframe: right on keyframes, wrong when the class has changed since.

    It can neither align nor tell changes, nor compute keyframes in the background.
    seen: the value of the top left pixel of every image that was encoded.
    """

    config = replace(model_config("camvid_resnet18"), input_size=(32, 48))
    precision = "fp32"
    description = "stale"
    selection = ""

    def __init__(self) -> None:
        self.seen: list[int] = []

    def encode_shallow(self, image: np.ndarray) -> np.ndarray:
        self.seen.append(int(image[0, 0, 0]))
        return image[..., 0].astype(np.int64)

    def encode_common(self, shallow: np.ndarray) -> np.ndarray:
        return shallow

    def decide(
        self, commons: Sequence[np.ndarray], shallow: np.ndarray, size: tuple[int, int], confidence: bool
    ) -> tuple[np.ndarray, None]:
        return self.mask(commons, shallow, size), None

    def align(self, common: np.ndarray, grid: np.ndarray) -> np.ndarray:
        raise NotImplementedError

    def change(self, shallow: np.ndarray, reference: np.ndarray) -> float:
        raise NotImplementedError

    def background(self) -> AbstractContextManager[None]:
        raise NotImplementedError

    def mask(self, commons: Sequence[np.ndarray], shallow: np.ndarray, size: tuple[int, int]) -> np.ndarray:
        return np.full(size, commons[0][0, 0], np.uint8)


class Mixed(Stale):
    """A backend whose mask depends on every pixel of the frame and of each of its keyframes."""

    def mask(self, commons: Sequence[np.ndarray], shallow: np.ndarray, size: tuple[int, int]) -> np.ndarray:
        ids = (3 * sum(commons) + shallow) % len(CAMVID)
        return cv2.resize(ids.astype(np.uint8), size[::-1], interpolation=cv2.INTER_NEAREST)


class Drawn(Dataset):
    """Each clip is frame number -> class, and shows nothing but that class; `labelled`: numbers, or all of them."""

    def __init__(self, *clips: Mapping[int, int], labelled: Collection[int] | None = None) -> None:
        self._classes: dict[Path, int] = {}
        found = []
        for name, clip in enumerate(clips):
            paths = {number: Path(f"{name}/{number}") for number in clip}
            self._classes |= {path: clip[number] for number, path in paths.items()}
            labels = {number: path for number, path in paths.items() if labelled is None or number in labelled}
            found.append(Clip.of(str(name), paths, labels))
        super().__init__("drawn", CAMVID, found)

    def image(self, clip: Clip, index: int) -> np.ndarray:
        return np.full((*SIZE, 3), self._classes[clip.frames[index]], np.uint8)

    def label(self, clip: Clip, index: int) -> np.ndarray | None:
        return np.full(SIZE, self._classes[clip.frames[index]], np.uint8) if index in clip.labels else None

    def decode(self, ids: np.ndarray, path: Path) -> np.ndarray:
        return ids


class Random(Drawn):
    """Every frame and label is noise of its own."""

    def image(self, clip: Clip, index: int) -> np.ndarray:
        return np.random.default_rng(clip.numbers[index]).integers(0, 256, (*SIZE, 3), np.uint8)

    def label(self, clip: Clip, index: int) -> np.ndarray | None:
        rng = np.random.default_rng(1000 + clip.numbers[index])
        return rng.integers(0, len(CAMVID), SIZE, np.uint8) if index in clip.labels else None


def video(*classes: int) -> dict[int, int]:
    """A clip of frames 0, 1, 2, ..."""
    return dict(enumerate(classes))


def options(mode: Mode = "causal", interval: int = 5) -> StreamOptions:
    """Features stay where they are: these networks have no `align`."""
    return StreamOptions(mode=mode, align="none", keyframe_interval=interval)
