"""A drive that the project renders itself: a street with traffic, seen from a car, with exact labels.

The seed decides the road, the houses, the people and cars, the weather and the camera: no two seeds look alike. The
same configuration gives the same bytes on the same machine. The class ids are those of `imaging.labels.CAMVID`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from dcfm_ros.datasets.street.scene import Scene
from dcfm_ros.datasets.street.world import World
from dcfm_ros.imaging.frame import Frame

_START_NS = 1_000_000_000  # a zero stamp would mean that there is none
_SMALLEST_SIDE = 32
_LONGEST_SECONDS = 3600.0


@dataclass(frozen=True)
class StreetConfig:
    """The drive that is to be rendered. Raises ValueError, naming the value, for what cannot be rendered."""

    seed: int = 0
    frames: int = 150
    height: int = 360
    width: int = 480
    rate_hz: float = 15.0

    def __post_init__(self) -> None:
        if self.seed < 0:
            raise ValueError(f"seed is {self.seed}; expected 0 or more")
        if self.frames < 1:
            raise ValueError(f"frames is {self.frames}; expected at least 1")
        for name, side in (("height", self.height), ("width", self.width)):
            if side < _SMALLEST_SIDE:
                raise ValueError(f"{name} is {side}; expected at least {_SMALLEST_SIDE} pixels")
        if not (math.isfinite(self.rate_hz) and self.rate_hz > 0):
            raise ValueError(f"rate_hz is {self.rate_hz}; expected a positive number of frames a second")
        if self.frames / self.rate_hz > _LONGEST_SECONDS:
            raise ValueError(
                f"frames is {self.frames} at rate_hz {self.rate_hz}: {self.frames / self.rate_hz:.0f} seconds;"
                f" expected at most {_LONGEST_SECONDS:.0f}"
            )


class StreetDrive:
    """The rendered drive. Frames are rendered when asked for, in any order and as often as wanted.

    Every drive of 60 frames or more comes to a full stop, for six frames at least, and drives on.
    """

    def __init__(self, config: StreetConfig | None = None) -> None:
        self.config = config or StreetConfig()
        self.name = f"street-{self.config.seed}"
        self.rate_hz = self.config.rate_hz
        duration = self.config.frames / self.rate_hz
        self._world = World(self.config.seed, duration, 1 / self.rate_hz)
        self._scene = Scene(self.config.seed, self._world, self.config.height, self.config.width)

    def __len__(self) -> int:
        return self.config.frames

    def __enter__(self) -> StreetDrive:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def __iter__(self) -> Iterator[Frame]:
        return (frame for frame, _ in self.labelled())

    def close(self) -> None:
        """Nothing is held open; a drive may be used again after this."""

    def labelled(self, start: int = 0) -> Iterator[tuple[Frame, np.ndarray]]:
        """Each frame from `start` on with its labels: class ids, uint8 (H, W), all in 0..10."""
        for index in range(start, len(self)):
            yield self._render(index)

    def frame(self, index: int) -> Frame:
        """One frame, RGB. Raises IndexError outside 0..len-1."""
        return self._render(index)[0]

    def label(self, index: int) -> np.ndarray:
        """One frame's labels: class ids, uint8 (H, W). Raises IndexError outside 0..len-1."""
        return self._render(index)[1]

    def speed(self, index: int) -> float:
        """The camera's speed at a frame, in metres a second. Raises IndexError outside 0..len-1."""
        return self._world.travel.speed(self._seconds(index))

    def heading(self, index: int) -> float:
        """The road's direction at a frame, radians counter-clockwise. Raises IndexError outside 0..len-1."""
        return self._world.road.heading_at(self._world.travel.s(self._seconds(index)))

    def _seconds(self, index: int) -> float:
        if not 0 <= index < len(self):
            raise IndexError(f"frame {index} of a drive of {len(self)} frames; expected 0..{len(self) - 1}")
        return index / self.rate_hz

    def _render(self, index: int) -> tuple[Frame, np.ndarray]:
        image, label = self._scene.render(index, self._seconds(index))
        return Frame(image, "rgb", _START_NS + round(index * 1e9 / self.rate_hz)), label
