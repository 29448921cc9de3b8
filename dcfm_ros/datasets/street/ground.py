"""The ground and the sky of a rendered drive: looked up for each pixel instead of drawn as shapes."""

from __future__ import annotations

import cv2
import numpy as np

from dcfm_ros.datasets.street.canvas import Camera, Canvas
from dcfm_ros.datasets.street.textures import GROUND_DENSITY, GROUND_HALF, SKY_BOTTOM, SKY_TOP, ground, sky
from dcfm_ros.datasets.street.world import JUNCTION, ROAD_HALF, ROAD_STEP, SECTION, VIEW, World

_COARSE = 4  # road coordinates are found for every fourth column and interpolated between
_FARTHEST = VIEW + 60.0
_LEVELS = 6


class Ground:
    """Paints road and pavement by finding, for each pixel, where on the road it looks."""

    def __init__(self, world: World, rng: np.random.Generator, shaded_side: float) -> None:
        self._road = world.road
        colours, self._labels = ground(rng, world.traffic_side, world.pavement_width)
        self._levels = [colours]
        for level in range(1, _LEVELS):
            # Seen at a low angle, the ground shrinks far more along the road than across it.
            rows, columns = colours.shape[0] >> level, colours.shape[1] >> max(0, level - 2)
            self._levels.append(cv2.resize(colours, (columns, rows), interpolation=cv2.INTER_AREA))
        steps = self._road.s
        self._offsets = np.floor(steps / SECTION) * SECTION
        for junction in world.junctions:
            inside = (steps >= junction - JUNCTION / 2) & (steps < junction + JUNCTION / 2)
            self._offsets[inside] = junction - JUNCTION / 2 - SECTION
        self._offsets = self._offsets.astype(np.float32)
        self._shadow = self._shadow_edges(world, shaded_side) if shaded_side else None
        self._shaded_side = shaded_side

    def paint(self, canvas: Canvas, s: float) -> None:
        """Fills everything below the horizon of a canvas whose camera is at `s`, picture and labels."""
        camera = canvas.camera
        height, width = canvas.label.shape
        first = int(np.ceil(camera.horizon - 0.5 + 1e-3))
        rows = np.arange(first, height) + 0.5 - camera.horizon
        forward = np.minimum(camera.focal * camera.height / rows, _FARTHEST)
        along, across = self._road_coordinates(camera, forward, width, s)
        step = np.clip((along - self._road.s[0]) / ROAD_STEP, 0, len(self._offsets) - 1).astype(np.intp)
        column = (across + GROUND_HALF) * GROUND_DENSITY - 0.5
        row = (along - self._offsets[step]) * GROUND_DENSITY - 0.5
        labels = cv2.remap(self._labels, column, row, cv2.INTER_NEAREST, borderMode=cv2.BORDER_REPLICATE)
        colours = self._look_up(column, row, forward, camera.focal)
        veil = canvas.light.veil(forward).astype(np.float32)[:, None, None]
        keep = 1 - veil
        if self._shadow is not None:
            depth = np.clip((self._shaded_side * across - self._shadow[step]) * 2.5, 0, 1)
            keep = keep * (1 - 0.42 * depth)[..., None]
        canvas.image[first:] = colours * keep + canvas.light.haze.astype(np.float32) * veil
        canvas.label[first:] = labels

    def _road_coordinates(
        self, camera: Camera, forward: np.ndarray, width: int, s: float
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return s and d of the ground in each row (at `forward` metres) and column. float32 (rows, width) each."""
        first = max(0, round((s - 20.0 - self._road.s[0]) / ROAD_STEP))
        part = slice(first, first + round((_FARTHEST + 80.0) / ROAD_STEP))
        x, y, heading = self._road.x[part] - camera.x, self._road.y[part] - camera.y, self._road.heading[part]
        cos, sin = np.cos(camera.heading), np.sin(camera.heading)
        ahead, right = (x * cos + y * sin).astype(np.float32), (x * sin - y * cos).astype(np.float32)
        turn = heading - camera.heading
        # The road's direction at each step of the table, as forward and right parts.
        along_f, along_r = np.cos(turn).astype(np.float32), -np.sin(turn).astype(np.float32)
        bend = self._road.curvature[part].astype(np.float32)
        samples = (np.arange(-1, -(-width // _COARSE) + 1) + 0.5) * _COARSE
        z = forward.astype(np.float32)[:, None]
        side = z * ((samples - camera.middle) / camera.focal).astype(np.float32)
        guess = np.interp(forward, np.maximum.accumulate(ahead), np.arange(len(ahead)))
        step = np.broadcast_to(guess[:, None], side.shape)
        for _ in range(3):
            index = np.clip(np.rint(step), 0, len(ahead) - 1).astype(np.intp)
            to_f, to_r = z - ahead[index], side - right[index]
            across = to_r * along_f[index] - to_f * along_r[index]
            onward = (to_f * along_f[index] + to_r * along_r[index]) / np.maximum(0.3, 1 + bend[index] * across)
            step = index + np.clip(onward / ROAD_STEP, -60, 60)
        along = (step * ROAD_STEP + self._road.s[part][0]).astype(np.float32)
        size = (len(samples) * _COARSE, len(forward))
        wide = [cv2.resize(part, size, interpolation=cv2.INTER_LINEAR) for part in (along, across.astype(np.float32))]
        return wide[0][:, _COARSE : _COARSE + width], wide[1][:, _COARSE : _COARSE + width]

    def _look_up(self, column: np.ndarray, row: np.ndarray, forward: np.ndarray, focal: float) -> np.ndarray:
        """The ground's colours, each band of rows from the copy as coarse as its pixels."""
        texels = forward**2 / (focal * 1.5) * GROUND_DENSITY
        level = np.clip(np.log2(np.maximum(texels, 1.0)) + 0.3, 0, _LEVELS - 1).astype(int)
        colours = np.empty((*column.shape, 3), np.uint8)
        for number in np.unique(level).tolist():
            band = np.flatnonzero(level == number)
            part = slice(band[0], band[-1] + 1)
            down, narrow = 2.0**number, 2.0 ** max(0, number - 2)
            u, v = (column[part] + 0.5) / narrow - 0.5, (row[part] + 0.5) / down - 0.5
            colours[part] = cv2.remap(self._levels[number], u, v, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        return colours

    def _shadow_edges(self, world: World, side: float) -> np.ndarray:
        """How far from the centre line the houses' shadow begins, for each step of s. float32, metres."""
        edge = np.full(len(self._road.s), 2 * GROUND_HALF, np.float32)
        for building in world.buildings:
            if building.d * side > 0 and abs(building.d) < ROAD_HALF + 9:
                inside = (self._road.s >= building.s0) & (self._road.s < building.s1)
                edge[inside] = abs(building.d) - 0.55 * (building.height + building.roof)
        return cv2.blur(edge[None, :], (3, 1))[0]


class Sky:
    """Paints sky, clouds and the far skyline."""

    def __init__(self, rng: np.random.Generator, haze: np.ndarray, overcast: bool, camera: Camera, width: int) -> None:
        colours, labels = sky(rng, haze, overcast)
        self._columns = labels.shape[1]
        # A copy of the start at the end spares the wrap-around inside a picture.
        margin = self._columns // 3
        self._colours = np.concatenate([colours, colours[:, :margin]], axis=1)
        self._labels = np.concatenate([labels, labels[:, :margin]], axis=1)
        self._per_degree = (labels.shape[0] - 1) / (SKY_TOP - SKY_BOTTOM)
        u = (np.arange(width) + 0.5 - camera.middle) / camera.focal
        self._bearing = np.degrees(np.arctan(u)).astype(np.float32)
        self._stretch = (1 / np.hypot(u, 1)).astype(np.float32)

    def paint(self, canvas: Canvas) -> None:
        """Fills everything above the horizon, picture and labels."""
        camera = canvas.camera
        last = int(np.ceil(camera.horizon - 0.5 + 1e-3))
        rise = ((camera.horizon - 0.5 - np.arange(last)) / camera.focal).astype(np.float32)[:, None]
        degrees = np.degrees(np.arctan(rise * self._stretch[None, :]))
        start = (90.0 - np.degrees(camera.heading) - 60.0) % 360.0
        column = (start + 60.0 + self._bearing) * (self._columns / 360.0)
        column = np.broadcast_to(column.astype(np.float32), degrees.shape)
        row = (SKY_TOP - degrees) * np.float32(self._per_degree)
        column, row = np.ascontiguousarray(column), np.ascontiguousarray(row, np.float32)
        canvas.image[:last] = cv2.remap(self._colours, column, row, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        canvas.label[:last] = cv2.remap(self._labels, column, row, cv2.INTER_NEAREST, borderMode=cv2.BORDER_REPLICATE)
