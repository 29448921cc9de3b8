"""The network's speed: a backend beside the plain full network in PyTorch eager, in turns, so that ratios hold."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from dcfm_ros.imaging.frame import Frame
from dcfm_ros.imaging.motion import Align
from dcfm_ros.model import DCFM, load_weights
from dcfm_ros.streaming import FixedInterval, Segmentation, StreamSegmenter
from dcfm_ros.streaming.backends.base import Backend
from dcfm_ros.streaming.result import STAGES
from dcfm_ros.streaming.segmenter import KeyframeMode

PACED_FRAMES = 201


@dataclass(frozen=True)
class Row:
    """One backend at one size. Times are medians in milliseconds, of frames of the network's own size.

    full_eager_ms: the plain network in PyTorch, on every frame, as the authors run it. full_ms: this backend, every
    frame in full. other_ms: a frame that is no keyframe, its alignment included. k5_speedup, k10_speedup: of the mean
    frame at such a keyframe interval, against full_eager_ms. p99_over_p50: of the frame times at K=5 and `rate_hz`
    with asynchronous keyframes; sync_p99_over_p50: with keyframes that are waited for.
    mask_agreement: share of pixels whose class is the one that PyTorch in float32 gives, every frame in full.
    """

    config: str
    size: tuple[int, int]
    backend: str
    precision: str
    full_eager_ms: float
    full_ms: float
    other_ms: float
    p99_over_p50: float
    sync_p99_over_p50: float
    k5_speedup: float
    k10_speedup: float
    mask_agreement: float
    align: Align
    rate_hz: float
    description: str


@dataclass(frozen=True)
class Times:
    """Milliseconds: the whole frame and each stage, of keyframes and of the others."""

    keyframes: list[Segmentation]
    others: list[Segmentation]

    def percentiles(self) -> Iterator[tuple[str, str, float, float, float]]:
        """Kind of frame, stage, p50, p95, p99; stages that took no time are left out."""
        for kind, results in (("keyframe", self.keyframes), ("other", self.others)):
            if len(results) < 2:
                continue
            yield kind, "frame", *percentiles([result.total_ms for result in results])
            for stage in STAGES:
                values = [result.stage_ms[stage] for result in results]
                if max(values) > 0.05:
                    yield kind, stage, *percentiles(values)


class Eager:
    """The plain network: pixels to classes, batch norm not folded, every frame in full."""

    def __init__(self, weights: str | os.PathLike[str], device: torch.device) -> None:
        self.model: DCFM = load_weights(weights).to(device)
        self._device = device
        self._mean, self._std = (
            torch.tensor(values, device=device)[:, None, None]
            for values in (self.model.config.mean, self.model.config.std)
        )

    @torch.inference_mode()
    def ids(self, image: np.ndarray) -> np.ndarray:
        """(h, w, 3) uint8 RGB -> (h, w) uint8."""
        pixels = torch.from_numpy(image).to(self._device).permute(2, 0, 1)[None].float() / 255
        return self.model((pixels - self._mean) / self._std).argmax(1)[0].to(torch.uint8).cpu().numpy()


def measure(
    eager: Eager, backend: Backend, frames: Sequence[Frame], rounds: int, rate_hz: float, align: Align
) -> tuple[Row, Times]:
    """The plain network and one backend, in turns: of several in one process each would meet the last one's threads.

    frames: consecutive, of the network's size; three or more.
    """
    run = _Run(backend, (frames[0].height, frames[0].width), align)
    eager_ms = []
    for number in range(rounds + 1):
        first, *others = (frames[(3 * number + i) % len(frames)] for i in range(3))
        began = time.perf_counter()
        reference = eager.ids(first.pixels)
        eager_ms.append((time.perf_counter() - began) * 1e3)
        run.take_turn(first, others, reference)
    return run.row(statistics.median(eager_ms[1:]), frames, rate_hz)  # the first round warms up


class _Run:
    """One backend's times so far."""

    def __init__(self, backend: Backend, size: tuple[int, int], align: Align) -> None:
        self._backend, self._size, self._align = backend, size, align
        self._full = StreamSegmenter(backend, mode="full", input_size=size)
        self._causal = StreamSegmenter(backend, FixedInterval(3), input_size=size, align=align)
        self._full_ms: list[float] = []
        self._other_ms: list[float] = []
        self._agreement: list[float] = []

    def take_turn(self, first: Frame, others: Sequence[Frame], reference: np.ndarray) -> None:
        """A frame in full, and frames that reuse its features."""
        (result,) = self._full.push(first)
        self._full_ms.append(result.total_ms)
        self._agreement.append(float((result.mask == reference).mean()))
        self._causal.restart("next round")
        self._causal.push(first)
        self._other_ms.append(statistics.mean(self._causal.push(frame)[0].total_ms for frame in others))

    def row(self, eager_ms: float, frames: Sequence[Frame], rate_hz: float) -> tuple[Row, Times]:
        """What came of all turns but the first, and of a camera's pace."""
        full, other = statistics.median(self._full_ms[1:]), statistics.median(self._other_ms[1:])
        waited_for, times = self._paced(frames, rate_hz, "sync")
        beside, _ = self._paced(frames, rate_hz, "async")
        row = Row(
            config=self._backend.config.name,
            size=self._size,
            backend=self._backend.description.split()[0],
            precision=self._backend.precision,
            full_eager_ms=eager_ms,
            full_ms=full,
            other_ms=other,
            p99_over_p50=beside,
            sync_p99_over_p50=waited_for,
            k5_speedup=eager_ms / ((full + 4 * other) / 5),
            k10_speedup=eager_ms / ((full + 9 * other) / 10),
            mask_agreement=statistics.mean(self._agreement),
            align=self._align,
            rate_hz=rate_hz,
            description=self._backend.description,
        )
        return row, times

    def _paced(self, frames: Sequence[Frame], rate_hz: float, keyframe_mode: KeyframeMode) -> tuple[float, Times]:
        """p99 over p50 of the frame times of a camera of that rate; who comes late goes on with the newest frame."""
        segmenter = StreamSegmenter(
            self._backend,
            FixedInterval(5),
            input_size=self._size,
            align=self._align,
            keyframe_mode=keyframe_mode,
        )
        segmenter.warm_up(*self._size)
        results = [segmenter.push(forth_and_back(frames, n, rate_hz))[0] for n in arrivals(PACED_FRAMES, rate_hz)]
        segmenter.close()
        results = results[1:]  # the first waits for its keyframe whatever the mode
        p50, _, p99 = percentiles([result.total_ms for result in results])
        return p99 / p50, Times([r for r in results if r.is_keyframe], [r for r in results if not r.is_keyframe])


def arrivals(count: int, rate_hz: float) -> Iterator[int]:
    """Numbers of the frames that are taken, each when it has come: the newest there is, each at most once."""
    began, taken = time.perf_counter(), -1
    while taken < count - 1:
        newest = int((time.perf_counter() - began) * rate_hz)
        if newest <= taken:
            time.sleep(max(0.0, (taken + 1) / rate_hz - (time.perf_counter() - began)))
            newest = taken + 1
        taken = min(newest, count - 1)
        yield taken


def forth_and_back(frames: Sequence[Frame], number: int, rate_hz: float) -> Frame:
    """A frame of an endless drive at that rate: through `frames` and back again, without a jump."""
    turn = 2 * (len(frames) - 1)
    place = number % turn
    return replace(frames[min(place, turn - place)], stamp_ns=1 + round(number * 1e9 / rate_hz))


def percentiles(values: Sequence[float]) -> tuple[float, float, float]:
    """p50, p95 and p99."""
    p50, p95, p99 = np.percentile(values, (50, 95, 99))
    return float(p50), float(p95), float(p99)
