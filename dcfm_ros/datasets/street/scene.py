"""Puts a rendered drive together: for each moment, everything in view is drawn from far to near."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import pairwise

import cv2
import numpy as np

from dcfm_ros.datasets.street import actors, textures
from dcfm_ros.datasets.street.canvas import NEAR, Camera, Canvas, Light
from dcfm_ros.datasets.street.ground import Ground, Sky
from dcfm_ros.datasets.street.textures import Texture
from dcfm_ros.datasets.street.visibility import Drawing, far_to_near
from dcfm_ros.datasets.street.world import VIEW, Actor, Building, Fence, Fixture, Road, StreetClass, World

_FIELD_OF_VIEW = np.radians(65.0)
_BEHIND = 45.0  # metres behind the camera from where a building may still reach into the picture
_REACH = {"tree": 3.5, "lamp": 2.0, "sign": 0.5, "light": 0.4, "car": 2.8, "pedestrian": 0.8, "cyclist": 1.1}  # metres


@dataclass(frozen=True)
class Panel:
    """A flat textured part of the world. `corners` (4, 3) as Canvas.panel takes them; `key` (2,) decides the order."""

    s: float
    corners: np.ndarray
    normal: np.ndarray  # world, outward; zeros where both sides are seen
    key: np.ndarray
    texture: Texture
    class_id: StreetClass


class Scene:
    """Renders any moment of a world, as seen by a camera of `height` by `width` pixels."""

    def __init__(self, seed: int, world: World, height: int, width: int) -> None:
        rng = np.random.default_rng([seed, 2])
        self._seed, self._world, self._size = seed, world, (height, width)
        self._focal = width / 2 / np.tan(_FIELD_OF_VIEW / 2)
        overcast = bool(rng.random() < 0.4)
        self._light = _light(rng, overcast)
        right = world.road.heading_at(0.0) - np.pi / 2
        sun_side = float(np.sign(self._light.sun[:2] @ (np.cos(right), np.sin(right))))
        self._ground = Ground(world, rng, 0.0 if overcast else sun_side)
        level = Camera(0.0, 0.0, 0.0, self._focal, width / 2, height * 0.46)
        self._sky = Sky(rng, self._light.haze, overcast, level, width)
        self._trees = [Texture(*textures.tree(rng)) for _ in range(5)]
        self._signs = [Texture(*textures.sign(rng, look)) for look in range(8)]
        self._sign_backs = [Texture(*_back_of(plate)) for plate in self._signs]
        self._panels = _panels(world, rng)
        self._panel_s = np.array([panel.s for panel in self._panels])
        self._corners = np.array([panel.corners for panel in self._panels])
        self._normals = np.array([panel.normal for panel in self._panels])
        self._keys = np.array([panel.key for panel in self._panels])
        self._shades = self._light.shade(self._normals) + np.where(self._normals.any(axis=1), 0.0, 0.12)
        self._fixtures = sorted(world.fixtures, key=lambda fixture: fixture.s)
        self._fixture_s = np.array([fixture.s for fixture in self._fixtures])
        self._tone = _tone(rng)
        self._grain = np.clip(rng.normal(0, rng.uniform(1.6, 3.0), (height + 64, width + 64, 3)), -12, 12).astype(
            np.int8
        )

    def render(self, index: int, seconds: float) -> tuple[np.ndarray, np.ndarray]:
        """The picture (H, W, 3) RGB and its class ids (H, W), uint8; `index` only chooses the sensor's noise."""
        s = self._world.travel.s(seconds)
        canvas = Canvas(*self._size, self._camera(seconds, s), self._light)
        self._sky.paint(canvas)
        self._ground.paint(canvas, s)
        moving = list(self._actors_in_view(seconds, s))
        for actor, pose, _ in moving:
            self._cast_shadow(canvas, actor, pose)
        drawings = [*self._panel_drawings(canvas.camera, s), *self._fixture_drawings(canvas.camera, seconds, s)]
        drawings += [self._actor_drawing(canvas.camera, seconds, *one) for one in moving]
        for drawing in far_to_near(drawings, self._size[1]):
            drawing.draw(canvas)
        return self._photograph(canvas.image, index), canvas.label

    def _camera(self, seconds: float, s: float) -> Camera:
        height, width = self._size
        travel, road = self._world.travel, self._world.road
        speed = travel.speed(seconds)
        shake = sum(math.sin(seconds * rate + 2.1 * rate) for rate in (9.7, 23.0, 41.0)) * 0.0004 * min(speed / 8, 1)
        nod = 0.0013 * (travel.speed(seconds + 0.15) - travel.speed(seconds - 0.15)) / 0.3
        x, y, _ = road.pose(s, self._world.camera_d)
        here = road.heading_at(s)
        heading = here + 0.004 * math.sin(0.22 * s) + 0.06 * (road.heading_at(s + 6) - here)
        horizon = height * 0.46 + self._focal * (shake + nod)
        return Camera(x, y, heading, self._focal, width / 2, horizon)

    def _panel_drawings(self, camera: Camera, s: float) -> Iterator[Drawing]:
        low, high = np.searchsorted(self._panel_s, (s - _BEHIND, s + VIEW))
        corners = self._corners[low:high]
        view = camera.view(corners)
        towards = (camera.x, camera.y, camera.height) - corners[:, 0]
        normals = self._normals[low:high]
        seen = (towards * normals).sum(axis=1) > 0
        seen |= ~normals.any(axis=1)
        seen &= view[..., 2].max(axis=1) > NEAR
        distances = np.hypot(*(self._keys[low:high] - (camera.x, camera.y)).T)
        for number in np.flatnonzero(seen).tolist():
            yield self._panel_drawing(camera, low + number, view[number], float(distances[number]))

    def _panel_drawing(self, camera: Camera, number: int, view: np.ndarray, distance: float) -> Drawing:
        panel = self._panels[number]
        draw = partial(_draw_panel, panel=panel, view=view, shade=float(self._shades[number]))
        if view[:, 2].min() < NEAR:
            return Drawing(distance, 0.0, self._size[1], -np.inf, draw)
        columns, rows = camera.pixels(view).T.tolist()
        wall = None
        if panel.class_id == StreetClass.BUILDING and panel.normal[2] == 0:
            wall = (rows[3], rows[2]) if columns[0] < columns[1] else (rows[2], rows[3])
        return Drawing(distance, min(columns), max(columns), min(rows), draw, wall)

    def _fixture_drawings(self, camera: Camera, seconds: float, s: float) -> Iterator[Drawing]:
        low, high = np.searchsorted(self._fixture_s, (s - 8.0, s + VIEW))
        for fixture in self._fixtures[low:high]:
            pose = self._world.road.pose(fixture.s, fixture.d)
            draw = partial(self._draw_fixture, fixture=fixture, pose=pose, seconds=seconds)
            yield self._standing(camera, pose, fixture.kind, fixture.size + 0.3, draw)

    def _draw_fixture(self, canvas: Canvas, fixture: Fixture, pose: actors.Pose, seconds: float) -> None:
        onward = fixture.d * self._world.traffic_side > 0  # stands where the camera's lane looks at it
        facing = pose if onward else (pose[0], pose[1], pose[2] + np.pi)
        if fixture.kind == "tree":
            _draw_tree(canvas, self._trees[fixture.look % len(self._trees)], pose, fixture)
        elif fixture.kind == "lamp":
            actors.draw_lamp(canvas, pose, fixture.size, fixture.look, -float(np.sign(fixture.d)))
        elif fixture.kind == "sign":
            plates = self._signs if onward else self._sign_backs
            actors.draw_sign(canvas, facing, fixture.size, plates[fixture.look % len(plates)])
        else:
            stop = fixture.stop
            go = stop is None or not stop.begin - 4.0 < seconds < stop.end - 0.3
            actors.draw_light(canvas, facing, fixture.size, go, onward)

    def _actors_in_view(self, seconds: float, s: float) -> Iterator[tuple[Actor, actors.Pose, float]]:
        """The actors near the camera, with their place and how far they have come."""
        for actor in self._world.actors:
            along, across, turn = actor.motion(seconds)
            if s - 8.0 < along < s + VIEW:
                x, y, heading = self._world.road.pose(along, across)
                yield actor, (x, y, heading + turn), along + across

    def _actor_drawing(
        self, camera: Camera, seconds: float, actor: Actor, pose: actors.Pose, progress: float
    ) -> Drawing:
        if actor.kind == "car":
            draw = partial(actors.draw_car, pose=pose, look=actor.look, braking=_brakes(actor, seconds))
        else:
            figure = actors.draw_pedestrian if actor.kind == "pedestrian" else actors.draw_cyclist
            draw = partial(figure, pose=pose, look=actor.look, progress=progress)
        return self._standing(camera, pose, actor.kind, 2.2, draw)

    def _standing(
        self, camera: Camera, pose: actors.Pose, kind: str, top: float, draw: Callable[[Canvas], None]
    ) -> Drawing:
        """A drawing of something up to `top` metres high at a place."""
        right, _, forward = camera.view(np.array([pose[0], pose[1], 0.0])).tolist()
        reach, distance = _REACH[kind], float(np.hypot(pose[0] - camera.x, pose[1] - camera.y))
        nearest = forward - reach
        if nearest < NEAR:
            seen = forward + reach > NEAR
            return Drawing(distance, 0.0, self._size[1] if seen else -9.0, -np.inf, draw)
        # From the nearer or the farther end, whichever lies further out.
        left = min((right - reach) / nearest, (right - reach) / (forward + reach))
        far_right = max((right + reach) / nearest, (right + reach) / (forward + reach))
        rows = camera.horizon + (camera.height - top) * camera.focal / (
            nearest if top > camera.height else forward + reach
        )
        return Drawing(
            distance, camera.middle + left * camera.focal, camera.middle + far_right * camera.focal, rows, draw
        )

    def _cast_shadow(self, canvas: Canvas, actor: Actor, pose: actors.Pose) -> None:
        if actor.kind == "car":
            corners = actors.car_footprint(pose, actor.look)
            canvas.shadow(canvas.camera.view(corners), 0.62)
            return
        half = np.array([(-0.3, -0.3, 0.0), (-0.3, 0.3, 0.0), (0.3, 0.3, 0.0), (0.3, -0.3, 0.0)])
        canvas.shadow(canvas.camera.view(half + (pose[0], pose[1], 0.0)), 0.35)

    def _photograph(self, image: np.ndarray, index: int) -> np.ndarray:
        """Lens, tone and noise."""
        height, width = self._size
        soft = cv2.GaussianBlur(image, (3, 3), 0.55)
        toned = cv2.LUT(soft, self._tone)
        y, x = np.random.default_rng([self._seed, 3, index]).integers(0, 64, 2)
        return cv2.add(toned, self._grain[y : y + height, x : x + width], dtype=cv2.CV_8U)


