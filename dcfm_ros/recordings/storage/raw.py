"""The interface of the readers of a bag's files: what they give, and how they tell what is lost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from typing import NamedTuple, Protocol

from rosbags.typesys.msg import normalize_msgtype

Lose = Callable[[str], None]
"""Told what is lost, where and why."""


class Channel(NamedTuple):
    """A channel of messages before they are read. kind: "sensor_msgs/msg/Image", or as others call theirs.

    encoding: of the messages: cdr, ros1, protobuf, json, ... definition: as the file has it; empty where none is used.
    """

    topic: str
    kind: str
    encoding: str
    definition: bytes = b""


Wanted = Callable[[Channel], bool]


class RawMessage(NamedTuple):
    """A message as it was serialised."""

    channel: Channel
    received_ns: int
    data: bytes


class StorageFile(Protocol):
    """One file of a bag."""

    def counts(self) -> Counter[Channel]:
        """How many messages each channel has: as the file tells, or as can be read."""

    def messages(self, wanted: Wanted) -> Iterator[RawMessage]:
        """Every message of the wanted channels that can be read, in the order of receipt."""


def kind_of(name: str) -> str:
    """The type's name as ROS 2 has it, where it is one of ROS 1."""
    return normalize_msgtype(name) if name.count("/") == 1 else name
