"""The messages of any topic of a bag, as `rosbags` deserialises them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rosbags.highlevel import AnyReader
from rosbags.typesys import Stores, get_typestore

from dcfm_ros.recordings.recording import RecordingError


def topics_of(path: Path) -> dict[str, str]:
    """The type of each topic that has messages. Raises RecordingError when the bag cannot be read."""
    with _opened(path) as reader:
        return {c.topic: c.msgtype for c in reader.connections if c.msgcount}


def read_messages(path: Path, topic: str) -> Iterator[tuple[int, Any]]:
    """The time of receipt (ns) and the message of everything on a topic, in the order of receipt.

    Raises RecordingError when the bag cannot be read, at the first message that cannot, and without such a topic.
    """
    with _opened(path) as reader:
        connections = [c for c in reader.connections if c.topic == topic]
        if not connections:
            there = ", ".join(sorted({c.topic for c in reader.connections})) or "none"
            raise RecordingError(f"{path} has no topic {topic!r}; its topics: {there}")
        for connection, received_ns, data in reader.messages(connections=connections):
            yield received_ns, reader.deserialize(data, connection.msgtype)


@contextmanager
def _opened(path: Path) -> Iterator[AnyReader]:
    try:
        with AnyReader([path], default_typestore=get_typestore(Stores.ROS2_JAZZY)) as reader:
            yield reader
    except RecordingError:
        raise
    except Exception as error:  # a damaged file surfaces as nearly any type: struct, index, assertion, sqlite, ...
        raise RecordingError(f"{path} cannot be read as a bag: {str(error) or type(error).__name__}") from error
