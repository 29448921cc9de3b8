"""What the readers of damaged files give, and how they tell what is lost."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

Lose = Callable[[str], None]
"""Told what is lost, where and why."""


class RawMessage(NamedTuple):
    """A message as it was serialised: ROS 1 in a .bag file, else CDR."""

    topic: str
    kind: str
    received_ns: int
    data: bytes
