"""The report's charts, as plotly figures without colours of their own for text and ground: the page gives these."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import plotly.graph_objects as go

from dcfm_ros.evaluation.report.numbers import Records
from dcfm_ros.imaging.labels import LabelSet

MAX_POINTS = 1500
"""Points of a curve: more than the pixels across a page show nothing and make it slow."""

KEYFRAME, OTHER, FULL_NETWORK = "#e8853d", "#3f7fd1", "#8a8f98"  # apart on light and dark, and for the colour-blind
_CURVES = (OTHER, KEYFRAME, "#2aa198", "#b565c4", FULL_NETWORK)
_FRAME, _AGREEMENT, _MIOU = "frame number", "agreement with the full network, %", "mIoU with the labels, %"


def latency(records: Records, full: Records) -> go.Figure:
    """Milliseconds by frame, keyframes apart; where frames are many, the slowest of each stretch."""
    chart = _figure(_FRAME, "latency, ms", rangemode="tozero")
    for name, some, colour, symbol in (
        ("full network", full, FULL_NETWORK, "line-ew"),
        ("other frame", [one for one in records if not one.is_keyframe], OTHER, "circle"),
        ("keyframe", [one for one in records if one.is_keyframe], KEYFRAME, "diamond"),
    ):
        slowest = [max(stretch, key=lambda one: one.latency_ms) for stretch in _stretches(some)]
        mode = "lines" if some is full else "markers"
        line = {"color": colour, "width": 1}
        chart.add_scatter(
            x=[one.number for one in slowest],
            y=[one.latency_ms for one in slowest],
            name=name,
            mode=mode,
            line=line if mode == "lines" else None,
            marker={"color": colour, "symbol": symbol, "size": 6},
            hovertemplate="frame %{x}: %{y:.1f} ms",
            showlegend=bool(some),
        )
    return chart


def spacing(records: Records) -> go.Figure:
    """Milliseconds from the mask before, by frame; where frames are many, the longest of each stretch."""
    chart = _figure(_FRAME, "time since the mask before, ms", rangemode="tozero")
    apart = [(later.number, (later.stamp_ns - one.stamp_ns) / 1e6) for one, later in pairwise(records)]
    length = stretch_of(len(apart))
    longest = [max(apart[first : first + length], key=lambda at: at[1]) for first in range(0, len(apart), length)]
    chart.add_scatter(
        x=[number for number, _ in longest],
        y=[ms for _, ms in longest],
        mode="lines",
        line={"color": OTHER, "width": 1.5},
        hovertemplate="frame %{x}: %{y:.1f} ms<extra></extra>",
        showlegend=False,
    )
    return chart


def cost(runs: Sequence[Mapping[str, Any]]) -> go.Figure:
    """Draw the mean cost of a frame against how good its mask is: a point for each run, in the order of `runs`."""
    labelled = any(run["miou"] is not None for run in runs)
    key, title = ("miou", _MIOU) if labelled else ("agreement", _AGREEMENT)
    chart = _figure("mean time of a frame, ms", title)
    chart.update_xaxes(rangemode="tozero")
    chart.add_scatter(
        x=[run["mean_ms"] for run in runs],
        y=[_percent(run[key]) for run in runs],
        text=[run["title"] for run in runs],
        mode="markers+text",
        textposition="top center",
        cliponaxis=False,
        marker={"color": [OTHER] * len(runs), "size": [10] * len(runs), "opacity": 1},
        hovertemplate="%{text}: %{x:.1f} ms, %{y:.2f} %<extra></extra>",
        showlegend=False,
    )
    return chart


def distance(runs: Mapping[str, Mapping[str, Any]], key: str) -> go.Figure:
    """A run's `agreement` or `miou` by the distance from the keyframe; runs by their titles."""
    chart = _figure("frames from the keyframe", _MIOU if key == "miou" else _AGREEMENT)
    chart.update_xaxes(dtick=1 if max((len(run["by_distance"]) for run in runs.values()), default=0) < 13 else None)
    for title, run in runs.items():
        measured = [at for at in run["by_distance"] if at[key] is not None]
        chart.add_scatter(
            x=[at["distance"] for at in measured],
            y=[_percent(at[key]) for at in measured],
            text=[at["labelled"] if key == "miou" else at["frames"] for at in measured],
            name=title,
            mode="lines+markers",
            line={"width": 2},
            hovertemplate="%{x} frames away: %{y:.2f} %, over %{text} frames",
        )
    return chart


