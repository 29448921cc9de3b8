"""The surfaces of a rendered drive, painted once from noise: ground, facades, roofs, trees, fences, signs and the sky.

All pictures are RGB uint8; cut-outs have an alpha picture of their own (uint8, opaque from 128).
"""

from __future__ import annotations

import cv2
import numpy as np

from dcfm_ros.datasets.street.world import (
    JUNCTION,
    LANE,
    ROAD_HALF,
    SECTION,
    SIDE_STREET_HALF,
    STOP_LINE,
    StreetClass,
)

GROUND_DENSITY = 20  # texels a metre
GROUND_HALF = 20.0  # metres to each side that the ground's texture covers
FACADE_DENSITY = 30
SKY_TOP = 50.0  # degrees above the horizon where the sky's texture ends
SKY_BOTTOM = -3.0


def noise(rng: np.random.Generator, height: int, width: int, roughness: float) -> np.ndarray:
    """Noise that wraps around: float32 (height, width), mean 0, deviation 1; `roughness` 0 is white, 1 is cloudy."""
    y, x = np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None, :]
    distance = np.hypot(y, x)
    distance[0, 0] = 1.0
    spectrum = np.fft.rfft2(rng.standard_normal((height, width))) / distance**roughness
    spectrum[0, 0] = 0.0
    field = np.fft.irfft2(spectrum, s=(height, width))
    return (field / field.std()).astype(np.float32)


class Texture:
    """A picture, optionally cut out, with copies shrunk separately along both sides, made when first asked for."""

    def __init__(self, rgb: np.ndarray, alpha: np.ndarray | None = None) -> None:
        self.height, self.width = rgb.shape[:2]
        self._levels = {(0, 0): (np.ascontiguousarray(rgb), alpha)}

    def at(self, height: float, width: float) -> tuple[np.ndarray, np.ndarray | None]:
        """The copy that suits a drawing of about `height` by `width` pixels: (rgb, alpha)."""
        down = _halvings(self.height, height), _halvings(self.width, width)
        if down not in self._levels:
            size = max(1, self.width >> down[1]), max(1, self.height >> down[0])
            rgb, alpha = self._levels[0, 0]
            small = None if alpha is None else cv2.resize(alpha, size, interpolation=cv2.INTER_AREA)
            self._levels[down] = cv2.resize(rgb, size, interpolation=cv2.INTER_AREA), small
        return self._levels[down]


def ground(rng: np.random.Generator, traffic_side: float, pavement_width: float) -> tuple[np.ndarray, np.ndarray]:
    """The road's surface over s (rows: SECTION metres of plain road, then JUNCTION metres) and d (columns).

    Returns the colours, uint8 (rows, columns, 3), and the class ids, uint8 (rows, columns).
    """
    rows = round((SECTION + JUNCTION) * GROUND_DENSITY)
    columns = round(2 * GROUND_HALF * GROUND_DENSITY)
    s = ((np.arange(rows) + 0.5) / GROUND_DENSITY - SECTION)[:, None]
    d = ((np.arange(columns) + 0.5) / GROUND_DENSITY - GROUND_HALF)[None, :]
    along = np.where(s >= 0, s - JUNCTION / 2, 1e3)  # from the junction's middle
    paved = _outside_road(along, d)
    fine, middle, broad = (noise(rng, rows, columns, roughness) for roughness in (0.0, 0.7, 1.3))

    asphalt = _asphalt(rng, s, d, fine, middle, broad, traffic_side)
    _paint_markings(asphalt, along, s, d, traffic_side, wear=np.clip(0.8 + 0.16 * middle, 0.3, 1.0))
    slabs = _slabs(rng, s, d, fine, middle, broad)
    inside = cv2.distanceTransform(paved, cv2.DIST_L2, 5) / GROUND_DENSITY
    outside = cv2.distanceTransform(1 - paved, cv2.DIST_L2, 5) / GROUND_DENSITY
    kerb = (paved == 1) & (inside < 0.17)
    slabs[kerb] = rng.uniform(140, 168) + 7 * fine[kerb] + 5 * middle[kerb]
    asphalt[(paved == 0) & (outside < 0.35)] *= 0.84
    colours = np.where(paved[..., None] == 1, slabs[..., None] * _tint(rng, 4), asphalt[..., None] * _tint(rng, 3))
    labels = np.where(paved == 1, StreetClass.PAVEMENT, StreetClass.ROAD).astype(np.uint8)
    return _to_bytes(colours), labels


