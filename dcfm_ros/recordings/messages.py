"""The messages of any topic of a bag, as `rosbags` deserialises them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from dcfm_ros.recordings.bag_messages import BagMessages, reason
from dcfm_ros.recordings.recording import RecordingError


def topics_of(path: Path) -> dict[str, str]:
    """The type of each topic that has messages. Raises RecordingError when the bag cannot be read."""
    with closing(BagMessages(path, _refuse)) as bag:
        return {topic: kind for (topic, kind), count in bag.counts.items() if count}


def read_messages(path: Path, topic: str) -> Iterator[tuple[int, Any]]:
    """The time of receipt (ns) and the message of everything on a topic, in the order of receipt.

    Raises RecordingError when the bag cannot be read, at the first message that cannot, and without such a topic.
    """
    with closing(BagMessages(path, _refuse)) as bag:
        kinds = tuple(kind for name, kind in bag.counts if name == topic)
        if not kinds:
            there = ", ".join(sorted({name for name, _ in bag.counts})) or "none"
            raise RecordingError(f"{path} has no topic {topic!r}; its topics: {there}")
        for number, raw in enumerate(bag.of(topic, kinds)):
            try:
                content = bag.content(raw)
            except Exception as error:  # a damaged message surfaces as nearly any type
                raise RecordingError(
                    f"message {number} on {topic} in {path} cannot be read: {reason(error)}"
                ) from error
            yield raw.received_ns, content


def _refuse(what: str, cause: Exception | None = None) -> None:
    raise RecordingError(what) from cause