def _light(rng: np.random.Generator, overcast: bool) -> Light:
    azimuth, elevation = rng.uniform(0, 2 * np.pi), np.radians(rng.uniform(25, 55))
    flat = np.cos(elevation)
    sun = np.array([flat * np.cos(azimuth), flat * np.sin(azimuth), np.sin(elevation)])
    haze = np.array([206, 212, 220] if overcast else [198, 212, 232]) * rng.uniform(0.95, 1.05)
    ambient, direct = (0.84, 0.16) if overcast else (0.6, 0.52)
    return Light(sun, ambient, direct, np.clip(haze, 0, 250), float(rng.uniform(130, 260)))


def _tone(rng: np.random.Generator) -> np.ndarray:
    """The camera's response as a table (1, 256, 3) uint8: exposure, contrast, white balance."""
    values = np.linspace(0, 1, 256)[None, :, None] ** rng.uniform(0.95, 1.2)
    curve = values + rng.uniform(0.0, 0.12) * (values - values**2) * (2 * values - 1) * 4
    balance = 1 + np.array([1.0, 0.0, -1.0]) * rng.uniform(-0.05, 0.05)
    return np.clip(curve * balance * rng.uniform(0.85, 1.08) * 255, 0, 255).astype(np.uint8)


def _back_of(plate: Texture) -> tuple[np.ndarray, np.ndarray | None]:
    rgb, alpha = plate.at(plate.height, plate.width)
    return np.full_like(rgb, 132), alpha


