"""A picture and its labels, drawn together in perspective: every shape goes into both with the same outline."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise

import cv2
import numpy as np

from dcfm_ros.datasets.street.textures import Texture

NEAR = 0.4  # metres; nothing nearer is drawn
_SHIFT = 4  # outlines are rasterised to a sixteenth of a pixel
_ONE = 1 << _SHIFT
_FARTHEST_SHADOW = 0.2  # metres away for each pixel of focal length
_AROUND = np.concatenate([np.linspace(-np.pi / 2, np.pi / 2, 6), np.linspace(np.pi / 2, 1.5 * np.pi, 6)])


@dataclass(frozen=True)
class Camera:
    """A camera above the ground. `horizon` is the row of the horizon, `focal` in pixels, `heading` in radians.

    View coordinates are metres to the right, up from the ground, and forward.
    """

    x: float
    y: float
    heading: float
    focal: float
    middle: float
    horizon: float
    height: float = 1.5

    def view(self, points: np.ndarray) -> np.ndarray:
        """World points (..., 3: x, y, up) in view coordinates (..., 3)."""
        cos, sin = np.cos(self.heading), np.sin(self.heading)
        x, y = points[..., 0] - self.x, points[..., 1] - self.y
        view = np.empty(points.shape)
        view[..., 0], view[..., 1], view[..., 2] = x * sin - y * cos, points[..., 2], x * cos + y * sin
        return view

    def pixels(self, view: np.ndarray) -> np.ndarray:
        """Pixel coordinates (N, 2), centres of pixels at whole numbers, of view points (N, 3) with forward > 0."""
        scale = self.focal / view[:, 2]
        pixels = np.empty((len(view), 2))
        pixels[:, 0] = self.middle - 0.5 + view[:, 0] * scale
        pixels[:, 1] = self.horizon - 0.5 + (self.height - view[:, 1]) * scale
        return pixels


@dataclass(frozen=True)
class Light:
    """Sun, ambient light and haze. `sun` points at the sun (unit, world x, y, up); `visibility` in metres."""

    sun: np.ndarray
    ambient: float
    direct: float
    haze: np.ndarray
    visibility: float
    _tables: dict[tuple[int, int], np.ndarray] = field(default_factory=dict)

    def shade(self, normal: np.ndarray) -> np.ndarray:
        """Brightness of surfaces with world normals (..., 3)."""
        return self.ambient + self.direct * np.clip(normal @ self.sun, 0, None)

    def veil(self, distance: np.ndarray | float) -> np.ndarray:
        """Share of the haze's colour at a distance in metres, 0..1."""
        return 1 - np.exp(-np.asarray(distance) / self.visibility)

    def table(self, shade: float, distance: float) -> np.ndarray:
        """A table (1, 256, 3) for cv2.LUT that shades and hazes."""
        key = round(shade * 40), round(float(self.veil(distance)) * 48)
        if key not in self._tables:
            values = np.arange(256)[None, :, None] * (key[0] / 40) * (1 - key[1] / 48) + self.haze * (key[1] / 48)
            self._tables[key] = np.clip(values, 0, 255).astype(np.uint8)
        return self._tables[key]

    def colours(self, rgb: np.ndarray, shades: np.ndarray | float, distance: float) -> np.ndarray:
        """Colours (..., 3), shaded (...) and hazed."""
        veil = float(self.veil(distance))
        return np.clip(rgb * (np.asarray(shades)[..., None] * (1 - veil)) + self.haze * veil, 0, 255)


