"""Frames that int8 is calibrated on: short clips of a recording, moved as a stream would move them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from dcfm_ros.deploy.calibration import Clip, Reused
from dcfm_ros.imaging.geometry import Size, network_size, resize_to_network
from dcfm_ros.imaging.motion import MotionSince, small_grey
from dcfm_ros.model import ModelConfig
from dcfm_ros.recordings.open import open_recording

_CONSECUTIVE = 4


def calibration_clips(path: Path, config: ModelConfig, size: Size | None, wanted: int) -> list[Clip]:
    """Read `wanted` frames of a bag, video or folder, or all where there are fewer, at the network's size.

    They come as clips of up to 4 consecutive ones, evenly spread, each a keyframe and frames that reuse its feature.
    """
    with open_recording(path) as recording:
        clip_of = {index: number for number, span in enumerate(_spans(len(recording), wanted)) for index in span}
        images: list[list[np.ndarray]] = [[] for _ in range(len(clip_of))]
        for index, frame in enumerate(recording):
            if index in clip_of:
                fitting = network_size(frame.height, frame.width, config.input_size, config.size_multiple)
                images[clip_of[index]].append(resize_to_network(frame, size or fitting))
    return [_clip(part, config.common_stride) for of_clip in images for part in _of_one_size(of_clip)]


def _spans(count: int, wanted: int) -> list[range]:
    """Where the clips lie among `count` frames."""
    wanted = min(wanted, count)
    lengths = [min(_CONSECUTIVE, wanted - first) for first in range(0, wanted, _CONSECUTIVE)]
    starts = np.linspace(0, count - lengths[-1], len(lengths)).astype(int).tolist() if lengths else []
    return [range(start, start + length) for start, length in zip(starts, lengths, strict=True)]


def _of_one_size(images: Sequence[np.ndarray]) -> list[list[np.ndarray]]:
    """A folder may hold pictures of several sizes: between these nothing can be reused."""
    parts: list[list[np.ndarray]] = []
    for image in images:
        if not parts or parts[-1][-1].shape != image.shape:
            parts.append([])
        parts[-1].append(image)
    return parts


def _clip(images: Sequence[np.ndarray], stride: int) -> Clip:
    keyframe, *others = images
    grid_size = keyframe.shape[0] // stride, keyframe.shape[1] // stride
    since = MotionSince(small_grey(keyframe))
    return Clip(keyframe, [Reused(image, since.follow(small_grey(image)).grid(grid_size)) for image in others])
