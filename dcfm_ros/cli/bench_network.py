"""The network's speed: a backend beside the plain full network in PyTorch eager, in turns, so that ratios hold."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from dcfm_ros.imaging.frame import Frame
from dcfm_ros.imaging.geometry import network_size
from dcfm_ros.imaging.motion import Align
from dcfm_ros.model import DCFM, ModelConfig, model_config
from dcfm_ros.streaming import StreamOptions, StreamSegmenter
from dcfm_ros.streaming.backends.base import Backend
from dcfm_ros.streaming.options import KeyframeMode
from dcfm_ros.streaming.result import STAGES

PACED_FRAMES = 201
INTERVAL = 5
"""Frames from one keyframe to the next, of whole pushes and of a camera's pace."""

_TURN = 4 * INTERVAL  # pushes


@dataclass(frozen=True)
class Row:
    """One backend at one size. Times are in milliseconds.

    weights: the file's or folder's name, or "random". size: (height, width) of the network's input.
    baseline: the published network that runs in PyTorch eager, see `published`. full_eager_ms: its median time, pixels
    of `size` to classes, on every frame, as the authors run it. full_ms: this backend's, every frame in full. other_ms:
    of a frame that is no keyframe, its alignment included. k5_speedup, k10_speedup: of the mean frame at such a
    keyframe interval, against full_eager_ms. mask_agreement: share of pixels whose class is the one that the same
    network in PyTorch and float32 gives, every frame in full.

    camera: (height, width) of the pictures of whole pushes, and of the masks that come out; see `Pushes`.
    push_keyframe_ms, push_other_ms: medians of keyframes and of the other frames at K=5. push_mean_ms, push_p95_ms,
    push_p99_ms: of all of them. push_k5_speedup: of push_mean_ms against full_eager_ms.
    p99_over_p50: of pushes at K=5 and `rate_hz` with asynchronous keyframes; sync_p99_over_p50: with keyframes that are
    waited for.
    """

    config: str
    weights: str
    size: tuple[int, int]
    backend: str
    precision: str
    baseline: str
    full_eager_ms: float
    full_ms: float
    other_ms: float
    k5_speedup: float
    k10_speedup: float
    mask_agreement: float
    camera: tuple[int, int]
    push_keyframe_ms: float
    push_other_ms: float
    push_mean_ms: float
    push_p95_ms: float
    push_p99_ms: float
    push_k5_speedup: float
    p99_over_p50: float
    sync_p99_over_p50: float
    align: Align
    rate_hz: float
    description: str


@dataclass(frozen=True)
class Push:
    """A whole call of `StreamSegmenter.push`, a camera's picture in and ids of its size out.

    milliseconds: wall time of the call. stage_ms: of its stages, see `Segmentation`.
    """

    milliseconds: float
    is_keyframe: bool
    stage_ms: Mapping[str, float]


class Pushes:
    """The times of whole pushes of a stream, at least of a keyframe and of another frame."""

    def __init__(self, pushes: Sequence[Push]) -> None:
        self.by_kind = {
            "keyframe": [push for push in pushes if push.is_keyframe],
            "other": [push for push in pushes if not push.is_keyframe],
            "all": list(pushes),
        }

    def milliseconds(self, kind: str) -> list[float]:
        """Return the milliseconds of each push of a kind: "keyframe", "other" or "all"."""
        return [push.milliseconds for push in self.by_kind[kind]]

    def mean_at(self, interval: int) -> float:
        """Milliseconds of the mean push at a keyframe interval."""
        keyframe, other = self._means()
        return (keyframe + (interval - 1) * other) / interval

    def interval_within(self, budget_ms: float) -> int | None:
        """The smallest keyframe interval whose mean push takes no longer; None where every one takes longer."""
        keyframe, other = self._means()
        if budget_ms >= keyframe:
            return 1
        if budget_ms <= other:
            return None
        return math.ceil((keyframe - other) / (budget_ms - other))

    def percentiles(self) -> Iterator[tuple[str, str, float, float, float]]:
        """Kind of frame, "push" or stage, p50, p95, p99; stages that took no time are left out."""
        for kind, pushes in self.by_kind.items():
            yield kind, "push", *percentiles(self.milliseconds(kind))
            for stage in STAGES if kind != "all" else ():
                values = [push.stage_ms[stage] for push in pushes]
                if max(values) > 0.05:
                    yield kind, stage, *percentiles(values)

    def _means(self) -> tuple[float, float]:
        return statistics.mean(self.milliseconds("keyframe")), statistics.mean(self.milliseconds("other"))


class Eager:
    """A plain network in PyTorch: pixels to classes, batch norm not folded, every frame in full."""

    def __init__(self, model: DCFM, device: torch.device) -> None:
        self.model = model.to(device).eval()
        self._device = device
        self._mean, self._std = (
            torch.tensor(values, device=device)[:, None, None] for values in (model.config.mean, model.config.std)
        )

    @torch.inference_mode()
    def ids(self, image: np.ndarray) -> np.ndarray:
        """(h, w, 3) uint8 RGB -> (h, w) uint8."""
        pixels = torch.from_numpy(image).to(self._device).permute(2, 0, 1)[None].float() / 255
        return self.model((pixels - self._mean) / self._std).argmax(1)[0].to(torch.uint8).cpu().numpy()


def published(config: ModelConfig) -> ModelConfig:
    """Return the published network that a network is measured against.

    That is the network itself, or for one of the real-time networks, which are not the authors', their smallest with as
    many classes.
    """
    if not config.backbone.startswith("efficientnet"):
        return config
    name = f"{config.label_set}_resnet18".removeprefix("_")
    return replace(
        model_config("camvid_resnet18"), name=name, num_classes=config.num_classes, label_set=config.label_set
    )


