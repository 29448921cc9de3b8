"""A bag file by file, each read for what is in it: a file that is missing or broken costs only what it held."""

from __future__ import annotations

import shutil
import sqlite3
from collections import Counter
from collections.abc import Iterator
from pathlib import Path, PurePath
from typing import Any

import yaml
import zstandard

from dcfm_ros.recordings.salvage.mcap_file import mcap_messages
from dcfm_ros.recordings.salvage.raw import Lose, RawMessage
from dcfm_ros.recordings.salvage.ros1_file import ros1_messages
from dcfm_ros.recordings.salvage.sqlite_file import sqlite_messages
from dcfm_ros.recordings.storage import COMPRESSED, bag_files, beside_sqlite, is_of_ros1, storage_kind

_READERS = {".bag": ros1_messages, ".db3": sqlite_messages, ".mcap": mcap_messages}
_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"  # CDR begins otherwise
_BLOCK_BYTES = 1 << 20


def salvaged(path: Path, lose: Lose, scratch: Path) -> Iterator[RawMessage]:
    """Every message that can be read of a folder of a bag's files, with its metadata or without, or of a single file.

    scratch: a folder for what is decompressed or put together; the bag itself stays as it is.
    They come in the order in which they lie in the files, which for one topic is that of receipt.
    """
    for file in _files(path, lose):
        storage = _decompressed(file, scratch, lose) if storage_kind(file) == COMPRESSED else file
        storage = _with_what_lies_beside(storage, scratch, lose)
        reader = _READERS.get(storage_kind(storage))
        if reader is None:
            lose(f"{file.name} is of no known kind; expected {', '.join(_READERS)}")
            continue
        for message in reader(storage, lose):
            if message.data[:4] != _ZSTD_MAGIC:
                yield message
                continue
            try:
                data = zstandard.ZstdDecompressor().decompressobj().decompress(message.data)
            except zstandard.ZstdError as error:
                lose(f"{file.name}: a message on {message.topic} at {message.received_ns} ns: {error}")
                continue
            yield message._replace(data=data)


def announced(path: Path) -> Counter[tuple[str, str]]:
    """Messages by topic and type, as a bag's metadata has them; empty where that tells none."""
    counts: Counter[tuple[str, str]] = Counter()
    try:
        for topic in _metadata(path)["topics_with_message_count"]:
            counts[topic["topic_metadata"]["name"], topic["topic_metadata"]["type"]] += int(topic["message_count"])
    except (OSError, ValueError, KeyError, TypeError, yaml.YAMLError):
        return Counter()
    return counts


def has_unwritten(path: Path) -> bool:
    """Whether a file of the bag has something beside it that SQLite had not yet written into it."""
    files = bag_files(path) if path.is_dir() else [path]
    return any(beside_sqlite(file) for file in files if storage_kind(file) == ".db3")


def _metadata(path: Path) -> Any:
    return yaml.safe_load((path / "metadata.yaml").read_text("utf-8"))["rosbag2_bagfile_information"]


def _files(path: Path, lose: Lose) -> Iterator[Path]:
    """The bag's files in their order: as its metadata has it, or by name where that cannot be read."""
    if not path.is_dir():
        yield path
        return
    try:
        files = [path / PurePath(name).name for name in _metadata(path)["relative_file_paths"]]
    except (OSError, ValueError, KeyError, TypeError, yaml.YAMLError) as error:
        files = bag_files(path)
        if not is_of_ros1(path):
            lose(f"{path} has no metadata.yaml that says which files it has ({error}); those that are there are read")
    for file in files:
        if file.is_file():
            yield file
        else:
            lose(f"{file.name} is missing")


def _decompressed(file: Path, folder: Path, lose: Lose) -> Path:
    """The file as far as it can be decompressed."""
    whole = folder / file.stem
    if whole.exists():
        return whole
    decompressor = zstandard.ZstdDecompressor().decompressobj()
    with file.open("rb") as source, whole.open("wb") as target:
        try:
            while block := source.read(_BLOCK_BYTES):
                target.write(decompressor.decompress(block))
        except zstandard.ZstdError as error:
            lose(f"{file.name}: from byte {source.tell() - len(block)} on it cannot be decompressed: {error}")
    return whole


def _with_what_lies_beside(file: Path, folder: Path, lose: Lose) -> Path:
    """A copy into which SQLite has written its -wal or taken back its -journal; the file itself where it has none."""
    beside = beside_sqlite(file) if storage_kind(file) == ".db3" else []
    if not beside:
        return file
    copy = folder / file.name
    if copy.exists():
        return copy
    for part in (file, *beside):
        shutil.copyfile(part, folder / part.name)
    database = sqlite3.connect(copy)
    try:
        database.execute("PRAGMA journal_mode=DELETE").fetchall()
    except sqlite3.Error as error:
        lose(f"{', '.join(part.name for part in beside)} cannot be read: {error}; expected more messages there")
        return file
    finally:
        database.close()
    return copy
