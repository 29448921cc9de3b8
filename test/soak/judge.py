"""Whether the node came through: what was seen of it once a second, held against bounds. Knows no ROS."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations, groupby, pairwise

import numpy as np

from dcfm_ros.node.worker import Counts

MAX_SILENCE_S = 20.0
"""Of /diagnostics: configuring may hold it up for ten seconds, and the machine may be busy with other things."""
MAX_START_S = 60.0
MAX_WAIT_S = 15.0
"""Without an answer while they are due; a subscription that no longer matches its publisher is renewed in seconds."""
NOISE_MB = 5.0
"""What allocators take now and then without a leak, as for a size or a topic that comes late: less says nothing."""
GROWTH_MB_PER_HOUR = 20.0
"""A robot's working day of ten hours then costs 200 MB. One small mask (8 KB) kept of each frame at 30 Hz is 880."""
GROWTH_MB_PER_TRIP = 1.0
"""The weights alone are 24 MB. What allocators make of taking and freeing an engine moves by tens of MB from one round
trip to the next, either way."""
SETTLING_S = 20.0
"""After an engine was taken, until every size and topic has had its first frames."""
MORE_THREADS = MORE_FILES = 4
"""Some come late: OpenVINO's for a graph that a schedule first asks for. A leak is one for each frame, visitor or round
trip, hundreds in all.
"""
LATENCY_DRIFT, LATENCY_NOISE_MS = 1.5, 10.0

_LEAST_SAMPLES, _LEAST_TRIPS = 10, 20
"""For a slope: of a stretch between round trips, and of round trips."""

_BAD_LINES = re.compile(r"^.*(?:Traceback \(most recent|a frame failed|Segmentation fault|terminate called).*$", re.M)


@dataclass(frozen=True)
class Sample:
    """A camera in one report of `/diagnostics`, and the node's process then. Counts are since the phase began.

    p95_ms: latency of the last frames that are no keyframes; None before there were two. private_mb: resident memory of
    the process's own; rss_mb: with libraries, and with what DDS shares, which is bounded by its segments but filled
    slowly. sent: messages on the camera's topic, hostile ones among them. masks, timings: those that came back.
    is_due: whether an answer was to be expected. trips: round trips through the lifecycle.
    """

    phase: str
    camera: str
    seconds: float
    state: str
    counts: Counts
    p95_ms: float | None
    private_mb: float
    rss_mb: float
    threads: int
    files: int
    sent: int
    hostile: int
    masks: int
    timings: int
    is_due: bool
    trips: int


@dataclass(frozen=True)
class End:
    """How a phase ended. seconds: when. exit_code: None when the node had to be killed. log: what it wrote.

    cameras: their names. complaints: what the robot found wrong by itself, as sentences.
    """

    phase: str
    cameras: tuple[str, ...]
    seconds: float
    exit_code: int | None
    log: str
    complaints: tuple[str, ...] = ()


def judge(samples: Sequence[Sample], ends: Sequence[End]) -> list[str]:
    """What is wrong, each a sentence; nothing when all is well."""
    found = []
    for end in ends:
        found += [f"{end.phase}: {sentence}" for sentence in _of_end(end)]
        for camera in end.cameras:
            rows = [row for row in samples if (row.phase, row.camera) == (end.phase, camera)]
            parts = [_of_silence, _of_counts, _of_answers, _of_latency] if rows else [_of_silence]
            if rows and camera == end.cameras[0]:  # all cameras' samples say the same of the process
                parts.append(_of_growth)
            place = f"{end.phase}, {camera}" if camera else end.phase
            found += [f"{place}: {sentence}" for part in parts for sentence in part(rows, end)]
    return found


def growth_mb_per_hour(rows: Sequence[Sample]) -> float | None:
    """The slope of private memory over the second half, between round trips; None where those follow each other."""
    hours, _, slope = _growth_between_trips(rows)
    return slope if hours else None


def growth_mb_per_trip(rows: Sequence[Sample]) -> float | None:
    """The slope of private memory (the median after each) over the second half of the round trips, the median of those
    between all pairs; None where there were few.
    """
    trips, slope = _growth_by_trips(rows)
    return slope if trips else None


def _of_end(end: End) -> Iterator[str]:
    if end.exit_code is None:
        yield "the node did not end when it was interrupted, and was killed"
    elif end.exit_code:
        yield f"the node ended with {end.exit_code}; expected 0 after an interrupt"
    lines = [found[0] for found in _BAD_LINES.finditer(end.log)]
    if lines:
        yield f"the log has {len(lines)} errors, the first: {lines[0]}"
    yield from dict.fromkeys(end.complaints)


def _of_counts(rows: Sequence[Sample], end: End) -> Iterator[str]:
    for row in rows:
        counts = asdict(row.counts)
        known = sum(counts.values()) - row.counts.received
        if known != row.counts.received or row.counts.pending > 2:
            yield f"after {row.seconds:.0f} s the counts do not add up: {counts}"
            break
    for before, after in pairwise(rows):
        then, now = asdict(before.counts), asdict(after.counts)
        if fallen := [name for name in then if name != "pending" and now[name] < then[name]]:
            yield f"after {after.seconds:.0f} s {fallen[0]} fell from {then[fallen[0]]} to {now[fallen[0]]}"
            break
    last = rows[-1]
    if last.counts.failed:
        yield f"{last.counts.failed} frames failed; expected none, as bad ones are rejected"
    if last.counts.received > last.sent:
        yield f"{last.counts.received} messages were received of {last.sent} that were sent"
    if last.counts.rejected > last.hostile:
        yield f"{last.counts.rejected} messages were rejected, of which {last.hostile} were bad"


