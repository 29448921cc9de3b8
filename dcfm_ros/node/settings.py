"""The node's parameters as values, named and typed. Knows no ROS."""

from __future__ import annotations

from array import array
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from dcfm_ros.imaging.geometry import Size
from dcfm_ros.node.health import Limits
from dcfm_ros.node.parameter_table import PARAMETERS
from dcfm_ros.streaming import StreamOptions

PER_CAMERA = tuple(parameter.name for parameter in PARAMETERS if parameter.per_camera)
"""Parameters that each of several cameras has for itself."""

OF_STREAM = tuple(field.name for field in fields(StreamOptions))
"""Parameters that are one of the stream's options."""


@dataclass(frozen=True)
class CameraSettings:
    """The settings of one camera. region_of_interest: (x, y, width, height), or None for the whole image.

    output_size: None for the image's own.
    """

    input_transport: str
    region_of_interest: tuple[int, int, int, int] | None
    ignore_mask: str
    output_size: Size | None


@dataclass(frozen=True)
class Settings:
    """The parameters' values, named and typed. cameras: by name; a single camera's is "".

    stream: the choices that all cameras share. class_map is empty where there is none.
    """

    cameras: Mapping[str, CameraSettings]
    weights: str
    backend: str
    device: str
    precision: str
    num_threads: int
    stream: StreamOptions
    max_image_pixels: int
    min_confidence: float
    class_map: tuple[str, ...]
    labels: str
    overlay_opacity: float
    jpeg_quality: int
    run_length_mask: bool
    enabled: bool
    max_latency_ms: float
    max_input_age_s: float
    max_keyframe_age_s: float
    max_drop_ratio: float
    autostart: bool

    @property
    def limits(self) -> Limits:
        """Those of the diagnostics."""
        return Limits(**{field.name: getattr(self, field.name) for field in fields(Limits)})

    def changed(self, values: Mapping[str, Any]) -> Settings:
        """With other values of parameters, by the names they are declared under."""
        settings = self
        for name, value in values.items():
            camera, _, own = name.rpartition(".")
            if own in PER_CAMERA:
                cameras = {
                    each: replace(old, **{own: as_setting(own, value)}) if each == camera else old
                    for each, old in settings.cameras.items()
                }
                settings = replace(settings, cameras=cameras)
            elif own in OF_STREAM:
                settings = replace(settings, stream=replace(settings.stream, **{own: as_setting(own, value)}))
            else:
                settings = replace(settings, **{own: as_setting(own, value)})
        return settings


def as_setting(name: str, value: Any) -> Any:
    """A parameter's value as a setting: rclpy gives lists as arrays, and what is all empty or zero means none."""
    if not isinstance(value, (list, array)):
        return value
    if name == "class_map":
        return tuple(filter(None, value))
    if name in ("input_size", "output_size", "region_of_interest") and not any(value):
        return None
    return tuple(value)
