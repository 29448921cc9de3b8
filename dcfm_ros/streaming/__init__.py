"""One camera over time: the segmenter, its schedules and the backends that run the network."""

from dcfm_ros.streaming.result import Segmentation
from dcfm_ros.streaming.schedules import Decision, FixedInterval, Schedule, Situation, create_schedule
from dcfm_ros.streaming.segmenter import MODES, StreamSegmenter

__all__ = [
    "MODES",
    "Decision",
    "FixedInterval",
    "Schedule",
    "Segmentation",
    "Situation",
    "StreamSegmenter",
    "create_schedule",
]
