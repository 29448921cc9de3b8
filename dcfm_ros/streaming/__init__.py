"""One camera over time: the segmenter, its options and schedules, and the backends that run the network."""

from dcfm_ros.streaming.options import StreamOptions
from dcfm_ros.streaming.result import Segmentation
from dcfm_ros.streaming.schedules import Decision, FixedInterval, Schedule, Situation
from dcfm_ros.streaming.segmenter import StreamSegmenter

__all__ = [
    "Decision",
    "FixedInterval",
    "Schedule",
    "Segmentation",
    "Situation",
    "StreamOptions",
    "StreamSegmenter",
]
