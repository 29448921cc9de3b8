"""Statuses for `/diagnostics` of the node and its cameras (REP 107), from counts, recent latencies and limits."""

from __future__ import annotations

import statistics
import threading
from collections import Counter, deque
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass

from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue

from dcfm_ros.node.health import Finding, Health, Level, Limits, Measures, judged_state, worst_first
from dcfm_ros.node.worker import Counts

WINDOW = 300
"""How many frames of each kind the percentiles are taken over: ten seconds at 30 Hz."""


class Latencies:
    """Milliseconds from receipt to publication, of the last frames of each kind. Safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._recent: dict[bool, deque[float]] = {True: deque(maxlen=WINDOW), False: deque(maxlen=WINDOW)}
        self._untaken: deque[float] = deque(maxlen=WINDOW)

    def add(self, is_keyframe: bool, milliseconds: float) -> None:
        """Note one published frame."""
        with self._lock:
            self._recent[is_keyframe].append(milliseconds)
            self._untaken.append(milliseconds)

    def percentiles(self) -> dict[str, float]:
        """`<kind>_p50_ms`, `_p95_ms`, `_p99_ms` for keyframes and other frames, where there were at least two."""
        with self._lock:
            kinds = {"keyframe": list(self._recent[True]), "other_frame": list(self._recent[False])}
        values: dict[str, float] = {}
        for kind, recent in kinds.items():
            if len(recent) >= 2:
                cuts = _percentiles(recent)
                values |= {f"{kind}_p{p}_ms": cuts[p - 1] for p in (50, 95, 99)}
        return values

    def take_p95(self) -> float | None:
        """Return the p95 of the frames of both kinds added since the last call; None where there were none."""
        with self._lock:
            taken = list(self._untaken)
            self._untaken.clear()
        return _percentiles(taken)[94] if taken else None


@dataclass(frozen=True)
class CameraReport:
    """A report of one camera of the node.

    counts: since the node began. input_age_s: since the stamp of its last image, on the node's clock; keyframe_age_s:
    of the features that the last frame was made from, by stamps; None before the first. problem: what is wrong with
    this camera, as a sentence, or empty.
    """

    counts: Counts
    latencies: Latencies
    input_age_s: float | None
    keyframe_age_s: float | None
    problem: str = ""


class Diagnostics:
    """Turns the node's state into statuses once a second; remembers the last counts and what is being watched.

    Called from one thread. name: of the node's status; a camera's status is named `<name>: <camera>`.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._cameras: dict[str, _Camera] = {}
        self._before_s: float | None = None

    def message(
        self,
        now: Time,
        state: str,
        cameras: Mapping[str, CameraReport],
        limits: Limits,
        problem: str,
        hardware_id: str,
        details: Mapping[str, str],
    ) -> DiagnosticArray:
        """now: of the node's clock; stamps the message. state: of the lifecycle, or one of health.BROKEN_STATES.

        cameras: by name; a single one named "" has no status of its own, the node's says all of it. problem: what is
        wrong with the node, as a sentence, or empty. details: more keys of the node's status.
        """
        elapsed = self._elapsed(now)
        # What was watched of a camera that is gone must not be held against one of that name that comes later.
        self._cameras = {name: self._cameras.get(name) or _Camera() for name in cameras}
        is_single = set(cameras) == {""}
        judged = {
            name: self._cameras[name].judge(report, elapsed, limits, state, problem if is_single else "")
            for name, report in cameras.items()
        }
        own = judged.pop("") if is_single else _total(judged, elapsed, state, problem)
        statuses = [
            DiagnosticStatus(
                level=bytes([some.finding[0]]),
                name=f"{self._name}: {name}" if name else self._name,
                message=some.finding[1],
                hardware_id=hardware_id,
                values=[KeyValue(key=key, value=str(value)) for key, value in {"state": state, **some.values}.items()],
            )
            for name, some in {"": own, **judged}.items()
        ]
        statuses[0].values += [KeyValue(key=key, value=value) for key, value in details.items()]
        array = DiagnosticArray(status=statuses)
        array.header.stamp = now
        return array

    def _elapsed(self, now: Time) -> float:
        """Seconds since the last report; 0 for the first, and where the clock was set back: a bag that loops."""
        seconds = now.sec + now.nanosec / 1e9
        before, self._before_s = self._before_s, seconds
        return max(0.0, seconds - before) if before is not None else 0.0