def _brakes(actor: Actor, seconds: float) -> bool:
    """Whether the brake lights are on: slowing down, or standing in traffic."""
    before, now, later = (actor.motion(seconds + shift) for shift in (-0.2, 0.0, 0.2))
    gone, going = np.hypot(now[0] - before[0], now[1] - before[1]), np.hypot(later[0] - now[0], later[1] - now[1])
    return not actor.parked and (going < gone - 0.03 or going < 0.02)


def _draw_panel(canvas: Canvas, panel: Panel, view: np.ndarray, shade: float) -> None:
    canvas.panel(panel.texture, view, int(panel.class_id), shade)


def _draw_tree(canvas: Canvas, texture: Texture, pose: actors.Pose, fixture: Fixture) -> None:
    """A tree always shows the same side."""
    middle = canvas.camera.view(np.array([pose[0], pose[1], 0.0]))
    half = fixture.size * texture.width / texture.height / 2 * (1 if fixture.look % 2 else -1)
    offsets = np.array([(-half, 0.0, 0.0), (half, 0.0, 0.0), (half, fixture.size, 0.0), (-half, fixture.size, 0.0)])
    canvas.panel(texture, middle + offsets, int(StreetClass.TREE), canvas.light.ambient + 0.6 * canvas.light.direct)


