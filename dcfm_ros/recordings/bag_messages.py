"""The messages of a bag, as everything here reads them: one answer to what a bag holds, whoever asks."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

from rosbags.highlevel import AnyReader
from rosbags.typesys import Stores, get_types_from_msg, get_typestore
from rosbags.typesys.store import Typestore

from dcfm_ros.recordings.foxglove import COMPRESSED_IMAGES, RAW_IMAGES, as_ros, from_json, from_protobuf
from dcfm_ros.recordings.recording import Damaged, RecordingError
from dcfm_ros.recordings.salvage.bag import announced, has_unwritten, salvaged
from dcfm_ros.recordings.salvage.raw import RawMessage

_READ = ("cdr", "ros1", "protobuf", "json")


class LoseWhy(Protocol):
    """Notes what is lost, or raises it."""

    def __call__(self, what: str, cause: Exception | None = None) -> None: ...


class BagMessages:
    """A rosbag2 folder, a folder of ROS 1 bags, or a single file of either; kinds are told by content.

    `rosbags` reads it where it can, by its index. What it refuses, or would not read whole, is read file by file: a bag
    is lost only as far as its messages are, whatever its metadata, its name or its other topics are like.

    lose: is given what cannot be read; raises it where `damaged` is "raise". counts: messages by topic and type.
    Raises what `lose` raises.
    """

    def __init__(self, path: Path, lose: LoseWhy, damaged: Damaged = "raise") -> None:
        self._path, self._lose, self._damaged = path, lose, damaged
        self._open = ExitStack()
        self._refusal: Exception | None = None
        self._is_closed = False
        self._reader = self._opened()
        try:
            self.counts = self._counts()
        except Exception:
            self.close()
            raise

    def of(self, topic: str, kinds: tuple[str, ...]) -> Iterator[RawMessage]:
        """A topic's messages of some types, in the order of receipt. Fewer than the bag tells of are a loss."""
        if self._is_closed:
            raise RecordingError(f"{self._path} was closed; expected it to be read before that")
        expected = sum(self.counts[topic, kind] for kind in kinds)
        if not expected:
            return  # to the library, no connections are all of them
        read: Counter[int] = Counter()
        if self._reader is not None:
            try:
                for raw in self._indexed(topic, kinds):
                    read[raw.received_ns] += 1
                    yield raw
            except Exception as error:  # a damaged file surfaces as nearly any type: struct, index, sqlite, ...
                if not self._can_be_read_by_file(topic, kinds, expected):
                    where = f"message {read.total()} on {topic} in {self._path}"
                    self._lose(f"{where} cannot be read: {reason(error)}", error)
            if read.total() >= expected:
                return
        count = read.total()
        for raw in salvaged(self._path, self._lose, self._scratch):
            if raw.topic != topic or raw.kind not in kinds:
                continue
            if read[raw.received_ns]:
                read[raw.received_ns] -= 1
            else:
                count += 1
                yield raw
        if count < expected:
            self._lose(f"{self._path} holds {count} messages on {topic}; expected {expected}")

    def content(self, raw: RawMessage) -> Any:
        """The message, as `rosbags` deserialises it. Raises nearly anything where it is damaged."""
        if raw.encoding not in _READ:
            raise ValueError(f"{raw.kind} is in {raw.encoding!r}; expected one of {', '.join(_READ)}")
        if raw.encoding == "protobuf":
            found = from_protobuf(raw.data, raw.kind, raw.definition)
        elif raw.encoding == "json":
            found = from_json(raw.data)
        elif raw.encoding == "ros1":
            found = self._ros1_types.deserialize_ros1(raw.data, raw.kind)
        else:
            if raw.kind not in self._types.types:
                self._types.register(get_types_from_msg(raw.definition.decode(), raw.kind))
            found = self._types.deserialize_cdr(raw.data, raw.kind)
        return as_ros(found, raw.kind) if raw.kind in (*RAW_IMAGES, *COMPRESSED_IMAGES) else found

    def close(self) -> None:
        """Frees what is held open; may be called twice."""
        self._is_closed = True
        self._open.close()

    def _opened(self) -> AnyReader | None:
        """The library's reader; None where it refuses the bag or would pass over something."""
        if has_unwritten(self._path):
            return None
        try:
            # Bags older than Iron's carry no definitions; these have been the same in all of ROS 2.
            reader = AnyReader([self._path], default_typestore=get_typestore(Stores.ROS2_JAZZY))
            reader.open()
        except Exception as error:  # as above
            self._refusal = error
            return None
        if reader.is2 and any(_encoding(connection) != "cdr" for connection in reader.connections):
            reader.close()
            return None
        self._open.callback(lambda: reader.close() if reader.stack else None)
        return reader

    def _counts(self) -> Counter[tuple[str, str]]:
        counts: Counter[tuple[str, str]] = Counter()
        if self._reader is not None:
            for connection in self._reader.connections:
                counts[connection.topic, connection.msgtype] += connection.msgcount
            return counts
        lost: list[str] = []
        counts.update((raw.topic, raw.kind) for raw in salvaged(self._path, lost.append, self._scratch))
        if self._refusal is not None and (not counts or (lost and self._damaged == "raise")):
            self._lose(f"{self._path} cannot be read as a bag: {reason(self._refusal)}", self._refusal)
        for what in lost:
            self._lose(what)
        return counts | announced(self._path)

    def _can_be_read_by_file(self, topic: str, kinds: tuple[str, ...], expected: int) -> bool:
        """Whether nothing is lost where the library gives up, as it does over messages out of order and no index."""
        lost: list[str] = []
        messages = salvaged(self._path, lost.append, self._scratch)
        count = sum(raw.topic == topic and raw.kind in kinds for raw in messages)
        return not lost and count >= expected

    def _indexed(self, topic: str, kinds: tuple[str, ...]) -> Iterator[RawMessage]:
        """By the library. One topic may have several connections: bags that were split, publishers with other QoS."""
        assert self._reader is not None
        ours = [c for c in self._reader.connections if c.topic == topic and c.msgtype in kinds]
        for connection, received_ns, data in self._reader.messages(connections=ours):
            encoding = "cdr" if self._reader.is2 else "ros1"
            yield RawMessage(topic, connection.msgtype, received_ns, data, encoding, connection.msgdef.data.encode())

    @cached_property
    def _scratch(self) -> Path:
        return Path(self._open.enter_context(tempfile.TemporaryDirectory()))

    @cached_property
    def _types(self) -> Typestore:
        """Not the bag's own: what it says of its types may be damaged or missing, and these have not changed."""
        return get_typestore(Stores.ROS2_JAZZY)

    @cached_property
    def _ros1_types(self) -> Typestore:
        return get_typestore(Stores.ROS1_NOETIC)


def reason(error: Exception) -> str:
    """An error in words, whatever it is."""
    return str(error) or type(error).__name__


def _encoding(connection: Any) -> str:
    return str(connection.ext.serialization_format)