@dataclass(frozen=True)
class _Status:
    """The contents of a status. recent: counts since the last report."""

    finding: Finding
    counts: Counts
    recent: Counts
    values: Mapping[str, object]


class _Camera:
    """The memory of a camera between two reports."""

    def __init__(self) -> None:
        self._health = Health()
        self._before = Counts()

    def judge(self, report: CameraReport, elapsed: float, limits: Limits, state: str, problem: str) -> _Status:
        """problem: of the node, where this camera is all there is."""
        recent = self._since_before(report.counts)
        measures = Measures(
            latency_p95_ms=report.latencies.take_p95(),
            input_age_s=report.input_age_s,
            keyframe_age_s=report.keyframe_age_s,
            drop_ratio=_drop_ratio(recent),
            received=recent.received,
            skipped=recent.skipped,
            rejected=recent.rejected,
            failed=recent.failed,
        )
        problems = " | ".join(filter(None, (problem, report.problem)))
        finding = self._health.judge(measures, limits, state, problems)
        values = _values_of_counts(report.counts, recent, elapsed)
        values |= {key: round(value, 2) for key, value in report.latencies.percentiles().items()}
        ages = {"input_age_s": report.input_age_s, "keyframe_age_s": report.keyframe_age_s}
        values |= {key: f"{age:.3f}" for key, age in ages.items() if age is not None}
        return _Status(finding, report.counts, recent, values)

    def _since_before(self, counts: Counts) -> Counts:
        """Counts that begin anew, as with a camera that was configured again, are all recent."""
        before = self._before if counts.received >= self._before.received else Counts()
        self._before = counts
        return Counts(**{key: value - getattr(before, key) for key, value in asdict(counts).items()})


def _total(cameras: Mapping[str, _Status], elapsed: float, state: str, problem: str) -> _Status:
    """The node's own status beside those of its cameras: sums, and what the cameras at the worst level say."""
    counts, recent = _sum(some.counts for some in cameras.values()), _sum(some.recent for some in cameras.values())
    findings = judged_state(state, problem, recent.failed)
    worst = max((some.finding[0] for some in cameras.values()), default=Level.OK)
    if worst > Level.OK and state == "active":
        at_worst = {name: some.finding[1] for name, some in cameras.items() if some.finding[0] == worst}
        findings += [(worst, f"{name}: {text}") for name, text in at_worst.items()]
    said = {some.finding[1] for some in cameras.values()}
    healthy = said.pop() if len(said) == 1 else "segmenting"
    return _Status(worst_first(findings, healthy), counts, recent, _values_of_counts(counts, recent, elapsed))


def _sum(all_counts: Iterable[Counts]) -> Counts:
    sums = Counter[str]()
    for counts in all_counts:
        sums.update(asdict(counts))
    return Counts(**sums)


def _values_of_counts(counts: Counts, recent: Counts, elapsed: float) -> dict[str, object]:
    values: dict[str, object] = dict(asdict(counts))
    values["rate_hz"] = round(recent.processed / elapsed, 2) if elapsed > 0 else 0.0
    ratio = _drop_ratio(recent)
    return values if ratio is None else values | {"drop_ratio": round(ratio, 3)}


def _drop_ratio(recent: Counts) -> float | None:
    """Return the dropped share of the images whose fate is known: those pending are neither dropped nor not."""
    known = recent.processed + recent.dropped + recent.rejected + recent.failed + recent.skipped
    return recent.dropped / known if known else None


def _percentiles(values: list[float]) -> list[float]:
    """The first to the 99th."""
    # Of a single value, quantiles makes an error before Python 3.13.
    return statistics.quantiles(values * 2 if len(values) == 1 else values, n=100, method="inclusive")