def classes(by_class: Sequence[Mapping[str, Any]]) -> go.Figure:
    """IoU of each class with the full network's masks and, where there are any, with the labels."""
    there = [one for one in by_class if one["iou_against_full"] is not None or one["iou"] is not None]
    chart = _figure("IoU, %", "", barmode="group", height=100 + 34 * max(1, len(there)))
    chart.update_layout(legend={"traceorder": "reversed"}, showlegend=True)  # bars stand from the bottom up
    for name, key, colour in (
        ("agreement: IoU with the masks of the full network", "iou_against_full", OTHER),
        ("accuracy: IoU with the labels", "iou", KEYFRAME),
    ):
        if all(one[key] is None for one in there):
            continue
        chart.add_bar(
            x=[None if one[key] is None else _percent(one[key]) for one in there][::-1],
            y=[one["class"] for one in there][::-1],
            name=name,
            orientation="h",
            marker={"color": colour},
            hovertemplate="%{y}: %{x:.1f} %",
        )
    chart.update_xaxes(range=[0, 101])
    chart.update_yaxes(automargin=True, ticksuffix=" ")
    return chart


def shares(records: Records, labels: LabelSet) -> go.Figure:
    """Each class's part of the picture over time; where frames are many, the mean of each stretch."""
    chart = _figure(_FRAME, "part of the picture, %")
    stretches = _stretches(records)
    numbers = [stretch[0].number for stretch in stretches]
    values = 100 * np.array([np.mean([one.shares for one in stretch], 0) for stretch in stretches])
    for index, (name, colour) in enumerate(zip(labels.names, labels.colors, strict=True)):
        if not values[:, index].any():
            continue
        chart.add_scatter(
            x=numbers,
            y=values[:, index].round(3),
            name=name,
            mode="lines",
            stackgroup="shares",
            line={"width": 0.5, "color": FULL_NETWORK},
            fillcolor=_css(colour),
            hovertemplate="%{y:.1f} %",
        )
    chart.update_layout(hovermode="x unified")
    chart.update_yaxes(range=[0, 100])
    return chart


def flicker(runs: Mapping[str, Records]) -> go.Figure:
    """The part of the pixels that changed back, by frame; runs by their titles."""
    chart = _figure(_FRAME, "part of the pixels, %", rangemode="tozero")
    for (title, records), colour in zip(runs.items(), (OTHER, FULL_NETWORK), strict=False):
        most = [
            max(stretch, key=lambda one: one.flicker or 0.0)
            for stretch in _stretches([one for one in records if one.flicker is not None])
        ]
        chart.add_scatter(
            x=[one.number for one in most],
            y=[_percent(one.flicker or 0.0) for one in most],
            name=title,
            mode="lines",
            line={"color": colour, "width": 1.5},
            hovertemplate="frame %{x}: %{y:.2f} %",
        )
    return chart


def stretch_of(frames: int) -> int:
    """How many consecutive frames are drawn as one."""
    return max(1, -(-frames // MAX_POINTS))


def _figure(x: str, y: str, rangemode: str = "normal", barmode: str | None = None, height: int = 340) -> go.Figure:
    layout = go.Layout(
        template="none",
        height=height,
        barmode=barmode,
        colorway=_CURVES,
        margin={"l": 56, "r": 16, "t": 16, "b": 48},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        legend={"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0},
        xaxis={"title": {"text": x}, "zeroline": False},
        yaxis={"title": {"text": y}, "zeroline": False, "rangemode": rangemode},
    )
    return go.Figure(layout=layout)


def _stretches(records: Records) -> list[Records]:
    """MAX_POINTS or fewer runs of consecutive records that hold all of them."""
    length = stretch_of(len(records))
    return [records[first : first + length] for first in range(0, len(records), length)]


def _percent(value: float) -> float:
    return round(100 * value, 4)


def _css(colour: Sequence[int]) -> str:
    return f"rgb({colour[0]},{colour[1]},{colour[2]})"
