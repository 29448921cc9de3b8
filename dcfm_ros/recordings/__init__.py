"""Bags, videos and image folders, read and written without a ROS installation."""

from dcfm_ros.recordings.open import open_recording
from dcfm_ros.recordings.recording import Recording, RecordingError

__all__ = ["Recording", "RecordingError", "open_recording"]
