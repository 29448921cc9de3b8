"""The messages of any topic of a bag."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from dcfm_ros.recordings.recording import RecordingError
from dcfm_ros.recordings.storage.bag import Bag
from dcfm_ros.recordings.storage.contents import content_of
from dcfm_ros.recordings.storage.raw import Lose


def topics_of(path: Path) -> dict[str, str]:
    """The type of each topic that has messages. Raises RecordingError when the bag cannot be read."""
    with closing(Bag(path, _refuse(path))) as bag:
        return {channel.topic: channel.kind for channel, count in bag.counts().items() if count}


def read_messages(path: Path, topic: str) -> Iterator[tuple[int, Any]]:
    """The time of receipt (ns) and the message of everything on a topic, in the order of receipt.

    Raises RecordingError when the bag cannot be read, at the first message that cannot, and without such a topic.
    """
    with closing(Bag(path, _refuse(path))) as bag:
        there: Counter[str] = Counter()
        for channel, found in bag.counts().items():
            there[channel.topic] += found
        if topic not in there:
            raise RecordingError(f"{path} has no topic {topic!r}; its topics: {', '.join(sorted(there)) or 'none'}")
        count = 0
        for message in bag.messages(lambda channel: channel.topic == topic):
            try:
                content = content_of(message)
            except Exception as error:  # a damaged message surfaces as nearly any type: struct, index, assertion, ...
                where = f"message {count} on {topic} in {path}"
                raise RecordingError(f"{where} cannot be read: {str(error) or type(error).__name__}") from error
            count += 1
            yield message.received_ns, content
        if count < there[topic]:
            raise RecordingError(f"{path} holds {count} messages on {topic}; expected {there[topic]}")


def _refuse(path: Path) -> Lose:
    def lose(what: str) -> None:
        raise RecordingError(what if "cannot be read as a bag" in what else f"{path} cannot be read as a bag: {what}")

    return lose
