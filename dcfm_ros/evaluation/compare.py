"""A comparison of two reports: what changed, and how sure that is.

Frames of a video resemble their neighbours, so that drawing single ones would make every interval too narrow: what is
drawn with replacement are segments of consecutive frames (the block bootstrap, Künsch 1989).
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dcfm_ros.evaluation.report.frames import FULL

SEGMENT = 20
"""Frames in a segment: 0.7 s at 30 Hz, and a whole number of the usual keyframe intervals."""

DRAWS = 2000
LEVEL = 0.95
_BOUND = re.compile(r"([^<>=]+)(>=|<=)([+-]?[0-9]+(?:\.[0-9]+)?(?:e[+-]?[0-9]+)?)(%?)")

Weights = np.ndarray
"""(draws, segments): how often each segment was drawn."""


class CompareError(ValueError):
    """Reports that cannot be read or compared, or a bound that says nothing; the message says what was expected."""


@dataclass(frozen=True)
class Report:
    """The contents of a report's folder about the run that it shows.

    metrics: `metrics.json`. frames, full: the rows of `frames.csv` of that run and of the full network, which a
    recorded drive has none of; classes: all of `classes.csv`.
    """

    folder: Path
    metrics: Mapping[str, Any]
    frames: Sequence[Mapping[str, str]]
    full: Sequence[Mapping[str, str]]
    classes: Sequence[Mapping[str, str]]


@dataclass(frozen=True)
class Change:
    """A quantity in both reports, and the difference of the second from the first with its interval (LEVEL).

    Shares and scores lie between 0 and 1; times are milliseconds. `cost` is the mean latency as a part of what the full
    network took on the same frames in the same minutes: of times it alone means something on another or a busy machine.
    """

    name: str
    before: float
    after: float
    low: float
    high: float

    @property
    def difference(self) -> float:
        """The value after, less the value before."""
        return self.after - self.before

    @property
    def is_clear(self) -> bool:
        """Whether the interval leaves no difference out."""
        return self.low > 0 or self.high < 0


@dataclass(frozen=True)
class Bound:
    """A bound of the difference of a quantity: at least (>=) or at most (<=) `value`.

    is_relative: `value` is a fraction of what it was before. It is kept where the whole interval keeps it: what was
    measured on too few frames to tell is not let through by luck.
    """

    text: str
    name: str
    is_lower: bool
    value: float
    is_relative: bool

    def is_kept(self, change: Change) -> bool:
        """change: of the quantity that the bound names."""
        limit = self.value * abs(change.before) if self.is_relative else self.value
        return change.low >= limit if self.is_lower else change.high <= limit


def read_report(folder: Path) -> Report:
    """Raises CompareError when one of its files is missing or is not what `dcfm report` writes."""
    expected = "expected a folder that `dcfm report` wrote"
    try:
        metrics = json.loads((folder / "metrics.json").read_text())
        shown = metrics["shown"]
        rows = list(_rows(folder / "frames.csv"))
        frames, full = ([row for row in rows if row["run"] == run] for run in (shown, FULL))
        report = Report(folder, metrics, frames, full, list(_rows(folder / "classes.csv")))
        metrics["input"]["sha256"], metrics["input"].get("labels_sha256"), metrics["classes"]
    except OSError as error:
        raise CompareError(f"{error.filename} cannot be read ({error.strerror}); {expected}") from error
    except (KeyError, TypeError, ValueError) as error:
        raise CompareError(f"{folder} holds another kind of report ({error!r}); {expected}") from error
    if not frames:
        raise CompareError(f"{folder}/frames.csv has no frame of the run {shown}; {expected}")
    return report


def parse_bound(text: str) -> Bound:
    """From `agreement>=-0.01` or `mean_ms<=10%`. Raises CompareError when it is neither."""
    found = _BOUND.fullmatch(text.replace(" ", ""))
    if found is None:
        raise CompareError(f"{text!r} is no bound; expected a difference, like agreement>=-0.01 or mean_ms<=10%")
    name, sign, value, percent = found.groups()
    return Bound(text, name, sign == ">=", float(value) / (100 if percent else 1), bool(percent))


def check_comparable(before: Report, after: Report, other_input: bool) -> None:
    """Raises CompareError when the classes differ, or the input or its labels do where `other_input` is not set."""
    if before.metrics["classes"] != after.metrics["classes"]:
        raise CompareError(f"{before.folder} and {after.folder} tell other classes apart; expected the same")
    first, second = before.metrics["input"], after.metrics["input"]
    for key, what, shown in (
        ("sha256", "inputs", "path"),
        ("topic", "topics", "topic"),
        ("labels_sha256", "labels", "labels"),
    ):
        if first.get(key) != second.get(key) and not other_input:
            raise CompareError(
                f"{before.folder} and {after.folder} are of different {what}: "
                f"{_both(first.get(shown), second.get(shown))}; expected the same, or --other-input"
            )


def _both(first: str | None, second: str | None) -> str:
    if first == second:
        return f"the files in {first} have changed between them"
    return f"{first or 'none was named'} and {second or 'none was named'}"


def changes(before: Report, after: Report, seed: int = 0) -> list[Change]:
    """Return the change of every quantity that both reports have, in the order of the table.

    Where both are of the same frames each draw takes the same segments of both, which leaves only what changed; else
    each draws its own. The same reports and seed give the same intervals.
    """
    rng = np.random.default_rng(seed)
    first, second = _Segments(before), _Segments(after)
    drawn = first.draw(rng)
    drawn_again = drawn if first.frames == second.frames else second.draw(rng)
    found = []
    quantities = second.quantities()
    for name, quantity in first.quantities().items():
        if name not in quantities:
            continue
        difference = quantities[name](drawn_again) - quantity(drawn)
        low, high = np.nanquantile(difference, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
        whole = float(quantity(first.all)[0]), float(quantities[name](second.all)[0])
        found.append(Change(name, *whole, float(low), float(high)))
    return found


Quantity = Callable[[Weights], np.ndarray]


class _Segments:
    """A report's frames in segments, and its quantities as functions of how often each segment is drawn."""

    def __init__(self, report: Report) -> None:
        self.frames = [(int(row["stream"]), int(row["frame"])) for row in report.frames]
        self._report = report
        self._of_frame = _segments_of(self.frames)
        self._count = int(self._of_frame[-1]) + 1
        self.all = np.ones((1, self._count))

    def draw(self, rng: np.random.Generator) -> Weights:
        return rng.multinomial(self._count, np.full(self._count, 1 / self._count), DRAWS).astype(float)

    def quantities(self) -> dict[str, Quantity]:
        found: dict[str, Quantity] = {}
        for name in ("agreement", "flicker", "is_keyframe"):
            values = self._column(name)
            if np.isfinite(values).any():
                found["keyframes" if name == "is_keyframe" else name] = self._mean_of(values)
        found |= self._of_labels()
        found |= self._of_classes("full")
        latency = self._column("latency_ms")
        if self._report.full:
            in_full = self._summed(np.array([float(row["latency_ms"]) for row in self._report.full]))
            found["cost"] = self._ratio_of(self._summed(latency), in_full)
        found["mean_ms"] = self._mean_of(latency)
        return found | {f"p{p}_ms": self._percentile_of(latency, p / 100) for p in (50, 95, 99)}

    def _column(self, name: str) -> np.ndarray:
        return np.array([float(row[name]) if row[name] else np.nan for row in self._report.frames])

    def _summed(self, values: np.ndarray) -> np.ndarray:
        return np.bincount(self._of_frame, weights=values, minlength=self._count)

    def _mean_of(self, values: np.ndarray) -> Quantity:
        there = np.isfinite(values)
        sums, counts = self._summed(np.where(there, values, 0)), self._summed(there)
        return lambda drawn: _ratio(drawn @ sums, drawn @ counts)

    def _percentile_of(self, values: np.ndarray, share: float) -> Quantity:
        order = np.argsort(values, kind="stable")
        ranked, segments = values[order], self._of_frame[order]

        def percentile(drawn: Weights) -> np.ndarray:
            reached = [np.cumsum(weights[segments]) for weights in drawn]
            return np.array([ranked[np.searchsorted(counts, share * counts[-1])] for counts in reached])

        return percentile

    def _of_labels(self) -> dict[str, Quantity]:
        """Return the mIoU over all classes, as `dcfm evaluate` has it, and each class's; nothing without labels."""
        hits, union = self._pixels("label")
        if not union.any():
            return {}

        def miou(drawn: Weights) -> np.ndarray:
            return np.nan_to_num(_ratio(drawn @ hits.T, drawn @ union.T)).mean(1)

        return {"miou": miou} | self._of_classes("label")

    def _of_classes(self, against: str) -> dict[str, Quantity]:
        """The IoU of each class that appears, against `full` or `label`."""
        hits, union = self._pixels(against)
        names = self._report.metrics["classes"]
        prefix = "iou" if against == "label" else "iou_full"
        there = np.flatnonzero(union.any(1))
        return {f"{prefix}/{names[index]}": self._ratio_of(hits[index], union[index]) for index in there}

    def _pixels(self, against: str) -> np.ndarray:
        """Hits and union: (2, classes, segments)."""
        indices = {name: index for index, name in enumerate(self._report.metrics["classes"])}
        segment = dict(zip((frame for _, frame in self.frames), self._of_frame, strict=True))
        pixels = np.zeros((2, len(indices), self._count))
        for row in self._report.classes:
            if row[f"{against}_union"]:
                at = indices[row["class"]], segment[int(row["frame"])]
                pixels[0][at] += int(row[f"{against}_hits"])
                pixels[1][at] += int(row[f"{against}_union"])
        return pixels

    def _ratio_of(self, above: np.ndarray, below: np.ndarray) -> Quantity:
        return lambda drawn: _ratio(drawn @ above, drawn @ below)


def _ratio(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    """NaN where nothing was measured in what was drawn."""
    return np.divide(above, below, out=np.full(above.shape, np.nan), where=below > 0)


def _segments_of(frames: Sequence[tuple[int, int]]) -> np.ndarray:
    """The segment of each frame: up to SEGMENT consecutive ones of one stream, or fewer where that leaves too few."""
    length = min(SEGMENT, max(1, len(frames) // 10))
    found, segment, filled = [], -1, 0
    for index, (stream, _) in enumerate(frames):
        if index == 0 or filled == length or stream != frames[index - 1][0]:
            segment, filled = segment + 1, 0
        found.append(segment)
        filled += 1
    return np.array(found)


def _rows(path: Path) -> Iterator[dict[str, str]]:
    with path.open(newline="") as file:
        yield from csv.DictReader(file)
