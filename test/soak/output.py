"""What a soak leaves: every sample as CSV, a page of charts, and a table for the terminal."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from itertools import groupby
from pathlib import Path
from typing import Any

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from soak.judge import Sample, growth_mb_per_hour, growth_mb_per_trip

_CHARTS = {
    "private_mb": "private memory, MB",
    "rss_mb": "resident memory, MB",
    "threads": "threads",
    "files": "open files",
    "p95_ms": "latency p95, ms",
}

_COLUMNS = (
    *("phase", "min", "sent", "received", "processed", "dropped", "rejected", "skipped"),
    *("round trips", "MB", "MB/h", "MB/trip", "threads", "files"),
)


def write_csv(samples: Sequence[Sample], path: Path) -> None:
    """A row for each sample."""
    rows = [_flat(sample) for sample in samples]
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]) if rows else ())
        writer.writeheader()
        writer.writerows(rows)


def write_charts(samples: Sequence[Sample], path: Path) -> None:
    """Memory, threads, files and latency over the time, a line for each camera of each phase, as a page."""
    chart = make_subplots(len(_CHARTS), 1, shared_xaxes=True, subplot_titles=list(_CHARTS.values()))
    for index, (place, rows) in enumerate(_by_place(samples)):
        for row, what in enumerate(_CHARTS, 1):
            chart.add_trace(
                go.Scatter(
                    x=[sample.seconds / 60 for sample in rows],
                    y=[getattr(sample, what) for sample in rows],
                    name=place,
                    legendgroup=place,
                    showlegend=row == 1,
                    line={"color": f"hsl({67 * index}, 60%, 45%)", "width": 1.5},
                ),
                row,
                1,
            )
    chart.update_xaxes(title_text="minutes", row=len(_CHARTS), col=1)
    chart.update_layout(height=240 * len(_CHARTS), margin={"t": 40})
    chart.write_html(path)


def table(samples: Sequence[Sample]) -> Iterator[str]:
    """A line of Markdown for each camera of each phase."""
    yield f"| {' | '.join(_COLUMNS)} |"
    yield "|---" * len(_COLUMNS) + "|"
    for place, rows in _by_place(samples):
        first, last = rows[len(rows) // 2], rows[-1]
        counts = last.counts
        numbers = (counts.received, counts.processed, counts.dropped, counts.rejected, counts.skipped, last.trips)
        yield (
            f"| {place} | {last.seconds / 60:.1f} | {last.sent} | {' | '.join(map(str, numbers))} "
            f"| {last.private_mb:.0f} | {_slope(growth_mb_per_hour(rows))} | {_slope(growth_mb_per_trip(rows))} "
            f"| {first.threads} to {last.threads} | {first.files} to {last.files} |"
        )


def _by_place(samples: Sequence[Sample]) -> list[tuple[str, list[Sample]]]:
    def place(sample: Sample) -> str:
        return ", ".join(filter(None, (sample.phase, sample.camera)))

    return [(name, list(rows)) for name, rows in groupby(sorted(samples, key=place), place)]


def _flat(sample: Sample) -> dict[str, Any]:
    values = asdict(sample)
    return {name: value for name, value in values.items() if name != "counts"} | values["counts"]


def _slope(value: float | None) -> str:
    return "" if value is None else f"{value:+.1f}"
