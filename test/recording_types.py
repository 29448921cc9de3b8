"""What the fixtures of test/recordings hand out: functions that make frames, messages and recordings."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from dcfm_ros.imaging.frame import Frame

MakeFrames = Callable[..., list[Frame]]
MakeMessage = Callable[..., Any]
WriteMessages = Callable[..., Path]
WriteRos1 = Callable[..., Path]
