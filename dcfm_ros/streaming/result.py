"""The result of a segmenter for one frame."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from dcfm_ros.imaging.frame import Frame

STAGES = ("prepare", "shallow", "motion", "common", "align", "decide")


@dataclass(frozen=True, eq=False)
class Segmentation:
    """The classes of one frame, and how they were computed.

    frame: the frame itself. index: its number among all frames pushed since the segmenter was made, from 0; frames that
    got no result (the backend failed, the segmenter was restarted) leave gaps.
    mask: (H, W) uint8 class ids at the frame's size. confidence: (H, W) uint8, max softmax x 255, or None when it was
    not asked for.
    is_keyframe, reason: whether the deep half is run on this frame, and why or why not.
    keyframe_index: number of the keyframe that the mask was made from, the frame's own on a keyframe; with asynchronous
    keyframes an earlier one, until the new one is swapped in. In bidirectional mode that of the nearer keyframe.
    keyframe_age_frames, keyframe_age_s: how old its common feature is. Seconds are 0 where one of the two has no stamp.
    stage_ms: wall time of each of STAGES: "prepare" (resizing), "shallow" (Enc_lo), "motion" (what moved or changed
    since the keyframe), "common" (Enc_hi; 0 on other frames, and where it runs in the background), "align" (moving the
    common feature) and "decide" (fusion, head, logits to ids at the frame's size). On a GPU "decide" includes the wait
    for the stages before; OpenVINO and ONNX Runtime run all of a frame's network in one call, which counts as "common"
    on a keyframe and as "decide" on another frame.
    background_ms: how long the common feature took that is used from this frame on, in the background; else 0.
    """

    frame: Frame
    index: int
    mask: np.ndarray
    confidence: np.ndarray | None
    is_keyframe: bool
    reason: str
    keyframe_index: int
    keyframe_age_frames: int
    keyframe_age_s: float
    stage_ms: Mapping[str, float]
    background_ms: float = 0.0

    @property
    def total_ms(self) -> float:
        """Milliseconds over all stages of the frame itself."""
        return sum(self.stage_ms.values())


@contextmanager
def timed(stage_ms: dict[str, float], stage: str) -> Iterator[None]:
    """Add the wall time of what runs inside to a stage's milliseconds."""
    began = time.perf_counter()
    yield
    stage_ms[stage] += (time.perf_counter() - began) * 1e3