class Canvas:
    """The picture `image` (H, W, 3) RGB and its class ids `label` (H, W), both uint8, drawn over from far to near."""

    def __init__(self, height: int, width: int, camera: Camera, light: Light) -> None:
        self.image = np.zeros((height, width, 3), np.uint8)
        self.label = np.zeros((height, width), np.uint8)
        self.camera = camera
        self.light = light

    def polygons(
        self, view: np.ndarray, ends: list[int], parts: list[int], colours: np.ndarray, ids: list[int]
    ) -> None:
        """Convex polygons of one colour each, in the order of `parts`.

        view (N, 3): the points of all polygons, polygon n up to `ends[n]`; colours (M, 3); ids (M): the class, or -1
        where the labels stay.
        """
        near = view[:, 2].min() < NEAR
        points = view if near else _fixed(self.camera.pixels(view))
        for number in parts:
            part = points[ends[number - 1] if number else 0 : ends[number]]
            if near:
                part = _clip_near(part)
                if len(part) < 3:
                    continue
                part = _fixed(self.camera.pixels(part))
            self._fill(part, colours[number].tolist(), ids[number])

    def capsules(self, view: np.ndarray, radii: np.ndarray, colours: np.ndarray, class_id: int) -> None:
        """Rounded limbs between view points (N, 2, 3), radii in metres (N, 2), colours (N, 3), in this order.

        Nothing when an end is too near.
        """
        if view[..., 2].min() < NEAR:
            return
        pixels = self.camera.pixels(view.reshape(-1, 3)).reshape(-1, 2, 2)
        sizes = np.maximum(0.3, radii * self.camera.focal / view[..., 2])
        along = np.arctan2(pixels[:, 1, 1] - pixels[:, 0, 1], pixels[:, 1, 0] - pixels[:, 0, 0])
        angles = along[:, None] + _AROUND
        round_ends = np.stack([np.cos(angles), np.sin(angles)], axis=-1)
        half = len(_AROUND) // 2
        round_ends[:, :half] = pixels[:, 1:2] + sizes[:, 1, None, None] * round_ends[:, :half]
        round_ends[:, half:] = pixels[:, 0:1] + sizes[:, 0, None, None] * round_ends[:, half:]
        for outline, colour in zip(_fixed(round_ends), colours.tolist(), strict=True):
            self._fill(outline, colour, class_id)

    def ring(self, view: np.ndarray, thickness: float, colour: list[float], class_id: int) -> None:
        """A closed line through view points (N, 3), `thickness` in metres. Nothing when a point is too near."""
        if view[:, 2].min() < NEAR:
            return
        points = _fixed(self.camera.pixels(view))
        wide = max(1, round(thickness * self.camera.focal / float(view[:, 2].mean())))
        cv2.polylines(self.image, [points], True, colour, wide, cv2.LINE_8, _SHIFT)
        cv2.polylines(self.label, [points], True, class_id, wide, cv2.LINE_8, _SHIFT)

    def shadow(self, view: np.ndarray, strength: float) -> None:
        """Darkens a convex patch of ground (N, 3), softly; labels stay. Nothing where it would be a few pixels."""
        if view[:, 2].min() > _FARTHEST_SHADOW * self.camera.focal:
            return
        view = _clip_near(view)
        if len(view) < 3:
            return
        pixels = self.camera.pixels(view)
        soft = 1 + 2 * int(min(12.0, 0.12 * self.camera.focal / float(view[:, 2].mean())))
        box = self._box(pixels, soft)
        if box is None:
            return
        left, top, right, bottom = box
        mask = np.zeros((bottom - top, right - left), np.uint8)
        cv2.fillConvexPoly(mask, _fixed(pixels - (left, top)), 255, cv2.LINE_8, _SHIFT)
        keep = 1 - cv2.blur(mask, (2 * soft + 1, soft)).astype(np.float32) * (strength / 255)
        roi = self.image[top:bottom, left:right]
        roi[:] = roi * keep[..., None]

    def panel(self, texture: Texture, view: np.ndarray, class_id: int, shade: float) -> None:
        """A textured quadrilateral: view (4, 3) is bottom start, bottom end, top end, top start of the picture."""
        span = _visible_span(view)
        if span is None:
            return
        ends = [span[0], span[1]]
        depths = [max(NEAR, _between(view, t)[:, 2].mean()) for t in ends]
        # One level of the texture cannot suit both ends of a long wall: it is drawn in pieces.
        pieces = 1 + int(np.log2(max(depths) / min(depths)) / 1.3)
        if pieces > 1:
            inverse = np.linspace(1 / depths[0], 1 / depths[1], pieces + 1)
            ends = (span[0] + (1 / inverse - depths[0]) / (depths[1] - depths[0]) * (span[1] - span[0])).tolist()
        for a, b in pairwise(ends):
            self._piece(texture, view, (a, b), class_id, shade)

    def _piece(
        self, texture: Texture, view: np.ndarray, span: tuple[float, float], class_id: int, shade: float
    ) -> None:
        start, end = _between(view, span[0]), _between(view, span[1])
        corners = np.array([start[0], end[0], end[1], start[1]])
        pixels = self.camera.pixels(corners)
        box = self._box(pixels, 1)
        if box is None:
            return
        left, top, right, bottom = box
        tall = max(pixels[0, 1] - pixels[3, 1], pixels[1, 1] - pixels[2, 1])
        wide = max(np.hypot(*(pixels[1] - pixels[0])), np.hypot(*(pixels[2] - pixels[3])))
        rgb, alpha = texture.at(float(tall), float(wide / max(span[1] - span[0], 1e-3)))
        rows, columns = rgb.shape[:2]
        u0, u1 = span[0] * columns - 0.5, span[1] * columns - 0.5
        source = np.array([(u0, rows - 0.5), (u1, rows - 0.5), (u1, -0.5), (u0, -0.5)], np.float32)
        target = (pixels - (left, top)).astype(np.float32)
        warp = cv2.getPerspectiveTransform(source, target)
        size = (right - left, bottom - top)
        drawn = cv2.warpPerspective(rgb, warp, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        drawn = cv2.LUT(drawn, self.light.table(shade, float(corners[:, 2].mean())))
        mask = np.zeros((size[1], size[0]), np.uint8)
        cv2.fillConvexPoly(mask, _fixed(target), 1, cv2.LINE_8, _SHIFT)
        if alpha is not None:
            mask[cv2.warpPerspective(alpha, warp, size, flags=cv2.INTER_LINEAR) < 128] = 0
        cv2.copyTo(drawn, mask, self.image[top:bottom, left:right])
        np.copyto(self.label[top:bottom, left:right], np.uint8(class_id), where=mask.view(bool))

    def _fill(self, points: np.ndarray, colour: list[float], class_id: int) -> None:
        cv2.fillConvexPoly(self.image, points, colour, cv2.LINE_8, _SHIFT)
        if class_id >= 0:
            cv2.fillConvexPoly(self.label, points, class_id, cv2.LINE_8, _SHIFT)

    def _box(self, pixels: np.ndarray, margin: int) -> tuple[int, int, int, int] | None:
        """Left, top, right, bottom of the part inside the picture, or None."""
        height, width = self.label.shape
        low, high = np.floor(pixels.min(0)), np.ceil(pixels.max(0))
        left, top = max(0, int(low[0]) - margin), max(0, int(low[1]) - margin)
        right, bottom = min(width, int(high[0]) + margin + 1), min(height, int(high[1]) + margin + 1)
        return (left, top, right, bottom) if right > left and bottom > top else None


def _fixed(pixels: np.ndarray) -> np.ndarray:
    # Far outside the picture the exact place does not matter, and OpenCV's integers must not overflow.
    return np.rint(np.clip(pixels, -30000, 30000) * _ONE).astype(np.int32)


def _between(view: np.ndarray, t: float) -> np.ndarray:
    """Bottom and top of a panel at share `t` of its length. (2, 3)."""
    return np.array([view[0] + (view[1] - view[0]) * t, view[3] + (view[2] - view[3]) * t])


def _visible_span(view: np.ndarray) -> tuple[float, float] | None:
    """The part of a panel's length that lies in front of the camera, as shares of it."""
    low, high = 0.0, 1.0
    for start, end in ((view[0, 2], view[1, 2]), (view[3, 2], view[2, 2])):
        if start < NEAR and end < NEAR:
            return None
        if start < NEAR:
            low = max(low, (NEAR - start) / (end - start))
        elif end < NEAR:
            high = min(high, (NEAR - start) / (end - start))
    return (low, high) if high - low > 1e-4 else None


def _clip_near(view: np.ndarray) -> np.ndarray:
    """The part of a convex polygon (N, 3) in front of the camera; may be empty."""
    kept: list[np.ndarray] = []
    for here, there in zip(view, np.roll(view, -1, axis=0), strict=True):
        if here[2] >= NEAR:
            kept.append(here)
        if (here[2] >= NEAR) != (there[2] >= NEAR):
            kept.append(here + (there - here) * ((NEAR - here[2]) / (there[2] - here[2])))
    return np.array(kept) if kept else np.empty((0, 3))
