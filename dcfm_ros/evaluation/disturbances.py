"""Disturbances of pictures by cameras and the world, to measure how well the masks stand them.

Each disturbance takes an (H, W, 3) uint8 RGB picture and gives another of that shape and type; the same picture always
gives the same result. Lengths follow the picture's width, so that it means the same at every size.
"""

from __future__ import annotations

import difflib
import zlib
from collections.abc import Callable

import numpy as np

from dcfm_ros.imaging.camera_faults import (
    as_picture,
    compressed,
    exposed,
    noise,
    out_of_focus,
    turned_while_exposed,
    with_gamma,
)


def _dark(pixels: np.ndarray) -> np.ndarray:
    """Half the light."""
    return exposed(pixels, 0.5)


def _bright(pixels: np.ndarray) -> np.ndarray:
    """Overexposed: 1.6 times the light, clipped."""
    return exposed(pixels, 1.6)


def _night(pixels: np.ndarray) -> np.ndarray:
    """Gamma 2.5, which leaves little but the lights, and the noise of a high gain."""
    return with_gamma(pixels, 2.5, _noise_like(pixels, 6))


def _blur(pixels: np.ndarray) -> np.ndarray:
    """Out of focus: a Gaussian of sigma 2 at a width of 480."""
    return out_of_focus(pixels, 2 * pixels.shape[1] / 480)


def _motion_blur(pixels: np.ndarray) -> np.ndarray:
    """The camera turns while the shutter is open: a line 2 % of the width long."""
    return turned_while_exposed(pixels, max(3, round(0.02 * pixels.shape[1])))


def _jpeg(pixels: np.ndarray) -> np.ndarray:
    """Compressed for a narrow link: JPEG of quality 15."""
    return compressed(pixels, 15)


def _noise(pixels: np.ndarray) -> np.ndarray:
    """Sensor noise of sigma 12, of each channel apart."""
    return as_picture(pixels + _noise_like(pixels, 12))


def _fog(pixels: np.ndarray) -> np.ndarray:
    """Six tenths of a light grey over everything: the contrast falls and black turns grey."""
    return as_picture(pixels * np.float32(0.4) + np.float32(0.6 * 200))


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
    """Noise that the picture seeds: a frame that is read again is disturbed alike, the next one anew."""
    seed = zlib.crc32(np.ascontiguousarray(pixels).data)
    return noise(pixels.shape, sigma, np.random.default_rng(seed))
