"""The contents of `~/timing` for a frame, as texts in a message and as a row of a table; ROS itself is not needed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from dcfm_ros.imaging.labels import LabelSet
from dcfm_ros.streaming.result import Segmentation


@dataclass(frozen=True)
class Timing:
    """Times in milliseconds, ages in frames and seconds.

    keyframe_index: number of the keyframe that the mask was made from. background_ms: what that keyframe took in
    the background, told with the first frame that uses it. latency_ms: from receipt to the mask's publication.
    shares: each class's part of the picture.
    """

    index: int
    is_keyframe: bool
    reason: str
    keyframe_index: int
    age_frames: int
    age_s: float
    prepare_ms: float
    shallow_ms: float
    motion_ms: float
    common_ms: float
    align_ms: float
    decide_ms: float
    background_ms: float
    latency_ms: float
    shares: dict[str, float]


TIMING_COLUMNS = ("index", "stamp", *(name for name in Timing.__dataclass_fields__ if name not in ("index", "shares")))
"""The columns of a table with a row for each frame."""


def timing_of(result: Segmentation, latency_ms: float, labels: LabelSet) -> Timing:
    """The timing of one result."""
    return Timing(
        index=result.index,
        is_keyframe=result.is_keyframe,
        reason=result.reason,
        keyframe_index=result.keyframe_index,
        age_frames=result.keyframe_age_frames,
        age_s=result.keyframe_age_s,
        **{f"{stage}_ms": value for stage, value in result.stage_ms.items()},
        background_ms=result.background_ms,
        latency_ms=latency_ms,
        shares=shares_of(result.mask, labels),
    )


def shares_of(mask: np.ndarray, labels: LabelSet) -> dict[str, float]:
    """Each class's part of a mask."""
    counts = np.bincount(mask.ravel(), minlength=len(labels))
    return {name: float(counts[i]) / mask.size for i, name in enumerate(labels.names)}


def timing_texts(timing: Timing) -> dict[str, str]:
    """The keys and values of the message: one for each field, and `share/<class>` for each class."""
    fields = {name: value for name, value in vars(timing).items() if name != "shares"}
    fields |= {f"share/{name}": round(share, 5) for name, share in timing.shares.items()}
    return {key: _text(value) for key, value in fields.items()}


def read_timing(message: Any) -> Timing:
    """The timing in a diagnostic_msgs/DiagnosticArray, whoever deserialised it, that holds `timing_texts`.

    Raises ValueError when the message is another one.
    """
    try:
        return _timing({pair.key: pair.value for pair in message.status[0].values})
    except (IndexError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"this is not a timing message: {error!r}") from error


def timing_row(stamp_ns: int, timing: Timing) -> dict[str, Any]:
    """A row of TIMING_COLUMNS; the stamp in seconds, with all its nanoseconds."""
    values = {name: getattr(timing, name) for name in TIMING_COLUMNS if name != "stamp"}
    return values | {
        "stamp": f"{stamp_ns // 10**9}.{stamp_ns % 10**9:09d}",
        "is_keyframe": int(timing.is_keyframe),
    }


def read_timing_row(row: Mapping[str, Any]) -> tuple[int, Timing]:
    """The stamp (ns) and the timing of a row as `timing_row` makes them, read as texts; shares are not in it.

    Raises ValueError when the row is another one, or is not whole.
    """
    try:
        seconds, _, nanoseconds = row["stamp"].partition(".")
        values = {name: row[name] for name in TIMING_COLUMNS} | {"is_keyframe": _text(row["is_keyframe"] == "1")}
        return int(seconds) * 10**9 + int(nanoseconds), _timing(values)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"this is not a frame's row: {error!r}") from error


def _timing(values: Mapping[str, str]) -> Timing:
    return Timing(
        index=int(values["index"]),
        is_keyframe=values["is_keyframe"] == "true",
        reason=values["reason"],
        keyframe_index=int(values["keyframe_index"]),
        age_frames=int(values["age_frames"]),
        **{key: float(values[key]) for key in values if key.endswith("_ms") or key == "age_s"},
        shares={k.removeprefix("share/"): float(v) for k, v in values.items() if k.startswith("share/")},
    )


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"{value:.5g}" if isinstance(value, float) else str(value)