def facade(rng: np.random.Generator, width: float, height: float) -> np.ndarray:
    """A house front of `width` by `height` metres."""
    rows, columns = round(height * FACADE_DENSITY), round(width * FACADE_DENSITY)
    wall = _wall(rng, rows, columns)
    floors = max(2, round(height / 3.1))
    per_floor = max(2, round(width / rng.uniform(2.2, 3.6)))
    frame = (rng.uniform(195, 235) if rng.random() < 0.65 else rng.uniform(35, 80)) * np.ones(3)
    share_w, share_h = rng.uniform(0.34, 0.6), rng.uniform(0.45, 0.62)
    shop = rng.random() < 0.4
    storey = rows / floors
    for floor in range(1, floors):
        if rng.random() < 0.35:
            y = round(rows - floor * storey)
            cv2.rectangle(wall, (0, y - 3), (columns, y + 3), (wall.mean((0, 1)) * 1.12).tolist(), -1)
        for number in range(per_floor):
            w, h = columns / per_floor * share_w, storey * share_h
            left, top = (number + 0.5) * columns / per_floor - w / 2, rows - (floor + 0.8) * storey
            _window(rng, wall, (round(left), round(top), round(w), round(h)), frame)
    _ground_floor(rng, wall, per_floor, round(storey), frame, shop)
    cv2.rectangle(wall, (0, 0), (columns, 9), (wall.mean((0, 1)) * 0.72).tolist(), -1)
    cv2.rectangle(wall, (0, 0), (columns, 4), (wall.mean((0, 1)) * 1.15).tolist(), -1)
    stains = 1 + 0.055 * noise(rng, rows, columns, 1.2) + 0.03 * noise(rng, rows, columns, 0.0)
    fall = np.clip(np.linspace(3.2, 0.0, rows) ** 0.12, 0.78, 1.05)[:, None]
    return _to_bytes(wall * (stains * fall)[..., None])


def roof(rng: np.random.Generator) -> np.ndarray:
    """Tiles, to be stretched over a slope."""
    base = np.array([(118, 78, 62), (92, 88, 88), (104, 92, 80), (78, 78, 84)])[rng.integers(4)]
    tiles = 1 + 0.09 * noise(rng, 96, 256, 0.4) + 0.06 * noise(rng, 96, 256, 1.2)
    tiles[::6] *= 0.78
    return _to_bytes(base * tiles[..., None])


