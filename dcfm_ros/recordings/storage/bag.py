"""All files of a bag as one: a file that is missing or broken costs only what was in it."""

from __future__ import annotations

import heapq
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path, PurePath
from typing import Any

import yaml
import zstandard

from dcfm_ros.recordings.recording import RecordingError
from dcfm_ros.recordings.storage.kinds import (
    BAG_SUFFIXES,
    COMPRESSED,
    MCAP,
    ROS1,
    SQLITE,
    are_parts,
    bag_files_in,
    kind_of_file,
)
from dcfm_ros.recordings.storage.mcap_file import McapFile
from dcfm_ros.recordings.storage.raw import Channel, Lose, RawMessage, StorageFile, Wanted
from dcfm_ros.recordings.storage.ros1_file import Ros1File
from dcfm_ros.recordings.storage.sqlite_file import SqliteFile

_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"  # CDR begins otherwise
_BLOCK_BYTES = 1 << 20


class Bag:
    """A rosbag2 folder, with its metadata or without; a folder of the files that a ROS 1 bag was split into; or a file.

    lose: told what cannot be read. Messages come in the order of receipt, also where files overlap in time.
    """

    def __init__(self, path: Path, lose: Lose) -> None:
        self._lose = lose
        self._open = ExitStack()
        self._scratch = Path(self._open.enter_context(tempfile.TemporaryDirectory()))
        try:
            self.announced, files = _described(path, lose) if path.is_dir() else (Counter[str](), [path])
            self._files = [opened for file in files if (opened := self._opened(file)) is not None]
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """May be called twice."""
        self._open.close()

    def counts(self) -> Counter[Channel]:
        """How many messages each channel has."""
        counts: Counter[Channel] = Counter()
        for file in self._files:
            counts.update(file.counts())
        return counts

    def messages(self, wanted: Wanted) -> Iterator[RawMessage]:
        """The messages of the channels that are wanted."""
        for message in _in_order(file.messages(wanted) for file in self._files):
            if message.channel.encoding != "cdr" or message.data[:4] != _ZSTD_MAGIC:
                yield message
                continue
            try:
                data = zstandard.ZstdDecompressor().decompressobj().decompress(message.data)
            except zstandard.ZstdError as error:
                self._lose(f"a message on {message.channel.topic} at {message.received_ns} ns: {error}")
                continue
            yield message._replace(data=data)

    def _opened(self, file: Path) -> StorageFile | None:
        scratch = self._scratch / str(len(list(self._scratch.iterdir())))
        scratch.mkdir()
        try:
            if kind_of_file(file) == COMPRESSED:
                file = _decompressed(file, scratch, self._lose)
            opened = _READERS[kind_of_file(file)](file, self._lose, scratch)
        except KeyError:
            self._lose(f"{file.name} is of no known kind; expected {', '.join(BAG_SUFFIXES)}")
            return None
        except RecordingError:  # raised by `lose`
            raise
        except (ValueError, OSError) as error:
            self._lose(f"{file} cannot be read as a bag: {error}")
            return None
        self._open.callback(opened.close)
        return opened


_READERS: dict[str | None, Callable[[Path, Lose, Path], Any]] = {
    ROS1: lambda file, lose, scratch: Ros1File(file, lose),
    SQLITE: SqliteFile,
    MCAP: lambda file, lose, scratch: McapFile(file, lose),
}


def _in_order(files: Iterable[Iterator[RawMessage]]) -> Iterator[RawMessage]:
    """The messages of files, each in the order of receipt, in that order over all; files come in the order they begin.

    A file is begun when the one before it comes to its first message, so that of a thousand files only those that
    overlap have a message in memory.
    """
    begun: list[tuple[int, int, RawMessage, Iterator[RawMessage]]] = []  # a heap: the earliest message first

    def earliest() -> RawMessage:
        _, number, message, rest = begun[0]
        following = next(rest, None)
        if following is None:
            heapq.heappop(begun)
        else:
            heapq.heapreplace(begun, (following.received_ns, number, following, rest))
        return message

    for number, messages in enumerate(files):
        first = next(messages, None)
        if first is None:
            continue
        while begun and begun[0][0] <= first.received_ns:
            yield earliest()
        heapq.heappush(begun, (first.received_ns, number, first, messages))
    while begun:
        yield earliest()


def _described(folder: Path, lose: Lose) -> tuple[Counter[str], list[Path]]:
    """Messages by topic as the metadata has them, and the bag's files in their order: as it has it, or by name.

    A recorder that was killed leaves the last file out; it is read after the others.
    """
    there = bag_files_in(folder)
    metadata = folder / "metadata.yaml"
    if there and not metadata.exists() and all(kind_of_file(file) == ROS1 for file in there):
        return Counter(), there
    try:
        information = yaml.safe_load(metadata.read_text())["rosbag2_bagfile_information"]
        files = [folder / PurePath(name).name for name in information["relative_file_paths"]]
        if not files:
            raise ValueError("it names no files")
    except (OSError, ValueError, LookupError, TypeError, RecursionError, yaml.YAMLError) as error:
        lose(f"{metadata} cannot be read: {' '.join(str(error).split()) or type(error).__name__}")
        return Counter(), there
    for file in files:
        if not file.is_file():
            lose(f"{file.name} is missing")
    listed = [file for file in files if file.is_file()]
    rest = [file for file in there if file not in listed and (not listed or are_parts([listed[-1], file]))]
    return _announced(information), [*listed, *rest]


def _announced(information: Any) -> Counter[str]:
    """Whatever else it says; what is no count is none."""
    counts: Counter[str] = Counter()
    topics = information.get("topics_with_message_count")
    for entry in topics if isinstance(topics, list) else ():
        try:
            topic, count = entry["topic_metadata"]["name"], entry["message_count"]
        except (LookupError, TypeError):
            continue
        if isinstance(topic, str) and isinstance(count, int):
            counts[topic] = min(counts[topic] + count, sys.maxsize)
    return counts


def _decompressed(file: Path, folder: Path, lose: Lose) -> Path:
    """The file as far as it can be decompressed."""
    whole = folder / file.name.removesuffix(".zstd")
    decompressor = zstandard.ZstdDecompressor().decompressobj()
    with file.open("rb") as source, whole.open("wb") as target:
        try:
            while block := source.read(_BLOCK_BYTES):
                target.write(decompressor.decompress(block))
        except zstandard.ZstdError as error:
            lose(f"{file.name}: from byte {source.tell() - len(block)} on it cannot be decompressed: {error}")
    return whole
