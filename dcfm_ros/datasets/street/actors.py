"""Cars, people, riders and street furniture of a rendered drive, drawn in three dimensions onto a `Canvas`."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

import numpy as np

from dcfm_ros.datasets.street.canvas import Canvas
from dcfm_ros.datasets.street.textures import Texture
from dcfm_ros.datasets.street.world import StreetClass

Pose = tuple[float, float, float]  # world x, y, heading
Limb = tuple[tuple[float, float, float], tuple[float, float, float], float, float, np.ndarray]

_PAINT = np.array(
    [(196, 198, 200), (232, 232, 230), (44, 46, 50), (96, 100, 106), (36, 60, 116), (136, 28, 30), (30, 74, 60),
     (150, 156, 164), (92, 112, 140), (180, 168, 140), (64, 20, 28), (120, 124, 120)]
)  # fmt: skip
_CLOTH = np.array(
    [(38, 42, 58), (60, 60, 64), (128, 36, 40), (52, 84, 62), (170, 160, 140), (210, 206, 200), (70, 92, 140),
     (28, 28, 30), (150, 120, 60), (96, 66, 96), (196, 120, 50), (110, 110, 112)]
)  # fmt: skip
_TROUSERS = np.array([(34, 40, 62), (40, 40, 44), (88, 80, 70), (62, 74, 104), (24, 24, 26)])
_SKIN = np.array([(214, 172, 146), (186, 136, 106), (132, 90, 66), (226, 188, 162)])
_GLASS, _TYRE, _HUB = np.array((46, 54, 62)), np.array((24, 24, 26)), np.array((128, 130, 134))
_DETAIL = 12.0  # pixels a metre below which details are left out
_BLACK, _WHITE = np.array((18, 18, 20)), np.array((235, 235, 228))


@dataclass(frozen=True)
class CarShape:
    """Flat parts in drawing order: `points` (N, 3: forward, right, up), part n from `starts[n]` to `ends[n]`.

    Parts whose `normals` (M, 3) face away from the camera are hidden; `footprint` (4, 3) is the ground below the car.
    """

    points: np.ndarray
    ends: list[int]
    starts: list[int]
    normals: np.ndarray
    colours: np.ndarray
    ids: np.ndarray  # the class; -1 for a detail within the parts below it, which the labels do not need
    footprint: np.ndarray


def draw_car(canvas: Canvas, pose: Pose, look: int, braking: bool) -> None:
    """A car with cabin, windows, wheels and lights."""
    shape = _car(look, braking)
    view = canvas.camera.view(_placed(shape.points, pose))
    if view[:, 2].max() < 0.5:
        return
    normals = _turned(shape.normals, pose[2])
    shades = canvas.light.shade(normals)
    facing = canvas.camera.view(normals + (canvas.camera.x, canvas.camera.y, 0.0))
    distance = float(max(view[:, 2].mean(), 0.5))
    towards = view[shape.starts] - (0.0, canvas.camera.height, 0.0)
    seen = (towards * facing).sum(axis=1) < 0
    if canvas.camera.focal / distance < _DETAIL:
        seen &= shape.ids >= 0
    colours = canvas.light.colours(shape.colours, shades, distance)
    canvas.polygons(view, shape.ends, np.flatnonzero(seen).tolist(), colours, shape.ids.tolist())


def draw_pedestrian(canvas: Canvas, pose: Pose, look: int, progress: float) -> None:
    """A person who has walked `progress` metres; who stands still keeps the pose."""
    rng = np.random.default_rng(look)
    top, legs, skin = _CLOTH[rng.integers(len(_CLOTH))], _TROUSERS[rng.integers(5)], _SKIN[rng.integers(4)]
    hair, tall = rng.uniform(20, 110) * np.array([1.0, 0.85, 0.7]), rng.uniform(1.55, 1.88)
    stride, wide, coat = np.sin(2 * np.pi * progress / 1.45), rng.uniform(0.9, 1.25), rng.random() < 0.4
    hip, neck = 0.5 * tall, 0.82 * tall
    limbs: list[Limb] = []
    for side in (-1.0, 1.0):
        swing = 0.42 * stride * side
        knee = (0.55 * hip * np.sin(swing), 0.09 * side, hip - 0.5 * hip * np.cos(swing))
        bend = swing - 0.5 * max(0.0, -side * np.cos(2 * np.pi * progress / 1.45))
        foot = (knee[0] + 0.45 * hip * np.sin(bend), 0.09 * side, knee[2] - 0.43 * hip * np.cos(bend))
        limbs += [((0.0, 0.08 * side, hip), knee, 0.095 * wide, 0.07, legs), (knee, foot, 0.068, 0.05, legs)]
        limbs.append((foot, (foot[0] + 0.13, 0.1 * side, foot[2] - 0.02), 0.055, 0.045, np.array((32, 28, 26))))
        elbow = (-0.18 * stride * side, 0.25 * wide * side, 0.62 * tall)
        hand = (-0.3 * stride * side + 0.06, 0.25 * wide * side, 0.48 * tall)
        limbs += [((0.0, 0.19 * wide * side, neck - 0.06), elbow, 0.07, 0.055, top * 0.94)]
        limbs += [(elbow, hand, 0.052, 0.04, top * 0.94), (hand, hand, 0.045, 0.045, skin)]
    for side in (-0.07, 0.07):
        low = 0.36 * tall if coat else hip - 0.04
        limbs.append(((0.0, side, low), (0.0, side * 1.4, neck - 0.07), 0.14 * wide, 0.125 * wide, top))
    limbs.append(((0.0, 0.0, neck - 0.05), (0.02, 0.0, neck + 0.05), 0.055, 0.05, skin * 0.9))
    limbs.append(((0.03, 0.0, 0.9 * tall), (0.03, 0.0, 0.935 * tall), 0.085, 0.09, skin))
    limbs.append(((-0.025, 0.0, 0.92 * tall), (-0.01, 0.0, 0.96 * tall), 0.095, 0.095, hair))
    if rng.random() < 0.35:
        limbs.append(((-0.2, 0.0, 0.6 * tall), (-0.2, 0.0, 0.76 * tall), 0.13, 0.11, _CLOTH[rng.integers(len(_CLOTH))]))
    _draw_limbs(canvas, limbs, pose, StreetClass.PEDESTRIAN)


def draw_cyclist(canvas: Canvas, pose: Pose, look: int, progress: float) -> None:
    """A rider on a bicycle that has gone `progress` metres."""
    rng = np.random.default_rng(look)
    top, legs, skin = _CLOTH[rng.integers(len(_CLOTH))], _TROUSERS[rng.integers(5)], _SKIN[rng.integers(4)]
    helmet, metal = _PAINT[rng.integers(len(_PAINT))], _PAINT[rng.integers(len(_PAINT))]
    turn = np.linspace(0, 2 * np.pi, 18, endpoint=False)
    distance = _distance(canvas, pose)
    for axle in (-0.52, 0.52):
        wheel = np.stack([axle + 0.33 * np.cos(turn), 0 * turn, 0.34 + 0.33 * np.sin(turn)], axis=1)
        view = canvas.camera.view(_placed(wheel, pose))
        canvas.ring(view, 0.055, canvas.light.colours(_TYRE, 1.0, distance).tolist(), int(StreetClass.CYCLIST))
    pedal, saddle, bar = (0.0, 0.0, 0.3), (-0.2, 0.0, 0.92), (0.42, 0.0, 0.98)
    rear, front = (-0.52, 0.0, 0.34), (0.52, 0.0, 0.34)
    tubes = [(pedal, saddle), (pedal, bar), (saddle, (0.4, 0.0, 0.86)), (rear, pedal), (rear, saddle), (front, bar)]
    limbs: list[Limb] = [(a, b, 0.022, 0.022, metal) for a, b in tubes]
    limbs.append(((0.44, -0.24, 1.02), (0.44, 0.24, 1.02), 0.02, 0.02, _BLACK))
    for side in (-1.0, 1.0):
        angle = 2 * np.pi * progress / 4.5 + (np.pi if side > 0 else 0.0)
        foot = (0.17 * np.cos(angle), 0.11 * side, 0.32 + 0.17 * np.sin(angle))
        knee = (0.24 + 0.1 * np.cos(angle), 0.12 * side, 0.72 + 0.1 * np.sin(angle))
        limbs += [((-0.17, 0.1 * side, 0.98), knee, 0.1, 0.075, legs), (knee, foot, 0.07, 0.05, legs)]
        limbs.append((foot, (foot[0] + 0.13, foot[1], foot[2] - 0.02), 0.05, 0.045, _BLACK))
        limbs.append(((0.22, 0.19 * side, 1.4), (0.44, 0.23 * side, 1.06), 0.065, 0.045, top * 0.94))
    for side in (-0.07, 0.07):
        limbs.append(((-0.16, side, 1.02), (0.18, 1.5 * side, 1.42), 0.15, 0.14, top))
    limbs.append(((0.34, 0.0, 1.6), (0.35, 0.0, 1.64), 0.09, 0.095, skin))
    limbs.append(((0.27, 0.0, 1.7), (0.37, 0.0, 1.71), 0.09, 0.085, helmet))
    _draw_limbs(canvas, limbs, pose, StreetClass.CYCLIST)


def draw_lamp(canvas: Canvas, pose: Pose, size: float, look: int, inward: float) -> None:
    """A street lamp whose arm reaches over the road, to the right when `inward` is +1."""
    metal = np.array((66, 70, 72)) if look % 2 else np.array((126, 130, 132))
    tip = (0.0, 1.3 * inward, size + 0.15)
    limbs: list[Limb] = [((0.0, 0.0, 0.0), (0.0, 0.0, 0.9), 0.1, 0.09, metal)]
    limbs.append(((0.0, 0.0, 0.9), (0.0, 0.0, size), 0.07, 0.05, metal))
    limbs += [((0.0, 0.0, size), tip, 0.045, 0.04, metal), (tip, (0.0, 1.75 * inward, size + 0.15), 0.1, 0.08, metal)]
    _draw_limbs(canvas, limbs, pose, StreetClass.POLE)


def draw_sign(canvas: Canvas, pose: Pose, size: float, plate: Texture) -> None:
    """A sign on a post; `pose` heads the way the plate is read."""
    post = np.array((138, 140, 142))
    _draw_limbs(canvas, [((0.03, 0.0, 0.0), (0.03, 0.0, size), 0.04, 0.04, post)], pose, StreetClass.POLE)
    half = 0.36
    corners = np.array([(0.0, -half, size - 0.72), (0.0, half, size - 0.72), (0.0, half, size), (0.0, -half, size)])
    placed = _placed(corners, pose)
    normal = _turned(np.array([(-1.0, 0.0, 0.0)]), pose[2])
    canvas.panel(plate, canvas.camera.view(placed), int(StreetClass.SIGN), float(canvas.light.shade(normal)[0]))


def draw_light(canvas: Canvas, pose: Pose, size: float, go: bool, facing: bool) -> None:
    """A traffic light; its lamps show when it is `facing` the camera."""
    post = np.array((70, 72, 74))
    low, high = size - 0.85, size - 0.1
    _draw_limbs(canvas, [((0.04, 0.0, 0.0), (0.04, 0.0, low), 0.055, 0.055, post)], pose, StreetClass.POLE)
    _draw_limbs(canvas, [((0.0, 0.0, low), (0.0, 0.0, high), 0.2, 0.2, np.array((34, 35, 37)))], pose, StreetClass.SIGN)
    if not facing:
        return
    for number, (on, colour) in enumerate(((not go, (255, 50, 40)), (False, (250, 180, 40)), (go, (60, 255, 150)))):
        shown = np.array([colour]) * (1.0 if on else 0.2)
        place = canvas.camera.view(_placed(np.array([(-0.06, 0.0, high + 0.04 - 0.33 * number)]), pose))
        canvas.capsules(np.stack([place, place], axis=1), np.full((1, 2), 0.1), shown, int(StreetClass.SIGN))


def car_footprint(pose: Pose, look: int) -> np.ndarray:
    """World points (4, 3) of the ground below a car."""
    return _placed(_car(look, False).footprint, pose)


def _draw_limbs(canvas: Canvas, limbs: list[Limb], pose: Pose, class_id: StreetClass) -> None:
    ends = np.array([(limb[0], limb[1]) for limb in limbs])
    unordered = canvas.camera.view(_placed(ends.reshape(-1, 3), pose)).reshape(-1, 2, 3)
    order = np.argsort(-unordered[..., 2].mean(axis=1), kind="stable")
    view = unordered[order]
    radii = np.array([limb[2:4] for limb in limbs])[order]
    colours = np.array([limb[4] for limb in limbs])[order]
    distance = max(0.5, float(view[..., 2].mean()))
    bright = canvas.light.ambient + 0.75 * canvas.light.direct
    dark = canvas.light.colours(colours, 0.74 * bright, distance)
    if canvas.camera.focal / distance < _DETAIL:
        canvas.capsules(view, radii, dark, int(class_id))
        return
    # Each limb is followed by a narrower one, moved towards the sun, as its lit side.
    sun = canvas.camera.view(canvas.light.sun + (canvas.camera.x, canvas.camera.y, 0.0))
    towards = radii[:, :1, None] * np.array([0.3 * np.sign(sun[0]), 0.15, 0.0])
    lit = canvas.light.colours(colours, 1.06 * bright, distance)
    pairs = np.stack([view, view + towards], axis=1).reshape(-1, 2, 3)
    widths = np.stack([radii, 0.55 * radii], axis=1).reshape(-1, 2)
    canvas.capsules(pairs, widths, np.stack([dark, lit], axis=1).reshape(-1, 3), int(class_id))


def _distance(canvas: Canvas, pose: Pose) -> float:
    return max(0.5, float(np.hypot(pose[0] - canvas.camera.x, pose[1] - canvas.camera.y)))


def _placed(local: np.ndarray, pose: Pose) -> np.ndarray:
    """Local points (N, 3: forward, right, up) in the world (N, 3: x, y, up)."""
    return _turned(local, pose[2]) + (pose[0], pose[1], 0.0)


def _turned(local: np.ndarray, heading: float) -> np.ndarray:
    cos, sin = np.cos(heading), np.sin(heading)
    forward, right = local[:, 0], local[:, 1]
    return np.stack([forward * cos + right * sin, forward * sin - right * cos, local[:, 2]], axis=1)


@lru_cache(maxsize=512)
def _car(look: int, braking: bool) -> CarShape:
    """A hatchback, saloon, estate, or van, from its side view."""
    rng = np.random.default_rng(look)
    kind = rng.choice(4, p=[0.42, 0.28, 0.18, 0.12])
    paint = _PAINT[rng.integers(len(_PAINT))] * rng.uniform(0.9, 1.08)
    half_length, half = (2.0, 2.25, 2.2, 2.4)[kind] * rng.uniform(0.96, 1.04), (0.86, 0.88, 0.92, 0.96)[kind]
    shoulder, top = (0.92, 0.9, 1.02, 1.12)[kind], (1.46, 1.42, 1.66, 2.05)[kind]
    rear_base, rear_top = (-1.9, -1.45, -2.1, -2.34)[kind], (-1.45, -0.85, -1.95, -2.28)[kind]
    front_top, front_base = (0.25, 0.3, 0.3, 1.0)[kind], (1.02, 1.05, 1.05, 1.75)[kind]
    bonnet = shoulder - 0.14
    body = [(-half_length + 0.05, 0.28), (-half_length, 0.58), (-half_length + 0.07, shoulder), (rear_base, shoulder)]
    body += [(front_base, shoulder), (half_length - 0.15, bonnet), (half_length, 0.58), (half_length - 0.06, 0.28)]
    cabin = [(rear_base, shoulder), (rear_top, top - 0.03), (front_top, top), (front_base, shoulder)]
    parts = _CarParts()
    for number, (a, b) in enumerate(pairwise(body)):
        parts.strip(a, b, (half, half), paint * (0.82 if number in (0, 6) else 1.0))
    # Below the bumpers: the shaded underside, and the wheels seen from the end.
    for end in (-1.0, 1.0):
        inset = end * (half_length - 0.25)
        parts.patch((inset, 0.14), (inset, 0.3), (-0.9, 0.9), (0.0, 1.0), half, _TYRE * 0.8, outline=True)
        for left, right in ((-0.98, -0.74), (0.74, 0.98)):
            parts.patch((inset, 0.0), (inset, 0.3), (left, right), (0.0, 1.0), half, _TYRE, outline=True)
    _lights(parts, body, half, braking, rng)
    for side in (-1.0, 1.0):
        parts.side(body, half * side, paint * 0.95)
        sill = [(x, min(z, 0.5)) for x, z in body if z < 0.6]
        parts.side([body[0], body[1], body[6], body[7]], half * side, paint * 0.8, outline=False)
        parts.side(sill, half * side, paint * 0.62, outline=False)
        band = [(body[2][0], shoulder - 0.1), body[2], (front_base, shoulder), (half_length - 0.25, bonnet - 0.02)]
        parts.side(band, half * side, np.minimum(paint * 1.12 + 8, 250), outline=False)
        for axle in (-0.62 * half_length, 0.64 * half_length):
            for radius, colour in ((0.38, paint * 0.2), (0.325, _TYRE), (0.2, _HUB), (0.07, _TYRE)):
                turn = np.linspace(0, 2 * np.pi, 14, endpoint=False)
                disc = [(axle + radius * np.cos(t), max(0.0, 0.325 + radius * np.sin(t))) for t in turn]
                parts.side(disc, half * side, colour)
        door = [(-0.15, 0.4), (-0.12, 0.4), (-0.12, shoulder), (-0.15, shoulder)]
        parts.side(door, half * side, paint * 0.55, outline=False)
    widths = [half - 0.05, half - 0.2, half - 0.2, half - 0.05]
    for number, (a, b) in enumerate(pairwise(cabin)):
        edge = (widths[number], widths[number + 1])
        parts.strip(a, b, edge, paint)
        if number != 1:
            parts.strip(_mix(a, b, 0.1), _mix(a, b, 0.88), (edge[0] - 0.08, edge[1] - 0.08), _GLASS * 1.25)
    for side in (-1.0, 1.0):
        parts.leaning_side(cabin, [width * side for width in widths], paint)
        for low, high in ((0.06, 0.5), (0.54, 0.94)) if kind != 3 else ((0.66, 0.96),):
            window = [_across(cabin, low, 0.06), _across(cabin, low, 0.84)]
            window += [_across(cabin, high, 0.84), _across(cabin, high, 0.06)]
            lean = [side * (half - 0.05 - 0.15 * share) for share in (0.06, 0.84, 0.84, 0.06)]
            parts.leaning_side(window, lean, _GLASS, outline=False)
    return parts.shape(half_length, half)


def _lights(
    parts: _CarParts, body: list[tuple[float, float]], half: float, braking: bool, rng: np.random.Generator
) -> None:
    red, plate = np.array((255, 60, 46)) if braking else np.array((158, 30, 30)), np.array((226, 216, 150))
    parts.patch(body[1], body[2], (-0.55, 0.55), (0.45, 0.95), half, np.array((30, 32, 34)) + 8)
    parts.patch(body[1], body[2], (-0.3, 0.3), (0.05, 0.35), half, plate)
    parts.patch(body[6], body[5], (-0.3, 0.3), (-0.02, 0.2), half, _WHITE)
    parts.patch(body[6], body[5], (-0.5, 0.5), (0.3, 0.75), half, _BLACK + 14)
    for left, right in ((-0.97, -0.68), (0.68, 0.97)):
        parts.patch(body[1], body[2], (left, right), (0.36, 0.96), half, _BLACK)
        parts.patch(body[1], body[2], (left * 0.98, right * 0.98), (0.4, 0.9), half, red)
        parts.patch(body[6], body[5], (left, right), (0.35, 0.9), half, _WHITE * rng.uniform(0.85, 1.0))


class _CarParts:
    """Collects the flat parts of a car, in drawing order."""

    def __init__(self) -> None:
        self._polygons: list[np.ndarray] = []
        self._colours: list[np.ndarray] = []
        self._normals: list[np.ndarray] = []
        self._outlines: list[bool] = []

    def strip(
        self, a: tuple[float, float], b: tuple[float, float], halves: tuple[float, float], colour: np.ndarray
    ) -> None:
        """The surface across the car between two points of its side view."""
        (xa, za), (xb, zb), (ha, hb) = a, b, halves
        normal = np.array([za - zb, 0.0, xb - xa])
        self._add(np.array([(xa, -ha, za), (xa, ha, za), (xb, hb, zb), (xb, -hb, zb)]), normal, colour, True)

    def patch(
        self,
        low: tuple[float, float],
        high: tuple[float, float],
        across: tuple[float, float],
        up: tuple[float, float],
        half: float,
        colour: np.ndarray,
        outline: bool = False,
    ) -> None:
        """A rectangle on the rear or the front, in shares of its half width and its height."""
        a, b = _mix(low, high, up[0]), _mix(low, high, up[1])
        left, right = across[0] * half, across[1] * half
        normal = np.array([np.sign(low[0]), 0.0, 0.0])
        self._add(
            np.array([(a[0], left, a[1]), (a[0], right, a[1]), (b[0], right, b[1]), (b[0], left, b[1])]),
            normal, colour, outline,
        )  # fmt: skip

    def side(
        self, outline_points: list[tuple[float, float]], right: float, colour: np.ndarray, outline: bool = True
    ) -> None:
        """An upright part of a side."""
        self.leaning_side(outline_points, [right] * len(outline_points), colour, outline)

    def leaning_side(
        self, points: list[tuple[float, float]], rights: list[float], colour: np.ndarray, outline: bool = True
    ) -> None:
        """A part of a side whose points lie `rights` metres to the right."""
        polygon = np.array([(x, right, z) for (x, z), right in zip(points, rights, strict=True)])
        self._add(polygon, np.array([0.0, np.sign(rights[0]), 0.0]), colour, outline)

    def shape(self, half_length: float, half: float) -> CarShape:
        """All parts together."""
        a, b = half_length * 0.98, half * 1.02
        footprint = np.array([(-a, -b, 0.0), (-a, b, 0.0), (a, b, 0.0), (a, -b, 0.0)])
        normals = np.array([normal / np.linalg.norm(normal) for normal in self._normals])
        ends = np.cumsum([len(polygon) for polygon in self._polygons]).tolist()
        points = np.concatenate(self._polygons)
        ids = np.where(self._outlines, int(StreetClass.CAR), -1)
        return CarShape(points, ends, [0, *ends[:-1]], normals, np.array(self._colours), ids, footprint)

    def _add(self, polygon: np.ndarray, normal: np.ndarray, colour: np.ndarray, outline: bool) -> None:
        self._polygons.append(polygon)
        self._normals.append(normal)
        self._colours.append(colour)
        self._outlines.append(outline)


def _mix(a: tuple[float, float], b: tuple[float, float], share: float) -> tuple[float, float]:
    return a[0] + (b[0] - a[0]) * share, a[1] + (b[1] - a[1]) * share


def _across(cabin: list[tuple[float, float]], along: float, up: float) -> tuple[float, float]:
    """A point of a cabin's side view in shares of its length and height."""
    low, high = _mix(cabin[0], cabin[3], along), _mix(cabin[1], cabin[2], along)
    return _mix(low, high, up)
