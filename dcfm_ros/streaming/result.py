"""What a segmenter says of one frame."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from dcfm_ros.imaging.frame import Frame


@dataclass(frozen=True, eq=False)
class Segmentation:
    """The classes of one frame, and how they were come by.

    frame: the frame itself. index: its number among all frames pushed since the segmenter was made, from 0; frames that
    got no result (the backend failed, the segmenter was restarted) leave gaps.
    mask: (H, W) uint8 class ids at the frame's size. confidence: (H, W) uint8, max softmax x 255, or None when it was
    not asked for.
    is_keyframe, reason: whether the deep half ran on this frame, and why or why not.
    keyframe_age_frames, keyframe_age_s: how old the common feature is (0 on a keyframe); in bidirectional mode, that of
    the nearer keyframe. Seconds are 0 where one of the two has no stamp.
    stage_ms: wall time of each stage: "prepare" (resizing), "shallow" (Enc_lo), "common" (Enc_hi; 0 on other frames)
    and "decide" (fusion, head, logits to ids at the frame's size). On a GPU "decide" includes the wait for the stages
    before.
    """

    frame: Frame
    index: int
    mask: np.ndarray
    confidence: np.ndarray | None
    is_keyframe: bool
    reason: str
    keyframe_age_frames: int
    keyframe_age_s: float
    stage_ms: Mapping[str, float]

    @property
    def total_ms(self) -> float:
        """Milliseconds over all stages."""
        return sum(self.stage_ms.values())
