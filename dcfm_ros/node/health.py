"""Whether what a camera shows is well: limits with hysteresis, and a sentence that says what is wrong. Knows no ROS."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from enum import IntEnum

BROKEN_STATES = ("broken", "errorprocessing")
"""States in which the engine does not come back by itself, or has failed again and again: errors, not warnings."""

_RISES_AFTER = 2  # reports in a row: one late frame, or one report cut short, is no alarm
_FALLS_AFTER = 3  # more than it takes to rise: who looks once every few seconds must see it
_FALLS_BELOW = 0.9  # of the limit: a value that hovers about it does not flicker
_NEARLY_ALL = 0.99  # of a hundred images not one is segmented: what a share of them can show of "all"


class Level(IntEnum):
    """The levels of diagnostic_msgs/DiagnosticStatus."""

    OK = 0
    WARN = 1
    ERROR = 2


Finding = tuple[Level, str]
"""A level and the sentence that says why."""


class LimitError(ValueError):
    """A limit is negative or no number."""


@dataclass(frozen=True)
class Limits:
    """Limits of what is still well; 0: no limit. Raises LimitError.

    max_latency_ms: of 95 % of the frames. max_input_age_s: since the stamp of the last image. max_keyframe_age_s: of
    the features in use. max_drop_ratio: of the images whose fate is known, 0 to 1.
    """

    max_latency_ms: float = 0.0
    max_input_age_s: float = 0.0
    max_keyframe_age_s: float = 0.0
    max_drop_ratio: float = 0.0

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if not 0 <= value < math.inf:
                raise LimitError(f"{name} is {value}; expected 0 (no limit) or more")


@dataclass(frozen=True)
class Measures:
    """Measures of one camera since the last report; None: not measured.

    latency_p95_ms: of the frames published. input_age_s: of now; keyframe_age_s: of the last frame. drop_ratio: dropped
    images, of those processed, dropped, rejected, failed or skipped. The others are counts.
    """

    latency_p95_ms: float | None = None
    input_age_s: float | None = None
    keyframe_age_s: float | None = None
    drop_ratio: float | None = None
    received: int = 0
    skipped: int = 0
    rejected: int = 0
    failed: int = 0


class Health:
    """Judges one camera, report after report. What is said of limits has hysteresis; all else is said at once."""

    def __init__(self) -> None:
        self._skips_all = False
        self._watches: tuple[_Watch, ...] = ()
        self._forget()

    def judge(self, measures: Measures, limits: Limits, state: str = "active", problem: str = "") -> Finding:
        """state: of the lifecycle, or one of BROKEN_STATES. problem: what is wrong, as a sentence, or empty.

        A limit crossed is a warning and twice the limit an error; for drops, when nearly all are dropped. What is not
        measured counts as below its limit. While the node is not active, or skips every image, limits do not hold.
        """
        if measures.received:
            self._skips_all = measures.skipped == measures.received
        findings = [*judged_state(state, problem, measures.failed), *_events(measures, problem, state)]
        if state != "active" or self._skips_all:
            self._forget()
        else:
            values = (measures.latency_p95_ms, measures.input_age_s, measures.keyframe_age_s, measures.drop_ratio)
            for watch, value, limit in zip(self._watches, values, asdict(limits).values(), strict=True):
                findings += watch.judge(value, limit)
        healthy = "every image is skipped: disabled, or not ready yet" if self._skips_all else "segmenting"
        return worst_first(findings, healthy)

    def _forget(self) -> None:
        self._watches = (
            _Watch("latency p95", "ms"),
            _Watch("input age", "s"),
            _Watch("keyframe age", "s"),
            _Watch("the share of dropped images", "%", scale=100, error_at=_NEARLY_ALL),
        )


def judged_state(state: str, problem: str, failed: int) -> list[Finding]:
    """Say what is wrong with the node itself: its problem, failed frames (an error), and a state that is not active."""
    broken = state in BROKEN_STATES
    findings = []
    if problem:
        findings.append((Level.ERROR if failed or broken else Level.WARN, problem))
    if state != "active":
        findings.append((Level.ERROR if broken else Level.WARN, f"the node is {state}"))
    return findings


def worst_first(findings: Iterable[Finding], healthy: str) -> Finding:
    """The worst level and all sentences, the worst first; OK and the sentence `healthy` where nothing was found."""
    ordered = sorted(findings, key=lambda finding: -finding[0])
    return (ordered[0][0], " | ".join(text for _, text in ordered)) if ordered else (Level.OK, healthy)


def _events(measures: Measures, problem: str, state: str) -> list[Finding]:
    """Judge what holds for the last report alone; a problem says it better than a count."""
    findings = []
    if measures.failed and not problem:
        findings.append((Level.ERROR, f"frames that failed in the last second: {measures.failed}"))
    if measures.rejected and not problem:
        findings.append((Level.WARN, f"messages rejected in the last second: {measures.rejected}"))
    if not measures.received and state == "active":
        findings.append((Level.WARN, "no image in the last second"))
    return findings


class _Watch:
    """One limit and its two alarms, and the sentence of the higher that is on."""

    def __init__(self, what: str, unit: str, scale: float = 1, error_at: float | None = None) -> None:
        self._what = what
        self._unit = unit
        self._scale = scale
        self._error_at = error_at
        self._warning = _Alarm()
        self._error = _Alarm()
        self._last_over = 0.0

    def judge(self, value: float | None, limit: float) -> list[Finding]:
        over = value if value is not None and value > limit else None
        if over is not None:
            self._last_over = over
        self._warning.update(value, limit)
        self._error.update(value, 2 * limit if self._error_at is None else limit and max(limit, self._error_at))
        if not (self._warning.is_on or self._error.is_on):
            return []
        shown, allowed = (f"{_number(self._scale * number)} {self._unit}" for number in (self._last_over, limit))
        text = f"{self._what} {'was' if over is None else 'is'} {shown}; the limit is {allowed}"
        return [(Level.ERROR if self._error.is_on else Level.WARN, text)]


class _Alarm:
    """On after some reports in a row over the limit, off after some in a row well below it."""

    def __init__(self) -> None:
        self.is_on = False
        self._streak = 0

    def update(self, value: float | None, limit: float) -> None:
        if not limit:
            self.is_on, self._streak = False, 0
            return
        if self.is_on:
            turns, needed = value is None or value < _FALLS_BELOW * limit, _FALLS_AFTER
        else:
            turns, needed = value is not None and value > limit, _RISES_AFTER
        self._streak = self._streak + 1 if turns else 0
        if self._streak == needed:
            self.is_on, self._streak = not self.is_on, 0


def _number(value: float) -> str:
    return f"{value:.0f}" if value >= 1000 else f"{value:.4g}"
