"""From the records of a report's runs to its numbers: `metrics.json` and the CSV files."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from dcfm_ros.evaluation.report.frames import FrameRecord, Overlap
from dcfm_ros.streaming.result import STAGES

PERCENTILES = (50, 95, 99)
Records = Sequence[FrameRecord]


def scores(records: Records, names: Sequence[str]) -> dict[str, Any]:
    """Score one run's masks: everything but times, so that equal runs give equal numbers.

    Shares and scores lie between 0 and 1. None: not measured, or a stream too short for it.
    """
    against_label = Overlap.sum(record.against_label for record in records)
    against_full = Overlap.sum(record.against_full for record in records)
    shares = np.mean([record.shares for record in records], 0)
    by_class = [
        {
            "class": name,
            "share": float(shares[index]),
            "iou_against_full": _iou(against_full, index),
            "iou": _iou(against_label, index),
        }
        for index, name in enumerate(names)
    ]
    return {
        "frames": len(records),
        "keyframes": sum(record.is_keyframe for record in records),
        "labelled": sum(record.against_label is not None for record in records),
        "agreement": mean(record.agreement for record in records),
        "miou": None if against_label is None else against_label.miou(),
        "flicker": mean(record.flicker for record in records),
        "by_distance": [_at_distance(records, distance) for distance in sorted({one.distance for one in records})],
        "by_class": by_class,
    }


def times(records: Records) -> dict[str, Any]:
    """Milliseconds: the mean over all frames, and PERCENTILES of each stage and of all of them by kind of frame."""
    kinds = {
        "all frames": records,
        "keyframes": [record for record in records if record.is_keyframe],
        "other frames": [record for record in records if not record.is_keyframe],
    }
    return {
        "mean_ms": mean(record.latency_ms for record in records),
        "by_kind": {kind: _stages(some) for kind, some in kinds.items() if some},
    }


def mean(values: Iterable[float | None]) -> float | None:
    """Over the values that are there; None without any."""
    there = [value for value in values if value is not None]
    return float(np.mean(there)) if there else None


def csv_text(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """A CSV file with a head."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(head)
    writer.writerows(rows)
    return text.getvalue()


def frames_csv(runs: Mapping[str, Records]) -> str:
    """A line for each frame of each run; empty: not measured."""
    head = ["run", "frame", "stream", "stamp_ns", "is_keyframe", "reason", "distance", "agreement", "flicker"]
    rows = (
        [
            *(run, one.number, one.stream, one.stamp_ns, int(one.is_keyframe), one.reason, one.distance),
            *(one.agreement, one.flicker, *(one.stage_ms[stage] for stage in STAGES), one.latency_ms),
        ]
        for run, records in runs.items()
        for one in records
    )
    return csv_text([*head, *(f"{stage}_ms" for stage in STAGES), "latency_ms"], rows)


def classes_csv(records: Records, names: Sequence[str]) -> str:
    """A line for each class that appears in a frame: its share, and its pixels against the full network and labels."""
    head = ["frame", "class", "share", "full_hits", "full_union", "label_hits", "label_union"]
    rows = []
    for one in records:
        for index, name in enumerate(names):
            pixels = [_pixels(overlap, index) for overlap in (one.against_full, one.against_label)]
            if one.shares[index] or any(union for _, union in pixels):
                rows.append([one.number, name, one.shares[index], *pixels[0], *pixels[1]])
    return csv_text(head, rows)


def runs_csv(runs: Mapping[str, Records], names: Sequence[str]) -> str:
    """A line for each run: what it costs and what its masks are like."""
    columns = ("frames", "keyframes", "agreement", "miou", "flicker")
    rows = []
    for run, records in runs.items():
        found, took = scores(records, names), times(records)
        percentiles = took["by_kind"]["all frames"]["total"]
        rows.append([run, *(found[column] for column in columns), took["mean_ms"], *percentiles.values()])
    return csv_text(["run", *columns, "mean_ms", *(f"p{p}_ms" for p in PERCENTILES)], rows)


def _iou(overlap: Overlap | None, index: int) -> float | None:
    """None where neither mask has the class: that says nothing about it."""
    return None if overlap is None or not overlap.union[index] else float(overlap.ious()[index])


def _at_distance(records: Records, distance: int) -> dict[str, Any]:
    there = [record for record in records if record.distance == distance]
    against_label = Overlap.sum(record.against_label for record in there)
    return {
        "distance": distance,
        "frames": len(there),
        "labelled": sum(record.against_label is not None for record in there),
        "agreement": mean(record.agreement for record in there),
        "miou": None if against_label is None else against_label.miou(),
    }


def _stages(records: Records) -> dict[str, dict[str, float]]:
    values = {stage: [record.stage_ms[stage] for record in records] for stage in STAGES}
    values["total"] = [record.latency_ms for record in records]
    return {stage: _percentiles(some) for stage, some in values.items()}


def _percentiles(values: Sequence[float]) -> dict[str, float]:
    found = np.percentile(values, PERCENTILES)
    return {f"p{p}": float(value) for p, value in zip(PERCENTILES, found, strict=True)}


def _pixels(overlap: Overlap | None, index: int) -> tuple[int | None, int | None]:
    return (None, None) if overlap is None else (int(overlap.hits[index]), int(overlap.union[index]))