def tree(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Trunk and crown, upright, as (rgb, alpha) of 384 rows by 288 columns."""
    rows, columns = 384, 288
    y, x = np.mgrid[0:rows, 0:columns].astype(np.float32)
    high, wide = rng.uniform(100, 135), rng.uniform(105, 130)
    middle = rng.uniform(125, 145)
    reach = np.hypot((x - columns / 2) / wide, (y - middle) / high)
    lumps, leaves = noise(rng, rows, columns, 1.25), noise(rng, rows, columns, 0.5)
    crown = 1.0 - reach + 0.17 * lumps + 0.07 * leaves > rng.uniform(0.2, 0.28)
    light = 0.72 - 0.3 * (y - middle) / high - 0.1 * (x - columns / 2) / wide + 0.22 * lumps + 0.2 * leaves
    hue = np.array([(86, 104, 46), (70, 92, 44), (98, 108, 52), (112, 98, 46), (60, 82, 48)])[rng.integers(5)]
    rgb = hue * np.clip(light, 0.18, 1.5)[..., None] + 6 * noise(rng, rows, columns, 0.0)[..., None]
    rgb[leaves > 1.5] *= 1.3
    wood = np.zeros((rows, columns), np.uint8)
    foot, thick = columns // 2, int(rng.integers(8, 12))
    outline = [
        (foot - thick, rows),
        (foot + thick, rows),
        (foot + thick // 2, rows // 2),
        (foot - thick // 2, rows // 2),
    ]
    cv2.fillConvexPoly(wood, np.array(outline, np.int32), 1)
    for _ in range(5):
        tip = (int(foot + rng.uniform(-70, 70)), int(middle + rng.uniform(-40, 50)))
        cv2.line(wood, (foot, int(rows * rng.uniform(0.5, 0.66))), tip, 1, 4)
    bark = (84, 72, 60) * (0.85 + 0.2 * leaves - 0.2 * np.sign(x - foot))[..., None]
    bare = (wood == 1) & ~crown
    rgb[bare] = bark[bare]
    alpha = np.where(crown | (wood == 1), 255, 0).astype(np.uint8)
    return _to_bytes(rgb), alpha


def fence(rng: np.random.Generator, kind: int) -> np.ndarray:
    """A piece of fence: 0 wooden boards, 1 a dense metal palisade."""
    rows, columns = 96, 160
    grain = noise(rng, rows, columns, 0.8)
    x = np.arange(columns)
    if kind == 0:
        base = np.array([(122, 94, 66), (134, 116, 92), (96, 82, 68)])[rng.integers(3)]
        board = np.repeat(rng.normal(1.0, 0.09, columns // 10), 10)
        value = board * np.where(x % 10 == 0, 0.5, 1.0) * (1 + 0.07 * grain)
    else:
        base = np.array([(64, 76, 68), (74, 78, 84), (92, 96, 98)])[rng.integers(3)]
        value = np.where(x % 8 < 5, 1.1, 0.5) * (1 + 0.05 * grain)
        value[[8, 9, 10, 80, 81, 82]] = 1.2
    value[:3] *= 1.15
    value[-6:] *= 0.75
    return _to_bytes(base * value[..., None])


def sign(rng: np.random.Generator, look: int) -> tuple[np.ndarray, np.ndarray]:
    """The plate of a traffic sign as (rgb, alpha), 96 by 96: ban, obligation, warning or direction."""
    rgb, alpha = np.full((96, 96, 3), 235, np.uint8), np.zeros((96, 96), np.uint8)
    ink = [int(value) for value in rng.integers(20, 50, 3)]
    shape = look % 4
    if shape == 0:
        cv2.circle(alpha, (48, 48), 47, 255, -1)
        cv2.circle(rgb, (48, 48), 42, (196, 32, 36), 11)
        cv2.putText(rgb, str(rng.choice([20, 30, 50])), (20, 62), cv2.FONT_HERSHEY_DUPLEX, 1.35, ink, 4)
    elif shape == 1:
        cv2.circle(alpha, (48, 48), 47, 255, -1)
        cv2.circle(rgb, (48, 48), 45, (32, 78, 168), -1)
        cv2.arrowedLine(rgb, (48, 78), (48, 18), (240, 240, 240), 9, tipLength=0.4)
    elif shape == 2:
        triangle = np.array([(48, 4), (94, 90), (2, 90)], np.int32)
        cv2.fillConvexPoly(alpha, triangle, 255)
        cv2.polylines(rgb, [triangle], True, (200, 36, 36), 20)
        cv2.line(rgb, (48, 40), (48, 66), ink, 8)
    else:
        alpha[18:78] = 255
        rgb[:] = (30, 92, 70) if rng.random() < 0.5 else (40, 84, 160)
        cv2.rectangle(rgb, (3, 21), (92, 74), (235, 235, 235), 3)
        cv2.arrowedLine(rgb, (16, 48), (80, 48), (240, 240, 240), 8, tipLength=0.35)
    return rgb, alpha


def sky(rng: np.random.Generator, haze: np.ndarray, overcast: bool) -> tuple[np.ndarray, np.ndarray]:
    """The horizon all around, 3072 columns, rows from SKY_TOP down to SKY_BOTTOM degrees: (colours, class ids)."""
    rows, columns = 424, 3072
    degrees = np.linspace(SKY_TOP, SKY_BOTTOM, rows, dtype=np.float32)[:, None]
    zenith = np.array([168, 180, 194] if overcast else [92, 140, 204]) * rng.uniform(0.9, 1.08)
    height = np.clip(degrees / 40, 0, 1) ** 0.6
    colours = haze * (1 - height[..., None]) + zenith * height[..., None]
    stretched = cv2.resize(noise(rng, rows, columns // 3, 1.35), (columns, rows))
    cloud = np.clip(0.5 * stretched + (0.45 if overcast else 0.05), 0, 1) * np.clip(degrees / 6, 0.3, 1)
    colours = colours + (np.array([246, 246, 248]) - colours) * (0.75 * cloud)[..., None]
    labels = np.full((rows, columns), StreetClass.SKY, np.uint8)
    x = np.arange(columns)
    for kind, tone, base in ((StreetClass.BUILDING, 0.86, 3.4), (StreetClass.TREE, 0.78, 2.6)):
        steps = noise(rng, 1, 128, 0.3)[0] if kind == StreetClass.BUILDING else noise(rng, 1, 1024, 0.8)[0]
        top = base + 0.7 * steps[x * len(steps) // columns]
        low = degrees < top[None, :]
        tint = np.array([1.0, 1.0, 1.0]) if kind == StreetClass.BUILDING else np.array([0.86, 0.95, 0.8])
        grain = 1 + 0.03 * noise(rng, 424, 3072 // 4, 0.6)[:, x // 4]
        colours[low] = (haze * tint * tone * grain[..., None])[low]
        labels[low] = kind
    return _to_bytes(colours), labels


def _halvings(texels: int, pixels: float) -> int:
    return max(0, int(np.log2(max(texels / max(pixels, 1.0), 1.0)) + 0.4))


def _to_bytes(values: np.ndarray) -> np.ndarray:
    return np.clip(values, 0, 255).astype(np.uint8)


def _tint(rng: np.random.Generator, percent: float) -> np.ndarray:
    return 1 + rng.uniform(-percent, percent, 3) / 100


def _outside_road(along: np.ndarray, d: np.ndarray) -> np.ndarray:
    """1 where the ground is pavement: beside the road and the side street, with rounded corners. uint8."""
    beside, beyond, radius = np.abs(d) - ROAD_HALF, np.abs(along) - SIDE_STREET_HALF, 2.5
    corner = (beside < radius) & (beyond < radius)
    rounded = np.hypot(radius - beside, radius - beyond) > radius
    return ((beside > 0) & (beyond > 0) & ~(corner & rounded)).astype(np.uint8)


def _asphalt(
    rng: np.random.Generator,
    s: np.ndarray,
    d: np.ndarray,
    fine: np.ndarray,
    middle: np.ndarray,
    broad: np.ndarray,
    traffic_side: float,
) -> np.ndarray:
    """Grey values with grain, wheel tracks, cracks and patches. float32 (rows, columns)."""
    grey = rng.uniform(84, 112) + 6 * fine + 4 * middle + 3 * broad
    for lane in (-LANE / 2, LANE / 2):
        for wheel in (-0.8, 0.8):
            grey -= 6 * np.exp(-(((d - lane - wheel) / 0.35) ** 2))
        grey -= 5 * np.exp(-(((d - lane) / 0.25) ** 2)) * (0.7 + 0.5 * middle)
    rows, columns = grey.shape
    for _ in range(7):
        y, x = int(rng.integers(rows)), int((rng.uniform(-ROAD_HALF, ROAD_HALF) + GROUND_HALF) * GROUND_DENSITY)
        tall, wide = int(rng.integers(20, 90)), int(rng.integers(14, 40))
        grey[y : y + tall, x : x + wide] += rng.uniform(-14, 6)
    cracks = np.zeros((rows, columns), np.uint8)
    for _ in range(14):
        start = np.array([(rng.uniform(-ROAD_HALF, ROAD_HALF) + GROUND_HALF) * GROUND_DENSITY, rng.integers(rows)])
        path = start + np.cumsum(rng.normal(0, 5, (25, 2)) + rng.normal(0, 4, 2), axis=0)
        cv2.polylines(cracks, [path.astype(np.int32)], False, 1, 1)
    grey[cracks == 1] -= 24
    for _ in range(3):
        x = int((traffic_side * rng.uniform(1.0, 2.5) + GROUND_HALF) * GROUND_DENSITY)
        cv2.circle(grey, (x, int(rng.integers(rows))), 6, float(rng.uniform(58, 72)), -1)
    return grey.astype(np.float32)


def _paint_markings(
    grey: np.ndarray, along: np.ndarray, s: np.ndarray, d: np.ndarray, traffic_side: float, wear: np.ndarray
) -> None:
    """White lines, in place: dashes between the lanes, the parking strip's edge, stop lines and crossings."""
    plain = np.abs(along) > STOP_LINE
    white = plain & (np.abs(d) < 0.07) & (s % 8.0 < 4.0)
    white |= plain & (np.abs(np.abs(d) - LANE) < 0.05)
    lane = d * traffic_side
    near = (np.abs(along + STOP_LINE) < 0.2) & (lane > 0.1) & (lane < LANE)
    far = (np.abs(along - STOP_LINE) < 0.2) & (-lane > 0.1) & (-lane < LANE)
    stripes = (np.abs(np.abs(along) - STOP_LINE + 2.4) < 1.3) & (d % 1.0 < 0.5) & (np.abs(d) < ROAD_HALF - 0.3)
    white |= near | far | stripes
    grey += np.where(white, (205 - grey) * wear, 0)


def _slabs(
    rng: np.random.Generator, s: np.ndarray, d: np.ndarray, fine: np.ndarray, middle: np.ndarray, broad: np.ndarray
) -> np.ndarray:
    """Grey values of paving slabs. float32 (rows, columns)."""
    size = float(rng.choice([0.4, 0.6, 0.8]))
    row = np.floor(s / size).astype(int)
    column = np.floor((d + 0.5 * size * (row % 2)) / size).astype(int)
    tones = rng.normal(0, 5, (97, 61))
    grey = rng.uniform(122, 152) + tones[row % 97, column % 61] + 4 * fine + 4 * middle + 4 * broad
    joints = (s % size < 0.05) | ((d + 0.5 * size * (row % 2)) % size < 0.05)
    grey -= np.where(joints, 26, 0)
    return grey.astype(np.float32)


def _wall(rng: np.random.Generator, rows: int, columns: int) -> np.ndarray:
    """Brick, render or stone without openings. float32 (rows, columns, 3)."""
    kind = rng.integers(3)
    grain = noise(rng, rows, columns, 0.5)
    if kind == 0:
        base = np.array([(142, 88, 70), (156, 112, 84), (120, 82, 72), (170, 140, 108)])[rng.integers(4)]
        tones = rng.normal(1, 0.08, (rows // 4 + 1, columns // 9 + 2))
        wall = np.kron(tones, np.ones((4, 9)))[:rows, :columns]
        wall[::4] = 1.16
    elif kind == 1:
        base = np.array([(206, 198, 180), (196, 184, 158), (186, 190, 192), (212, 204, 196), (180, 156, 130)])[
            rng.integers(5)
        ]
        wall = np.ones((rows, columns))
    else:
        base = np.array([(164, 156, 142), (146, 140, 132), (182, 168, 142)])[rng.integers(3)]
        wall = np.kron(rng.normal(1, 0.05, (rows // 14 + 1, columns // 26 + 2)), np.ones((14, 26)))[:rows, :columns]
        wall[::14] = 0.82
    return (base * _tint(rng, 4) * (wall * (1 + 0.03 * grain))[..., None]).astype(np.float32)


def _window(
    rng: np.random.Generator, wall: np.ndarray, box: tuple[int, int, int, int], frame: np.ndarray, bars: bool = True
) -> None:
    """Glass in a frame with a sill, in place; `box` is left, top, width, height in texels."""
    x, y, w, h = box
    cv2.rectangle(wall, (x - 4, y - 4), (x + w + 3, y + h + 3), (wall[max(y, 0), max(x, 0)] * 0.7).tolist(), -1)
    cv2.rectangle(wall, (x - 2, y - 2), (x + w + 1, y + h + 1), frame.tolist(), -1)
    glass = wall[max(y, 0) : y + h, max(x, 0) : x + w]
    slope = np.linspace(rng.uniform(70, 150), rng.uniform(28, 56), glass.shape[0])[:, None, None]
    glass[:] = slope * np.array([0.92, 1.0, 1.1])
    if rng.random() < 0.4:
        glass[: int(h * rng.uniform(0.2, 0.9)), : int(w * rng.uniform(0.3, 1.0))] = rng.uniform(130, 205)
    if bars:
        glass[:, max(w // 2 - 1, 0) : w // 2 + 1] = frame
        glass[h // 2 : h // 2 + 2] = frame
    cv2.rectangle(wall, (x - 6, y + h + 2), (x + w + 5, y + h + 6), (frame * 0.85).tolist(), -1)


def _ground_floor(
    rng: np.random.Generator, wall: np.ndarray, per_floor: int, storey: int, frame: np.ndarray, shop: bool
) -> None:
    """Shop windows under a fascia, or windows and a door, in place."""
    rows, columns = wall.shape[:2]
    if shop:
        band = rng.uniform(40, 200, 3)
        cv2.rectangle(wall, (0, rows - storey), (columns, rows), (band * 0.5).tolist(), -1)
        cv2.rectangle(wall, (0, rows - storey), (columns, rows - storey + storey // 5), band.tolist(), -1)
        for x in range(round(columns * 0.2), round(columns * 0.75), 11):
            height = int(rng.integers(3, 9))
            y = rows - storey + storey // 10
            cv2.rectangle(wall, (x, y - height // 2), (x + 6, y + height // 2), (230, 226, 214), -1)
    doors = {int(rng.integers(per_floor))}
    pitch = columns / per_floor
    for number in range(per_floor):
        middle = (number + 0.5) * pitch
        if number in doors:
            colour = rng.uniform(30, 130, 3)
            wide = min(30, int(pitch * 0.6))
            left, top = int(middle - wide / 2), rows - int(storey * 0.72)
            cv2.rectangle(wall, (left - 3, top - 3), (left + wide + 3, rows), frame.tolist(), -1)
            cv2.rectangle(wall, (left, top), (left + wide, rows), colour.tolist(), -1)
            cv2.rectangle(wall, (left + 5, top + 5), (left + wide - 5, top + 18), (70, 76, 84), -1)
        else:
            w, h = (pitch * 0.84, storey * 0.58) if shop else (pitch * 0.45, storey * 0.5)
            top = rows - storey * (0.74 if shop else 0.76)
            _window(rng, wall, (round(middle - w / 2), round(top), round(w), round(h)), frame, bars=not shop)
