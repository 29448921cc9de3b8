"""The layout of a rendered drive: the road, how the camera travels it, and what stands and moves beside it.

Everything is placed in road coordinates: `s` metres along the centre line, `d` metres to its right. Nothing here knows
of pixels.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from itertools import pairwise
from typing import Literal

import numpy as np

LANE = 3.2  # metres; one lane each way
ROAD_HALF = 5.3  # lane and parking strip
VIEW = 230.0  # metres ahead of the camera that the world reaches
SECTION = 32.0  # metres after which the plain road's surface repeats
JUNCTION = 28.0  # metres of road that a junction's surface covers, its side street in the middle
SIDE_STREET_HALF = 4.2
STOP_LINE = 9.4  # metres before a junction's middle
ROAD_STEP = 0.5


class StreetClass(IntEnum):
    """CamVid's eleven classes."""

    SKY = 0
    BUILDING = 1
    POLE = 2
    ROAD = 3
    PAVEMENT = 4
    TREE = 5
    SIGN = 6
    FENCE = 7
    CAR = 8
    PEDESTRIAN = 9
    CYCLIST = 10


@dataclass(frozen=True)
class Stop:
    """The camera stands still from `begin` to `end` (seconds) at `s`; `queued` when behind another car."""

    begin: float
    end: float
    s: float
    queued: bool

    @property
    def junction(self) -> float:
        """Where the side street crosses, on the grid of the road's table."""
        ahead = STOP_LINE + 2.5 + (7.5 if self.queued else 0.0)
        return round((self.s + ahead) / ROAD_STEP) * ROAD_STEP


@dataclass(frozen=True)
class Building:
    """A box whose front runs from s0 to s1 at d; `roof` is the height of the ridge above the eaves, 0 where flat."""

    s0: float
    s1: float
    d: float
    depth: float
    height: float
    roof: float
    facade: int


@dataclass(frozen=True)
class Fence:
    """A fence along the road from s0 to s1."""

    s0: float
    s1: float
    d: float
    height: float
    kind: int


FixtureKind = Literal["tree", "lamp", "sign", "light"]


@dataclass(frozen=True)
class Fixture:
    """A thing that stands at a point. `size` is its height in metres; `look` chooses its appearance."""

    kind: FixtureKind
    s: float
    d: float
    size: float
    look: int
    stop: Stop | None = None


@dataclass(frozen=True)
class Actor:
    """A thing that may move: `motion(seconds)` gives s, d and the heading relative to the road's, in radians."""

    kind: Literal["car", "pedestrian", "cyclist"]
    motion: Callable[[float], tuple[float, float, float]]
    look: int
    parked: bool = False


class Travel:
    """The camera's progress: piecewise linear speed with at least one stop where there is time for one."""

    def __init__(self, rng: np.random.Generator, duration: float, frame_time: float) -> None:
        first = rng.uniform(0.36, 0.48) * min(duration, rng.uniform(9.5, 12.0))
        cruise, brake, pull = rng.uniform(7.5, 11.0), rng.uniform(2.5, 3.1), rng.uniform(2.0, 2.6)
        speed = min(cruise, brake * first * 0.8)
        least = 7 * frame_time
        dwell = max(least, min(rng.uniform(1.4, 2.6), 0.17 * duration))
        knots, halts, begin = [(-40.0, speed)], [], first
        while begin + dwell < duration - min(2.0, 0.2 * duration):
            end = begin + dwell
            knots += [(begin - speed / brake, speed), (begin, 0.0), (end, 0.0)]
            halts.append((begin, end))
            pause, dwell = rng.uniform(9.0, 17.0), max(least, rng.uniform(1.8, 5.0))
            speed = min(cruise * rng.uniform(0.8, 1.1), pause / (1 / brake + 1 / pull))
            knots.append((end + speed / pull, speed))
            begin = end + pause
        knots.append((duration + 40.0 + knots[-1][0], speed))
        self._times = np.arange(knots[0][0], knots[-1][0], 0.02)
        self._speeds = np.interp(self._times, *np.array(knots).T)
        steps = 0.5 * (self._speeds[1:] + self._speeds[:-1]) * np.diff(self._times)
        travelled = np.concatenate([[0.0], np.cumsum(steps)])
        self._travelled = travelled - np.interp(0.0, self._times, travelled)
        queued = bool(rng.random() < 0.5)
        self.stops = [Stop(a, b, self.s(0.5 * (a + b)), queued) for a, b in halts]

    def s(self, seconds: float) -> float:
        """Metres along the road since time 0."""
        return float(np.interp(seconds, self._times, self._travelled))

    def speed(self, seconds: float) -> float:
        """Metres a second."""
        return float(np.interp(seconds, self._times, self._speeds))