def _panels(world: World, rng: np.random.Generator) -> list[Panel]:
    """All flat parts of buildings and fences, sorted along the road."""
    facades = [Texture(textures.facade(rng, *size)) for size in world.facade_sizes]
    roofs = [Texture(textures.roof(rng)) for _ in range(3)]
    boards = [Texture(textures.fence(rng, kind)) for kind in range(2)]
    panels: list[Panel] = []
    for building in world.buildings:
        panels += _building_panels(world.road, building, facades[building.facade], roofs[building.facade % 3])
    panels += [_fence_panel(world.road, fence, boards[fence.kind]) for fence in world.fences]
    return sorted(panels, key=lambda panel: panel.s)


def _building_panels(road: Road, building: Building, facade: Texture, roof: Texture) -> Iterator[Panel]:
    a, b = np.array(road.point(building.s0, building.d)), np.array(road.point(building.s1, building.d))
    along = (b - a) / np.linalg.norm(b - a)
    back = np.array([along[1], -along[0]]) * np.sign(building.d)
    # By its far end: whatever stands before the front is nearer than that.
    made = partial(Panel, building.s1, key=b, class_id=StreetClass.BUILDING)
    high = building.height
    yield made(_upright(a, b, 0.0, high), _flat(-back), texture=facade)
    length = facade.width / textures.FACADE_DENSITY
    pieces = max(1, round(building.depth / length))
    for corner, outward in ((a, -along), (b, along)):
        steps = [corner + back * (building.depth * number / pieces) for number in range(pieces + 1)]
        for start, end in pairwise(steps):
            yield made(_upright(start, end, 0.0, high), _flat(outward), texture=facade)
    if building.roof:
        top, half, inset = high + building.roof, building.depth / 2, 2.0
        eaves = [a - 0.3 * (back + along), b - 0.3 * (back - along)]
        ridge = [a + half * back + inset * along, b + half * back - inset * along]
        slope = np.array([[*eaves[0], high], [*eaves[1], high], [*ridge[1], top], [*ridge[0], top]])
        yield made(slope, _tilted(-back, half, building.roof), texture=roof)
        for corner, tip, outward in ((a, ridge[0], -along), (b, ridge[1], along)):
            low, far = corner - 0.3 * back + 0.3 * outward, corner + building.depth * back + 0.3 * outward
            hip = np.array([[*low, high], [*far, high], [*(tip + 0.4 * back), top], [*(tip - 0.4 * back), top]])
            yield made(hip, _tilted(outward, inset, building.roof), texture=roof)


def _fence_panel(road: Road, fence: Fence, boards: Texture) -> Panel:
    a, b = np.array(road.point(fence.s0, fence.d)), np.array(road.point(fence.s1, fence.d))
    corners = _upright(a, b, 0.0, fence.height)
    return Panel(fence.s1, corners, np.zeros(3), (a + b) / 2, boards, StreetClass.FENCE)


def _upright(a: np.ndarray, b: np.ndarray, low: float, high: float) -> np.ndarray:
    return np.array([[*a, low], [*b, low], [*b, high], [*a, high]])


def _flat(direction: np.ndarray) -> np.ndarray:
    return np.array([*direction, 0.0])


def _tilted(direction: np.ndarray, run: float, rise: float) -> np.ndarray:
    return np.array([*(direction * rise), run]) / np.hypot(rise, run)
