"""What `/diagnostics` says of the node (REP 107), from counts and recent latencies."""

from __future__ import annotations

import statistics
import threading
from collections import deque
from dataclasses import asdict

from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue

from dcfm_ros.node.worker import Counts

WINDOW = 300
"""How many frames of each kind the percentiles are taken over: ten seconds at 30 Hz."""


class Latencies:
    """Milliseconds from receipt to publication, of the last frames of each kind. Safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._recent: dict[bool, deque[float]] = {True: deque(maxlen=WINDOW), False: deque(maxlen=WINDOW)}

    def add(self, is_keyframe: bool, milliseconds: float) -> None:
        """Note one published frame."""
        with self._lock:
            self._recent[is_keyframe].append(milliseconds)

    def percentiles(self) -> dict[str, float]:
        """`<kind>_p50_ms`, `_p95_ms`, `_p99_ms` for keyframes and other frames, where there were at least two."""
        with self._lock:
            kinds = {"keyframe": list(self._recent[True]), "other_frame": list(self._recent[False])}
        values: dict[str, float] = {}
        for kind, recent in kinds.items():
            if len(recent) >= 2:
                cuts = statistics.quantiles(recent, n=100, method="inclusive")
                values |= {f"{kind}_p{p}_ms": cuts[p - 1] for p in (50, 95, 99)}
        return values


class Diagnostics:
    """Turns the node's state into one status a second; remembers the last counts to tell rates and recent drops."""

    def __init__(self, name: str, hardware_id: str) -> None:
        self._name = name
        self._hardware_id = hardware_id
        self._before = Counts()
        self._before_s: float | None = None

    def message(
        self, now: Time, counts: Counts, latencies: Latencies, state: str, problem: str, details: dict[str, str]
    ) -> DiagnosticArray:
        """now: of the node's clock; stamps the message. state: of the lifecycle. problem: what is wrong, or empty."""
        seconds = now.sec + now.nanosec / 1e9
        recent = Counts(**{key: value - getattr(self._before, key) for key, value in asdict(counts).items()})
        elapsed = seconds - self._before_s if self._before_s is not None else 0.0
        self._before, self._before_s = counts, seconds
        values: dict[str, object] = {"state": state, **asdict(counts)}
        values["rate_hz"] = round(recent.processed / elapsed, 2) if elapsed > 0 else 0.0
        values |= {key: round(value, 2) for key, value in latencies.percentiles().items()}
        level, text = _judged(recent, state, problem)
        status = DiagnosticStatus(level=level, name=self._name, message=text, hardware_id=self._hardware_id)
        status.values = [KeyValue(key=key, value=str(value)) for key, value in (values | details).items()]
        array = DiagnosticArray(status=[status])
        array.header.stamp = now
        return array


def _judged(recent: Counts, state: str, problem: str) -> tuple[bytes, str]:
    if recent.failed:
        return DiagnosticStatus.ERROR, problem or f"{recent.failed} frames failed in the last second"
    if problem:
        return DiagnosticStatus.WARN, problem
    if recent.rejected:
        return DiagnosticStatus.WARN, f"{recent.rejected} messages rejected in the last second"
    if state != "active":
        return DiagnosticStatus.WARN, f"the node is {state}"
    if not recent.received:
        return DiagnosticStatus.WARN, "no image in the last second"
    return DiagnosticStatus.OK, "segmenting"
