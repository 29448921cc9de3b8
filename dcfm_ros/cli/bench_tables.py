"""Tables and sentences about the measurements of `dcfm bench`."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from rich.table import Table

from dcfm_ros.cli.bench_network import INTERVAL, Pushes, Row
from dcfm_ros.cli.bench_streams import Streams


def network_table(rows: Sequence[Row]) -> Table:
    """Times of the network's own size as ratios to the plain published network of the same run."""
    first = rows[0]
    table = _table(f"{first.config}, {_size(first.size)}, weights: {first.weights}", "")
    _numbers(table, "full ms", "other ms", "full", "other", "K=5", "K=10", "agrees")
    eager_ms = statistics.median(row.full_eager_ms for row in rows)
    table.add_row(f"{first.baseline}, eager", f"{eager_ms:.1f}", "", "1.00", "", "1.0x", "1.0x", "")
    for row in rows:
        table.add_row(
            f"{row.backend} {row.precision}",
            f"{row.full_ms:.1f}",
            f"{row.other_ms:.1f}",
            f"{row.full_ms / row.full_eager_ms:.2f}",
            f"{row.other_ms / row.full_eager_ms:.3f}",
            f"{row.k5_speedup:.1f}x",
            f"{row.k10_speedup:.1f}x",
            f"{row.mask_agreement:.2%}",
        )
    table.caption = (
        "eager: the plain published network in PyTorch, every frame in full. other: frames that reuse a keyframe's "
        f"features, align={first.align}. agrees: with {first.config}'s masks in eager, in full."
    )
    return table


def pushes_table(rows: Sequence[Row]) -> Table:
    """Whole pushes of each backend beside each other."""
    first = rows[0]
    size = _size(first.camera)
    table = _table(f"{first.config}, whole pushes: {size} in, ids of {size} out, K={INTERVAL}, ms", "")
    _numbers(table, "keyframe", "other", "mean", "p95", "p99", "against eager", "async", "sync")
    for row in rows:
        times = (row.push_keyframe_ms, row.push_other_ms, row.push_mean_ms, row.push_p95_ms, row.push_p99_ms)
        table.add_row(
            f"{row.backend} {row.precision}",
            *(f"{value:.1f}" for value in times),
            f"{row.push_k5_speedup:.1f}x",
            f"{row.p99_over_p50:.1f}",
            f"{row.sync_p99_over_p50:.1f}",
        )
    table.caption = (
        "keyframe, other: medians. mean, p95, p99: of all pushes. against eager: how often a mean push fits into "
        f"{first.baseline}'s frame in eager. async, sync: p99/p50 of a camera of {first.rate_hz:g} Hz."
    )
    return table


def stages_table(row: Row, pushes: Pushes) -> Table:
    """Percentiles of whole pushes and of their stages."""
    table = _table(f"{row.config}, {row.backend} {row.precision}, K={INTERVAL}, ms", "frame", "stage")
    _numbers(table, "p50", "p95", "p99")
    for kind, stage, *values in pushes.percentiles():
        table.add_row(kind, stage, *(f"{value:.1f}" for value in values))
    return table


def budget_line(row: Row, pushes: Pushes, budget_ms: float) -> str:
    """Which keyframe interval a budget of milliseconds for the mean push allows."""
    name = f"{row.config}, {row.backend} {row.precision}"
    interval = pushes.interval_within(budget_ms)
    if interval is None:
        other_ms = statistics.mean(pushes.milliseconds("other"))
        return (
            f"{name}: no K keeps the mean push within {budget_ms:g} ms; frames between keyframes take {other_ms:.1f}."
        )
    return (
        f"{name}: K={interval} is the smallest whose mean push, {pushes.mean_at(interval):.1f} ms, is within "
        f"{budget_ms:g} ms."
    )


def streams_table(streams: Streams) -> Table:
    """Return a table of how many frames of each camera were processed and dropped, and how late their masks came."""
    how = f"{streams.keyframe_mode} keyframes"
    table = _table(f"{streams.cameras} cameras at {streams.rate_hz:g} Hz, K=5, {how}")
    _numbers(table, "camera", "processed", "dropped")
    for camera, (processed, dropped) in enumerate(zip(streams.processed, streams.dropped, strict=True)):
        table.add_row(str(camera), str(processed), str(dropped))
    p50, p95, p99 = streams.latency_ms
    table.caption = (
        f"from arrival to mask: p50 {p50:.0f}, p95 {p95:.0f}, p99 {p99:.0f} ms; "
        f"most keyframes of a round: {streams.most_keyframes}"
    )
    return table


def _table(title: str, *columns: str) -> Table:
    table = Table(box=None, header_style="bold", title=title, padding=(0, 1, 0, 0))
    for column in columns:
        table.add_column(column, no_wrap=True)
    return table


def _numbers(table: Table, *columns: str) -> None:
    for column in columns:
        table.add_column(column, justify="right")


def _size(size: tuple[int, int]) -> str:
    return f"{size[0]}x{size[1]}"
