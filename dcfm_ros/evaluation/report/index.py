"""All reports of a fleet side by side: `index.html` and `index.csv`, which lead to each of them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dcfm_ros.evaluation.report.frames import FULL
from dcfm_ros.evaluation.report.numbers import csv_text, mean
from dcfm_ros.evaluation.report.writing import METRICS, REPORT, page_environment
from dcfm_ros.files import write_whole

INDEX, TABLE = "index.html", "index.csv"


@dataclass(frozen=True)
class Entry:
    """name: of the recording and of its report's folder, below the index. reason: why there is no report, or empty."""

    name: str
    reason: str = ""


@dataclass(frozen=True)
class Row:
    """A report's row in the index; times in milliseconds, scores between 0 and 1, None where not measured."""

    recording: str
    frames: int
    keyframes: int
    agreement: float | None
    miou: float | None
    flicker: float | None
    mvc8: float | None
    mean_ms: float | None
    p99_ms: float | None
    speedup: float | None


def write_index(folder: Path, entries: Sequence[Entry]) -> None:
    """Write both files into `folder`, of the reports in its folders."""
    rows = [_row(entry.name, folder / entry.name) for entry in entries if not entry.reason]
    head = list(Row.__dataclass_fields__)
    write_whole(folder / TABLE, csv_text(head, ([getattr(row, name) for name in head] for row in rows)))
    compared = [row for row in rows if row.agreement is not None]
    scores = ("agreement", "miou", "flicker", "mvc8")
    template = page_environment().get_template("index.html")
    page = template.render(
        rows=rows,
        failed=[entry for entry in entries if entry.reason],
        report=REPORT,
        frames=sum(row.frames for row in rows),
        means={name: mean(getattr(row, name) for row in rows) for name in scores},
        worst=min(compared, key=lambda row: row.agreement or 0.0, default=None),
    )
    write_whole(folder / INDEX, page)


def _row(name: str, folder: Path) -> Row:
    metrics: dict[str, Any] = json.loads((folder / METRICS).read_text(encoding="utf-8"))
    scores, runs = metrics["scores"], metrics["times"]["runs"]
    took = runs[metrics["shown"]]
    full_ms = runs.get(FULL, {}).get("mean_ms")
    return Row(
        recording=name,
        **{key: scores[key] for key in ("frames", "keyframes", "agreement", "miou", "flicker", "mvc8")},
        mean_ms=took["mean_ms"],
        p99_ms=took["by_kind"]["all frames"]["total"]["p99"],
        speedup=full_ms / took["mean_ms"] if full_ms and took["mean_ms"] else None,
    )