class Road:
    """The centre line as a table every ROAD_STEP metres: `s`, `x`, `y`, `heading` (radians, counter-clockwise)."""

    def __init__(self, rng: np.random.Generator, length: float, junctions: list[float]) -> None:
        self.s = np.arange(-60.0, length, ROAD_STEP)
        curvature = np.zeros_like(self.s)
        windows = [(-1e9, -6.0)] + [(j - JUNCTION / 2, j + 9.0) for j in junctions] + [(length, 1e9)]
        turned = 0.0
        for (_, position), (limit, _) in pairwise(windows):
            while position < limit - 8.0:
                arc = min(rng.uniform(22.0, 45.0), limit - position)
                sign = -np.sign(turned) if abs(turned) > 0.9 else rng.choice([-1.0, 1.0])
                bend = sign / rng.uniform(28.0, 50.0)
                curvature[(self.s >= position) & (self.s < position + arc)] = bend
                turned += bend * arc
                position += arc + rng.uniform(8.0, 25.0)
        ramp = np.ones(17) / 17
        self.curvature = np.convolve(curvature, ramp, mode="same")
        self.heading = np.cumsum(self.curvature) * ROAD_STEP
        self.heading += rng.uniform(0.0, 2 * np.pi)
        self.x = np.cumsum(np.cos(self.heading)) * ROAD_STEP
        self.y = np.cumsum(np.sin(self.heading)) * ROAD_STEP
        self._table = np.stack([self.x, self.y, self.heading], axis=1)

    def pose(self, s: float, d: float) -> tuple[float, float, float]:
        """World metres x and y of road coordinates, and the road's heading there."""
        place = min(max((s - self.s[0]) / ROAD_STEP, 0.0), len(self.s) - 1.001)
        index, share = int(place), place - int(place)
        x, y, heading = (self._table[index] * (1 - share) + self._table[index + 1] * share).tolist()
        return x + d * math.sin(heading), y - d * math.cos(heading), heading

    def point(self, s: float, d: float) -> tuple[float, float]:
        """World metres of road coordinates."""
        return self.pose(s, d)[:2]

    def heading_at(self, s: float) -> float:
        """Radians, counter-clockwise from x."""
        return self.pose(s, 0.0)[2]


