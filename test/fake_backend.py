"""A backend that tells what it was asked."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from dcfm_ros.imaging.frame import Frame
from dcfm_ros.model import model_config
from dcfm_ros.streaming import Schedule, StreamOptions, StreamSegmenter
from dcfm_ros.streaming.backends.base import Backend
from dcfm_ros.streaming.keyframes import KeyframeWorker

SECOND = 1_000_000_000


@dataclass
class FakeBackend:
    """Features are what the frame's first pixel says; a mask's id is the frame's, and `decided` says the rest."""

    fail_on: str = ""
    calls: list[str] = field(default_factory=list)
    decided: dict[int, list[int]] = field(default_factory=dict)
    sizes: list[tuple[int, ...]] = field(default_factory=list)
    grids: list[np.ndarray] = field(default_factory=list)
    threads: list[int] = field(default_factory=list)
    let_through: threading.Event = field(default_factory=threading.Event)

    config = model_config("camvid_resnet18")
    precision = "fp32"
    description = "fake"
    selection = ""

    def encode_shallow(self, image: np.ndarray) -> int:
        self._called(f"shallow {image[0, 0, 0]}")
        self.sizes.append(image.shape)
        return int(image[0, 0, 0])

    def encode_common(self, shallow: int) -> int:
        self._called(f"common {shallow}")
        return shallow

    def decide(
        self, commons: Sequence[int], shallow: int, size: tuple[int, int], confidence: bool
    ) -> tuple[np.ndarray, np.ndarray | None]:
        self._called(f"decide {shallow}")
        self.decided[shallow] = list(commons)
        return np.full(size, shallow, np.uint8), np.full(size, 200, np.uint8) if confidence else None

    def align(self, common: int, grid: np.ndarray) -> int:
        self._called(f"align {common}")
        self.grids.append(grid)
        return common

    def change(self, shallow: int, reference: int) -> float:
        self._called(f"change {shallow} {reference}")
        return abs(shallow - reference) / 10

    @contextmanager
    def background(self) -> Iterator[None]:
        """`encode_common` waits here, in the thread of its own, until `let_through` is set."""
        self.threads.append(threading.get_ident())
        assert self.let_through.wait(20)
        yield

    def _called(self, call: str) -> None:
        self.calls.append(call)
        if call == self.fail_on:
            raise RuntimeError(call)


def frame(value: int, stamp: float | None = None, size: tuple[int, int] = (6, 8), encoding: str = "rgb8") -> Frame:
    """A picture of one colour; frames follow each other by a tenth of a second."""
    stamp = 10 + value / 10 if stamp is None else stamp
    return Frame(np.full((*size, 3), value, np.uint8), stamp_ns=round(stamp * SECOND), encoding=encoding)


def stream_of(
    backend: Backend, schedule: Schedule | None = None, worker: KeyframeWorker | None = None, **options: Any
) -> StreamSegmenter:
    """A segmenter of these options that leaves features where they were, unless told otherwise."""
    return StreamSegmenter(backend, StreamOptions(**{"align": "none"} | options), schedule, worker)
