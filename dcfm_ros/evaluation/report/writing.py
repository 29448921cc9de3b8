"""A report's folder: `report.html`, which needs nothing else, `metrics.json` and the CSV files."""

from __future__ import annotations

import base64
import gzip
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jinja2
from plotly.offline import get_plotlyjs

from dcfm_ros.evaluation.report import charts
from dcfm_ros.evaluation.report.document import run_points, run_titles
from dcfm_ros.evaluation.report.frames import FULL, RECORDED
from dcfm_ros.evaluation.report.in_step import Measured
from dcfm_ros.evaluation.report.numbers import PERCENTILES, classes_csv, frames_csv, runs_csv
from dcfm_ros.evaluation.report.summary import advice, ms, percent, summary, warnings
from dcfm_ros.files import write_whole
from dcfm_ros.imaging.labels import LabelSet
from dcfm_ros.streaming.result import STAGES

_STAGES = dict(
    zip(
        STAGES,
        ("resize", "shallow half", "what moved", "deep half", "move deep features", "classes of the pixels"),
        strict=True,
    )
)

REPORT, METRICS, FRAMES, CLASSES, RUNS = "report.html", "metrics.json", "frames.csv", "classes.csv", "runs.csv"


def write_report(folder: Path, measured: Measured, metrics: Mapping[str, Any], labels: LabelSet) -> None:
    """Write everything into `folder`, which is there; metrics: what `document` made of it."""
    shown = measured.runs[measured.shown]
    write_whole(folder / FRAMES, frames_csv(measured.runs))
    write_whole(folder / CLASSES, classes_csv(shown, labels.names))
    write_whole(folder / RUNS, runs_csv(measured.runs, labels.names))
    write_whole(folder / METRICS, json.dumps(metrics, indent=2) + "\n")
    write_whole(folder / REPORT, _page(measured, metrics, labels))


def page_environment() -> jinja2.Environment:
    """Where the pages' templates lie, with the ways that numbers are written in them."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("dcfm_ros.evaluation.report", "page"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "percent": lambda value: _unbroken(percent(value)),
        "percent1": lambda value: _fixed(value, 1),
        "percent2": lambda value: _fixed(value, 2),
        "ms": lambda value: _unbroken(ms(value)),
        "css": lambda colour: "#{:02x}{:02x}{:02x}".format(*colour),
        "unbroken": _unbroken,
    }
    return environment


def _page(measured: Measured, metrics: Mapping[str, Any], labels: LabelSet) -> str:
    points = run_points(metrics)
    return (
        page_environment()
        .get_template("report.html")
        .render(
            metrics=metrics,
            summary=summary(metrics),
            warnings=warnings(metrics),
            advice=advice(metrics),
            live=RECORDED in metrics["runs"] and metrics["drive"] is None,
            points=points,
            stretch=charts.stretch_of(len(measured.runs[measured.shown])),
            titles=run_titles(metrics),
            full=metrics["runs"].get(FULL) if measured.shown != FULL else None,
            stages=_STAGES | {"total": "receipt to publication" if metrics["drive"] else "all stages"},
            percentiles=[f"p{p}" for p in PERCENTILES],
            worst=measured.worst,
            legend=[(name, color) for name, color in zip(labels.names, labels.colors, strict=True)],
            # The whole bundle, packed: plotly's own parts of it are not in its Python package, and unpacked it is 5 MB.
            plotly=base64.b64encode(gzip.compress(get_plotlyjs().encode(), mtime=0)).decode(),
            data=_script_json({"charts": _charts(measured, metrics, labels), "points": points}),
        )
    )


def _charts(measured: Measured, metrics: Mapping[str, Any], labels: LabelSet) -> dict[str, Any]:
    shown = measured.runs[measured.shown]
    titles = run_titles(metrics)
    full = [] if measured.shown == FULL else measured.runs.get(FULL, [])
    reuse = {titles[run]: found for run, found in metrics["runs"].items() if run not in (FULL, RECORDED)}
    flickers = {titles[measured.shown]: shown} | ({titles[FULL]: full} if full else {})
    made = {
        "latency": charts.latency(shown, full),
        "shares": charts.shares(shown, labels),
    }
    if metrics["scores"]["flicker"] is not None:
        made["flicker"] = charts.flicker(flickers)
    if metrics["drive"]:
        made["spacing"] = charts.spacing(shown)
    if FULL in measured.runs:
        made["cost"] = charts.cost(run_points(metrics))
        made["agreement"] = charts.distance(reuse, "agreement")
        made["classes"] = charts.classes(metrics["scores"]["by_class"])
    if metrics["scores"]["miou"] is not None:
        made["miou"] = charts.distance(reuse, "miou")
    return {name: json.loads(chart.to_json()) for name, chart in made.items()}


def _script_json(value: Any) -> str:
    """JSON that no text in it, such as a class's name, can end the script element of."""
    return json.dumps(value, separators=(",", ":")).replace("<", "\\u003c")


def _unbroken(text: str) -> str:
    """A number and its unit stay in a line."""
    return re.sub(r"(?<=\d) (?=%|(ms|s|Hz)\b)", "\u00a0", text)


def _fixed(value: float | None, digits: int) -> str:
    """Percent in a column, where all have as many digits."""
    return percent(None) if value is None else f"{100 * value:.{digits}f} %"
