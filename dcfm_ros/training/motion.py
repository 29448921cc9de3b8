"""The neighbour of a still: the same picture as a camera that drove on would see it, with things that move."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

# Names of classes that move by themselves, as CamVid, Cityscapes and VSPW have them.
_VEHICLES = ("car", "truck", "bus", "train", "motorcycle", "bicycle", "wheeled_machine")
_THINGS = {*_VEHICLES, "person", "pedestrian", "rider", "cyclist", "dog", "horse"}
_MAX_PATCHES = 3
# The largest turns (radians), sideways step (of the width) and step forward (how much the border is enlarged) at a
# motion of 1. With them, as in recorded city drives five frames apart, the median pixel moves by about 1 % of the
# width, and few by more than 4 %.
_YAW, _PITCH, _ROLL = 0.028, 0.012, 0.014
_SIDEWAYS = 0.015
_FORWARD = 0.12
_FOCAL = 0.9  # of the width: a lens of 58 degrees
_CELL = 8  # pixels: smooth motion is computed on a grid this coarse


def seen_again(
    image: np.ndarray,
    label: np.ndarray,
    matrix: np.ndarray,
    size: tuple[int, int],
    motion: float,
    things: Sequence[int],
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray]:
    """The crop of a picture and of its label a few frames earlier or later: (h, w, 3) and (h, w) uint8.

    The camera turns a little and takes a step along its view and sideways: what is near, by a smooth random depth,
    moves more. Up to three patches (ellipses, rectangles, or regions of a class in `things`) move by themselves. What
    a patch uncovers is filled with what lay beside it, what comes in over the picture's border with its mirror image.

    image, label: (H, W, 3) and (H, W) uint8. matrix: 3x3, from the picture's pixels to the crop's of `size` (h, w).
    motion: 0 gives the picture unmoved; 1 gives moves of up to about 4 % of its width.
    """
    to_picture = np.linalg.inv(matrix)
    amount = motion * rng.uniform(0.2, 1)  # one to five frames of five
    flow = _camera_flow(image.shape[:2], to_picture, size, amount, rng)
    sources = _positions(to_picture.astype(np.float32), size, size)
    sources += flow
    _move_patches(sources, label, amount, things, rng)
    moved = _sampled(image, sources, cv2.INTER_LINEAR, cv2.BORDER_REFLECT_101)
    return moved, _sampled(label, sources, cv2.INTER_NEAREST, cv2.BORDER_REFLECT_101)


def thing_ids(names: Sequence[str]) -> tuple[int, ...]:
    """The ids of the classes that move by themselves."""
    return tuple(index for index, name in enumerate(names) if name in _THINGS)


def _positions(to_picture: np.ndarray, size: tuple[int, int], shape: tuple[int, int]) -> np.ndarray:
    """(*shape, 2): where in the picture, as x and y, the cells of a grid of `shape` over the crop of `size` lie."""
    y, x = ((np.arange(cells) + 0.5) * side / cells - 0.5 for cells, side in zip(shape, size, strict=True))
    positions = np.empty((*shape, 2), to_picture.dtype)
    for axis, (along_x, along_y, offset) in enumerate(to_picture[:2]):
        np.add((along_x * x).astype(positions.dtype), (along_y * y + offset)[:, None], out=positions[..., axis])
    return positions


def _sampled(picture: np.ndarray, at: np.ndarray, interpolation: int, border: int) -> np.ndarray:
    """The picture at the positions (h, w, 2) float32, which are x and y."""
    return cv2.remap(picture, at, None, interpolation, borderMode=border)  # type: ignore[call-overload]


def _camera_flow(
    picture: tuple[int, int],
    to_picture: np.ndarray,
    size: tuple[int, int],
    amount: float,
    rng: np.random.Generator,
) -> np.ndarray:
    """Return from where each pixel is before the camera moves to where it was, in pixels of the picture.

    (h, w, 2) float32 for the crop of `size`.
    """
    height, width = picture
    coarse = tuple(max(side // _CELL, 1) for side in size)
    at = _positions(to_picture, size, (coarse[0], coarse[1]))
    yaw, pitch, roll = amount * rng.uniform(-1, 1, 3) * (_YAW, _PITCH, _ROLL)
    sideways, upwards = amount * rng.uniform(-1, 1, 2) * (_SIDEWAYS, _SIDEWAYS / 4) * width
    forward = amount * rng.uniform(-1, 1) * _FORWARD
    vanishing = np.array([width, height]) * rng.uniform((0.4, 0.38), (0.6, 0.55))

    focal = _FOCAL * width
    rotation, _ = cv2.Rodrigues(np.array([pitch, yaw, roll]))
    middle = np.array([width, height]) / 2
    rays = np.concatenate([(at - middle) / focal, np.ones((*at.shape[:2], 1))], axis=2) @ rotation.T
    turned = rays[..., :2] / np.maximum(rays[..., 2:], 0.1) * focal + middle

    # A street is a canyon: what is far from the vanishing point is near the camera.
    away = at - vanishing
    relief = rng.uniform(0.3, 1.7, (5, 6)).astype(np.float32)
    cells = (at / (width, height) * (5, 4)).astype(np.float32)
    depth = _sampled(relief, cells, cv2.INTER_LINEAR, cv2.BORDER_REPLICATE)
    nearness = depth * np.minimum(0.2 + 1.6 * np.hypot(*np.moveaxis(away, 2, 0)) / width, 1)
    flow = turned - at - nearness[..., None] * (forward * away + (sideways, upwards))
    return cv2.resize(flow.astype(np.float32), size[::-1], interpolation=cv2.INTER_CUBIC)


def _move_patches(
    sources: np.ndarray, label: np.ndarray, amount: float, things: Sequence[int], rng: np.random.Generator
) -> None:
    """Let up to three patches of the picture move over what `sources` (h, w, 2) says of the camera; in place."""
    velocities = np.zeros((_MAX_PATCHES + 1, 2), np.float32)
    patches = np.zeros_like(label)
    for number in range(1, rng.integers(0, _MAX_PATCHES, endpoint=True) + 1):
        mask = _thing(label, things, rng) if rng.random() < 0.6 else None
        mask = _shape(label.shape, rng) if mask is None else mask
        # A near car crosses half its length in the time a far one does.
        span = min(cv2.boundingRect(mask)[2], 0.15 * label.shape[1])
        velocities[number] = amount * span * rng.uniform(-1, 1, 2) * (0.5, 0.12)
        shift = np.column_stack([np.eye(2), velocities[number].round()])
        after = cv2.warpAffine(mask, shift, label.shape[::-1], flags=cv2.INTER_NEAREST)
        # Both where it was and where it is show what was one step back: its own pixels where it is now, and where it
        # was what lies behind it.
        np.copyto(patches, number, where=(mask | after) > 0)
    if patches.any():
        seen = _sampled(patches, sources, cv2.INTER_NEAREST, cv2.BORDER_CONSTANT)
        sources -= cv2.blur(velocities.take(seen, axis=0), (3, 3))  # soft edges


def _thing(label: np.ndarray, things: Sequence[int], rng: np.random.Generator) -> np.ndarray | None:
    """Return a mask of one connected region of a class in `things` and its rim; None where there is none.

    (H, W) uint8, 1 on the region. A large region is more likely than a small one.
    """
    present = [thing for thing in things if np.any(label == thing)]
    if not present:
        return None
    drawn = present[rng.integers(len(present))]
    _, regions, found, _ = cv2.connectedComponentsWithStats((label == drawn).astype(np.uint8), ltype=cv2.CV_16U)
    areas = found[1:, cv2.CC_STAT_AREA]
    region = (regions == 1 + rng.choice(len(areas), p=areas / areas.sum())).astype(np.uint8)
    return cv2.dilate(region, np.ones((3, 3), np.uint8))


def _shape(size: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """(H, W) uint8, 1 on an ellipse or a rectangle."""
    height, width = size
    mask = np.zeros((height, width), np.uint8)
    x, y = (rng.uniform(0, (width, height))).astype(int).tolist()
    half = (width * rng.uniform(0.02, 0.08, 2)).astype(int) + 1
    if rng.random() < 0.5:
        cv2.ellipse(mask, (x, y), half.tolist(), rng.uniform(0, 180), 0, 360, 1, -1)
    else:
        cv2.rectangle(mask, (x - half[0], y - half[1]), (x + half[0], y + half[1]), 1, -1)
    return mask