class World:
    """All that a drive of `duration` seconds meets, decided by `seed`."""

    FACADES = 14  # facade textures to choose from
    LOOKS = 10**6  # looks are drawn below this; the drawing reduces them to what it has

    def __init__(self, seed: int, duration: float, frame_time: float) -> None:
        rng = np.random.default_rng([seed, 1])
        self.traffic_side = float(rng.choice([-1.0, 1.0]))  # +1: keeps right
        self.pavement_width = float(rng.uniform(3.2, 5.2))
        self.travel = Travel(rng, duration, frame_time)
        self.length = self.travel.s(duration) + VIEW + 30.0
        self.junctions = [stop.junction for stop in self.travel.stops]
        self.road = Road(rng, self.length + 80.0, self.junctions)
        self.facade_sizes = [(float(rng.uniform(8, 16)), float(rng.uniform(6.5, 15))) for _ in range(self.FACADES)]
        self.buildings: list[Building] = []
        self.fences: list[Fence] = []
        self.fixtures: list[Fixture] = []
        self.actors: list[Actor] = []
        for side in (-1.0, 1.0):
            self._line_with_buildings(rng, side)
            self._furnish(rng, side)
            self._park(rng, side)
            self._walkers(rng, side, duration)
        for stop in self.travel.stops:
            self._junction(rng, stop)
        self._traffic(rng)

    @property
    def camera_d(self) -> float:
        """The camera's lane."""
        return self.traffic_side * LANE / 2

    @property
    def _building_line(self) -> float:
        return ROAD_HALF + self.pavement_width

    def _line_with_buildings(self, rng: np.random.Generator, side: float) -> None:
        s, fence_due = -40.0, 10.0 if side > 0 else 25.0
        clear = SIDE_STREET_HALF + 1.8
        while s < self.length:
            ahead = [j for j in self.junctions if j + clear > s]
            room = ahead[0] - clear - s if ahead else 1e9
            if room < 5.0:
                self._yard(rng, side, s, s + max(room, 0.1))
                s = ahead[0] + clear
                continue
            if s > fence_due and room > 14.0:
                fence_due = s + rng.uniform(30.0, 60.0)
                gap = rng.uniform(5.0, 9.0)
                self._yard(rng, side, s, s + gap)
                s += gap
                continue
            facade = int(rng.integers(self.FACADES))
            width, height = self.facade_sizes[facade]
            end = s + width if room > width + 5.0 else s + min(room, 1.4 * width)
            at_corner = any(abs(abs(edge - j) - clear) < 0.1 for edge in (s, end) for j in self.junctions)
            setback = 0.0 if at_corner else float(rng.choice([0.0, 0.0, 0.4, 2.2]))
            if setback > 2.0:
                self._fence(rng, s + 0.2, end - 0.2, side * (self._building_line + 0.1), tall=False)
            depth = 30.0 if at_corner else 11.0
            roof = float(rng.uniform(1.8, 3.2)) if height < 10 and not at_corner else 0.0
            self.buildings.append(Building(s, end, side * (self._building_line + setback), depth, height, roof, facade))
            s = end

    def _yard(self, rng: np.random.Generator, side: float, s0: float, s1: float) -> None:
        """A gap in the line of houses: a fence, trees behind it, and a house further back that closes the view."""
        if s1 - s0 > 1.0:
            self._fence(rng, s0, s1, side * self._building_line, tall=True)
            tree = side * (self._building_line + rng.uniform(2.5, 5.0))
            size = float(rng.uniform(6.0, 8.5))
            self.fixtures.append(Fixture("tree", 0.5 * (s0 + s1), tree, size, self._look(rng)))
        facade = int(rng.integers(self.FACADES))
        back = side * (self._building_line + 13.0)
        self.buildings.append(Building(s0 - 5, s1 + 5, back, 8.0, self.facade_sizes[facade][1], 0.0, facade))

    def _fence(self, rng: np.random.Generator, s0: float, s1: float, d: float, tall: bool) -> None:
        height, kind = float(rng.uniform(1.5, 2.0) if tall else rng.uniform(0.9, 1.2)), int(rng.integers(2))
        pieces = max(1, round((s1 - s0) / 3.0))
        edges = np.linspace(s0, s1, pieces + 1)
        self.fences += [Fence(a, b, d, height, kind) for a, b in pairwise(edges.tolist())]

    def _furnish(self, rng: np.random.Generator, side: float) -> None:
        """Trees, lamps and signs along the kerb."""
        trees_every = rng.uniform(10.0, 22.0)
        rows: list[tuple[FixtureKind, float, float]] = [
            ("tree", trees_every, 4.8),
            ("lamp", 24, 6.0),
            ("sign", 21, 2.6),
        ]
        for kind, every, least in rows:
            s = float(rng.uniform(-10.0, 8.0))
            while s < self.length:
                if not self._near_junction(s, 11.0):
                    size = least * float(rng.uniform(1.0, 1.1 if kind == "sign" else 1.45))
                    inset = 0.8 if kind == "tree" else 0.5
                    self.fixtures.append(Fixture(kind, s, side * (ROAD_HALF + inset), size, self._look(rng)))
                s += every * float(rng.uniform(0.7, 1.4))

    def _park(self, rng: np.random.Generator, side: float) -> None:
        """Parked cars, in rows with gaps."""
        s, share = float(rng.uniform(-8.0, 6.0)), float(rng.uniform(0.35, 0.75))
        while s < self.length:
            if rng.random() < share and not self._near_junction(s, 16.0):
                facing = np.pi if side != self.traffic_side and rng.random() < 0.85 else 0.0
                d = side * (ROAD_HALF - 1.1 + float(rng.uniform(-0.08, 0.08)))
                self.actors.append(Actor("car", _standing(s, d, facing), self._look(rng), parked=True))
            s += float(rng.uniform(5.6, 8.5))

    def _walkers(self, rng: np.random.Generator, side: float, duration: float) -> None:
        s, spacing = float(rng.uniform(4.0, 14.0)), float(rng.uniform(7.0, 16.0))
        while s < self.length + 1.4 * min(duration, 60.0):
            speed = float(rng.choice([-1.0, 1.0]) * rng.uniform(0.9, 1.6))
            # Those who come towards the camera start further on, so that they do not all pass at once.
            start = s - 0.5 * speed * min(duration, 60.0)
            d = side * float(rng.uniform(ROAD_HALF + 1.3, self._building_line - 0.5))
            self.actors.append(Actor("pedestrian", _straight(start, d, speed), self._look(rng)))
            s += spacing * float(rng.uniform(0.4, 1.8))

    def _junction(self, rng: np.random.Generator, stop: Stop) -> None:
        """Lights, people who cross while the camera waits, cars on the side street, and the houses at its ends."""
        j, side = stop.junction, self.traffic_side
        for s, d in ((j - STOP_LINE + 1.0, side), (j + STOP_LINE - 1.0, -side)):
            self.fixtures.append(Fixture("light", s, d * (ROAD_HALF + 0.5), 3.2, 0, stop))
        for edge in (-1.0, 1.0):
            facade = int(rng.integers(self.FACADES))
            d = edge * (self._building_line + 34.0)
            self.buildings.append(Building(j - 16, j + 16, d, 8.0, self.facade_sizes[facade][1] + 2, 0.0, facade))
        for _ in range(int(rng.integers(2, 5))):
            middle = rng.uniform(stop.begin - 0.4, max(stop.begin, stop.end - 0.4))
            speed = float(rng.choice([-1.0, 1.0]) * rng.uniform(1.2, 1.7))
            s = j - STOP_LINE + 2.4 + float(rng.uniform(-1.1, 1.1))
            motion = _crossing(s, self.camera_d, speed, middle, ROAD_HALF + 0.9)
            self.actors.append(Actor("pedestrian", motion, self._look(rng)))
        for direction in (-1.0, 1.0):
            speed = direction * float(rng.uniform(5.0, 8.0))
            middle = rng.uniform(stop.begin + 0.2, max(stop.begin + 0.3, stop.end - 0.3))
            s = j - direction * side * SIDE_STREET_HALF / 2
            self.actors.append(Actor("car", _crossing(s, 0.0, speed, middle, 60.0), self._look(rng)))

    def _traffic(self, rng: np.random.Generator) -> None:
        """Cars that keep their distance by doing what the car before them did, a little later (Newell's model)."""
        stops, side = self.travel.stops, self.traffic_side
        queued = bool(stops and stops[0].queued)
        # Without a queue at the stop the cars ahead are already through it: they never stand on the junction.
        ahead, lead = (7.5 if queued else float(rng.uniform(38.0, 60.0))), float(rng.uniform(0.8, 1.3))
        for _ in range(3):
            self.actors.append(Actor("car", self._following(ahead, lead, side), self._look(rng)))
            ahead, lead = ahead + float(rng.uniform(36.0, 60.0)), lead + float(rng.uniform(0.8, 1.3))
        mirror = stops[0].s + stops[0].junction + STOP_LINE + 2.5 if stops else 60.0
        back, lag = -float(rng.uniform(28.0, 40.0)), 0.0
        while mirror + back < 2 * self.length:
            motion = self._oncoming(mirror + back, lag)
            halts = [motion(0.5 * (stop.begin + stop.end))[0] for stop in stops]
            if not any(self._near_junction(s, 9.0) for s in halts):
                self.actors.append(Actor("car", motion, self._look(rng)))
            back = 0.0 if back < 0 else back + float(rng.uniform(7.5, 32.0))
            lag += float(rng.uniform(0.0, 0.7))
        beside = LANE - 0.35
        start, pace = float(rng.uniform(13.0, 20.0)), float(rng.uniform(3.0, 4.5))
        while start < self.length:
            rider = _straight(start, side * beside, pace)
            self.actors.append(Actor("cyclist", rider, self._look(rng)))
            opposite = _straight(start + float(rng.uniform(15, 60)), -side * beside, -pace)
            self.actors.append(Actor("cyclist", opposite, self._look(rng)))
            start += float(rng.uniform(45.0, 110.0))

    def _following(self, ahead: float, lead: float, side: float) -> Callable[[float], tuple[float, float, float]]:
        return lambda t: (self.travel.s(t + lead) + ahead, side * LANE / 2, 0.0)

    def _oncoming(self, mirror: float, lag: float) -> Callable[[float], tuple[float, float, float]]:
        return lambda t: (mirror - self.travel.s(t - lag), -self.camera_d, np.pi)

    def _near_junction(self, s: float, metres: float) -> bool:
        return any(abs(s - j) < metres for j in self.junctions)

    def _look(self, rng: np.random.Generator) -> int:
        return int(rng.integers(self.LOOKS))


def _standing(s: float, d: float, heading: float) -> Callable[[float], tuple[float, float, float]]:
    return lambda t: (s, d, heading)


def _straight(s: float, d: float, speed: float) -> Callable[[float], tuple[float, float, float]]:
    return lambda t: (s + speed * t, d, 0.0 if speed > 0 else np.pi)


def _crossing(
    s: float, d: float, speed: float, middle: float, reach: float
) -> Callable[[float], tuple[float, float, float]]:
    """Across the road, at `d` when the clock shows `middle`; to the right (+d) the heading turns clockwise."""
    return lambda t: (
        s,
        float(np.clip(d + speed * (t - middle), -reach, reach)),
        -np.pi / 2 if speed > 0 else np.pi / 2,
    )