def _of_silence(rows: Sequence[Sample], end: End) -> Iterator[str]:
    heard_at = [row.seconds for row in rows]
    if not heard_at or heard_at[0] > MAX_START_S:
        first = f"came after {heard_at[0]:.0f} s" if heard_at else "never came"
        yield f"/diagnostics {first}; expected within {MAX_START_S:.0f} s"
    longest = max((after - before for before, after in pairwise([*heard_at, end.seconds])), default=0.0)
    if longest > MAX_SILENCE_S:
        yield f"/diagnostics was silent for {longest:.0f} s; expected at most {MAX_SILENCE_S:.0f} s"


def _of_answers(rows: Sequence[Sample], end: End) -> Iterator[str]:
    """Only time in which answers were due counts, with what is not due in between left out."""
    for what in ("masks", "timings"):
        waited = longest = 0.0
        for before, after in pairwise(rows):
            if getattr(after, what) > getattr(before, what):
                waited = 0.0
            elif before.is_due and after.is_due:
                waited += after.seconds - before.seconds
            longest = max(longest, waited)
        if longest > MAX_WAIT_S:
            yield f"no {what} came for {longest:.0f} s; expected at most {MAX_WAIT_S:.0f} s"
        if not getattr(rows[-1], what):
            yield f"no {what} came at all"


def _of_growth(rows: Sequence[Sample], end: End) -> Iterator[str]:
    hours, rise, slope = _growth_between_trips(rows)
    if rise > max(NOISE_MB, GROWTH_MB_PER_HOUR * hours):
        yield (
            f"memory grew by {rise:.0f} MB in {hours * 60:.1f} min, {slope:.0f} MB an hour; "
            f"expected at most {GROWTH_MB_PER_HOUR:.0f} MB an hour or {NOISE_MB:.0f} MB"
        )
    trips, slope = _growth_by_trips(rows)
    if slope > GROWTH_MB_PER_TRIP:
        yield (
            f"memory grew by {slope:.1f} MB with each of {trips} round trips; "
            f"expected at most {GROWTH_MB_PER_TRIP:.1f} MB"
        )
    later = _second_half_active(rows)
    middle = len(later) // 2
    for what, allowed in (("threads", MORE_THREADS), ("files", MORE_FILES)):
        if middle:
            then, now = (np.median([getattr(row, what) for row in part]) for part in (later[:middle], later[middle:]))
            if now > then + allowed:
                yield f"{what} grew from {then:.0f} to {now:.0f} in the second half; expected at most {allowed} more"


def _of_latency(rows: Sequence[Sample], end: End) -> Iterator[str]:
    """Slower when even the good seconds at the end are worse than the bad ones before: others load the machine too."""
    known = [row.p95_ms for row in rows if row.p95_ms is not None]
    third = len(known) // 3
    if third < 10:
        return
    before, after = np.percentile(known[third : 2 * third], 75), np.percentile(known[2 * third :], 25)
    if after > LATENCY_DRIFT * before + LATENCY_NOISE_MS:
        yield f"latency (p95) drifted from {before:.0f} ms or less to {after:.0f} ms or more"


def _second_half_active(rows: Sequence[Sample]) -> list[Sample]:
    middle = (rows[0].seconds + rows[-1].seconds) / 2
    return [row for row in rows if row.seconds >= middle and row.state == "active"]


def _growth_between_trips(rows: Sequence[Sample]) -> tuple[float, float, float]:
    """Hours, MB, and MB an hour: one slope for all stretches between round trips, each at a height of its own."""
    hours: list[float] = []
    memory: list[float] = []
    total = 0.0
    for _, some in groupby(_second_half_active(rows), lambda row: row.trips):
        trip = list(some)
        settled = [row for row in trip if not row.trips or row.seconds > trip[0].seconds + SETTLING_S]
        if len(settled) < _LEAST_SAMPLES:
            continue
        at, values = [row.seconds / 3600 for row in settled], [row.private_mb for row in settled]
        total += at[-1] - at[0]
        hours += [each - np.mean(at) for each in at]
        memory += [each - np.mean(values) for each in values]
    if not total:
        return 0.0, 0.0, 0.0
    slope = float(np.dot(hours, memory) / np.dot(hours, hours))
    return total, slope * total, slope


def _growth_by_trips(rows: Sequence[Sample]) -> tuple[int, float]:
    """How many round trips, and MB for each."""
    after = {
        trip: float(np.median([row.private_mb for row in some]))
        for trip, some in groupby((row for row in rows if row.state == "active"), lambda row: row.trips)
    }
    later = [trip for trip in after if trip >= max(after) / 2]
    if len(later) < _LEAST_TRIPS:
        return 0, 0.0
    slopes = [(after[b] - after[a]) / (b - a) for a, b in combinations(later, 2)]
    return len(later), float(np.median(slopes))
