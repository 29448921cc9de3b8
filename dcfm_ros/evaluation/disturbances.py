"""What cameras and the world do to pictures, to measure how well the masks stand it.

Each disturbance takes an (H, W, 3) uint8 RGB picture and gives another of that shape and type; the same picture always
gives the same result. Lengths follow the picture's width, so that it means the same at every size.
"""

from __future__ import annotations

import difflib
import zlib
from collections.abc import Callable

import cv2
import numpy as np


def _dark(pixels: np.ndarray) -> np.ndarray:
    """Half the light."""
    return _as_picture(pixels * np.float32(0.5))


def _bright(pixels: np.ndarray) -> np.ndarray:
    """Overexposed: 1.6 times the light, clipped."""
    return _as_picture(pixels * np.float32(1.6))


def _night(pixels: np.ndarray) -> np.ndarray:
    """Gamma 2.5, which leaves little but the lights, and the noise of a high gain."""
    shades = 255 * (np.arange(256, dtype=np.float32) / 255) ** 2.5
    return _as_picture(shades[pixels] + _noise_like(pixels, 6))


def _blur(pixels: np.ndarray) -> np.ndarray:
    """Out of focus: a Gaussian of sigma 2 at a width of 480."""
    return cv2.GaussianBlur(pixels, (0, 0), sigmaX=2 * pixels.shape[1] / 480)


def _motion_blur(pixels: np.ndarray) -> np.ndarray:
    """The camera turns while the shutter is open: a line 2 % of the width long."""
    length = max(3, round(0.02 * pixels.shape[1]))
    return cv2.blur(pixels, (length, 1), borderType=cv2.BORDER_REPLICATE)


def _jpeg(pixels: np.ndarray) -> np.ndarray:
    """Compressed for a narrow link: JPEG of quality 15."""
    bgr = cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR)
    _, data = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, 15])
    decoded = cv2.imdecode(data, cv2.IMREAD_COLOR)
    assert decoded is not None
    return cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB)


def _noise(pixels: np.ndarray) -> np.ndarray:
    """Sensor noise of sigma 12, of each channel apart."""
    return _as_picture(pixels + _noise_like(pixels, 12))


def _fog(pixels: np.ndarray) -> np.ndarray:
    """Six tenths of a light grey over everything: the contrast falls and black turns grey."""
    return _as_picture(pixels * np.float32(0.4) + np.float32(0.6 * 200))


DISTURBANCES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "dark": _dark,
    "bright": _bright,
    "night": _night,
    "blur": _blur,
    "motion_blur": _motion_blur,
    "jpeg": _jpeg,
    "noise": _noise,
    "fog": _fog,
}


def disturbance_names(text: str) -> list[str]:
    """The names in `text`, which commas separate, each once; `all` stands for every one.

    Raises ValueError, which names the nearest, for one that does not exist.
    """
    names: dict[str, None] = {}
    for name in (part.strip() for part in text.split(",")):
        if name != "all" and name not in DISTURBANCES:
            nearest = difflib.get_close_matches(name, DISTURBANCES, n=1)
            hint = f"did you mean {nearest[0]!r}?" if nearest else f"expected all, {', '.join(DISTURBANCES)}"
            raise ValueError(f"unknown disturbance {name!r}; {hint}")
        names |= dict.fromkeys(DISTURBANCES if name == "all" else [name])
    return list(names)


def _noise_like(pixels: np.ndarray, sigma: float) -> np.ndarray:
    """Normal noise, float32. The picture seeds it: a frame that is read again is disturbed alike, the next one anew."""
    seed = zlib.crc32(np.ascontiguousarray(pixels).data)
    return np.random.default_rng(seed).standard_normal(pixels.shape, np.float32) * np.float32(sigma)


def _as_picture(values: np.ndarray) -> np.ndarray:
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)