@dataclass(frozen=True)
class Drive:
    """Consecutive frames, of the network's own size and of the camera's; three or more of each."""

    frames: Sequence[Frame]
    pictures: Sequence[Frame]
    rate_hz: float


def measure(
    plain: Eager, own: Eager, backend: Backend, weights: str, drive: Drive, rounds: int, align: Align
) -> tuple[Row, Pushes]:
    """Measure the plain published network and one backend, in turns.

    Of several backends in one process each would meet the last one's threads.

    own: the backend's network in PyTorch, whose masks are the reference; may be `plain`. weights: as the row names
    them.
    """
    run = _Run(backend, drive, align)
    eager_ms = []
    for number in range(rounds + 1):
        first, *others = (drive.frames[(3 * number + i) % len(drive.frames)] for i in range(3))
        began = time.perf_counter()
        ids = plain.ids(first.pixels)
        eager_ms.append((time.perf_counter() - began) * 1e3)
        run.take_turn(first, others, ids if own is plain else own.ids(first.pixels))
    return run.row(weights, plain.model.config.name, statistics.median(eager_ms[1:]))  # the first round warms up


class _Run:
    """One backend's times so far."""

    def __init__(self, backend: Backend, drive: Drive, align: Align) -> None:
        self._backend, self._drive, self._align = backend, drive, align
        self._size = drive.frames[0].height, drive.frames[0].width
        self._camera = drive.pictures[0].height, drive.pictures[0].width
        self._full = StreamSegmenter(backend, StreamOptions(mode="full", input_size=self._size))
        self._causal = StreamSegmenter(backend, StreamOptions(keyframe_interval=3, input_size=self._size, align=align))
        self._stream = self._of_the_camera("sync")
        self._full_ms: list[float] = []
        self._other_ms: list[float] = []
        self._agreement: list[float] = []
        self._pushes: list[Push] = []

    def take_turn(self, first: Frame, others: Sequence[Frame], reference: np.ndarray) -> None:
        """A frame in full, frames that reuse its features, and some more of the camera's stream."""
        (result,) = self._full.push(first)
        self._full_ms.append(result.total_ms)
        self._agreement.append(float((result.mask == reference).mean()))
        self._causal.restart("next round")
        self._causal.push(first)
        self._other_ms.append(statistics.mean(self._causal.push(frame)[0].total_ms for frame in others))
        for _ in range(_TURN):
            self._pushes.append(self._pushed(self._stream, len(self._pushes)))

    def row(self, weights: str, baseline: str, eager_ms: float) -> tuple[Row, Pushes]:
        """Return the figures of all turns but the first, and of a camera's pace."""
        full, other = statistics.median(self._full_ms[1:]), statistics.median(self._other_ms[1:])
        pushes = Pushes(self._pushes[_TURN:])
        _, p95, p99 = percentiles(pushes.milliseconds("all"))
        row = Row(
            config=self._backend.config.name,
            weights=weights,
            size=self._size,
            backend=self._backend.description.split()[0],
            precision=self._backend.precision,
            baseline=baseline,
            full_eager_ms=eager_ms,
            full_ms=full,
            other_ms=other,
            k5_speedup=eager_ms / ((full + 4 * other) / 5),
            k10_speedup=eager_ms / ((full + 9 * other) / 10),
            mask_agreement=statistics.mean(self._agreement),
            camera=self._camera,
            push_keyframe_ms=statistics.median(pushes.milliseconds("keyframe")),
            push_other_ms=statistics.median(pushes.milliseconds("other")),
            push_mean_ms=pushes.mean_at(INTERVAL),
            push_p95_ms=p95,
            push_p99_ms=p99,
            push_k5_speedup=eager_ms / pushes.mean_at(INTERVAL),
            p99_over_p50=self._paced("async"),
            sync_p99_over_p50=self._paced("sync"),
            align=self._align,
            rate_hz=self._drive.rate_hz,
            description=self._backend.description,
        )
        return row, pushes

    def _paced(self, keyframe_mode: KeyframeMode) -> float:
        """Return p99 over p50 of the pushes of a camera of that rate; a late one continues with the newest frame."""
        segmenter = self._of_the_camera(keyframe_mode)
        segmenter.warm_up(*self._camera)
        pushes = [self._pushed(segmenter, number) for number in arrivals(PACED_FRAMES, self._drive.rate_hz)]
        segmenter.close()
        # The first waits for its keyframe whatever the mode.
        p50, _, p99 = percentiles([push.milliseconds for push in pushes[1:]])
        return p99 / p50

    def _of_the_camera(self, keyframe_mode: KeyframeMode) -> StreamSegmenter:
        """A stream of the camera's pictures, which the network sees in their aspect with as many pixels as its own."""
        options = StreamOptions(
            keyframe_interval=INTERVAL,
            input_size=network_size(*self._camera, self._size, self._backend.config.size_multiple),
            align=self._align,
            keyframe_mode=keyframe_mode,
        )
        return StreamSegmenter(self._backend, options)

    def _pushed(self, segmenter: StreamSegmenter, number: int) -> Push:
        frame = forth_and_back(self._drive.pictures, number, self._drive.rate_hz)
        began = time.perf_counter()
        (result,) = segmenter.push(frame)
        return Push((time.perf_counter() - began) * 1e3, result.is_keyframe, result.stage_ms)


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
