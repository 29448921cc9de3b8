"""The worst moments of a recorded drive: where to look in the bag."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from dcfm_ros.evaluation.report.numbers import Records

_EACH = 3
"""Moments of a kind."""


def worst_moments(records: Records, gaps: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The longest gaps between masks, the slowest frames and those that flicker most, in the order of time.

    `frame`, its `seconds` since the first, `what` happened, and the `value`: seconds, milliseconds or a fraction.
    """
    slowest = sorted(records, key=lambda one: -one.latency_ms)
    flickering = sorted((one for one in records if one.flicker), key=lambda one: -(one.flicker or 0.0))
    longest = sorted(gaps, key=lambda gap: -gap["seconds"])
    found = [
        *((records[gap["after_frame"]], "gap", gap["seconds"]) for gap in longest[:_EACH]),
        *((one, "slow", one.latency_ms) for one in slowest[:_EACH]),
        *((one, "flicker", one.flicker) for one in flickering[:_EACH]),
    ]
    first_ns = records[0].stamp_ns
    return [
        {"frame": one.number, "seconds": (one.stamp_ns - first_ns) / 1e9, "what": what, "value": value}
        for one, what, value in sorted(found, key=lambda of: of[0].number)
    ]
