"""A damaged bag, file by file: a file that is missing or broken costs only what was in it."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path, PurePath

import yaml
import zstandard

from dcfm_ros.imaging.files import files_in
from dcfm_ros.recordings.salvage.mcap_file import mcap_messages
from dcfm_ros.recordings.salvage.raw import Lose, RawMessage
from dcfm_ros.recordings.salvage.ros1_file import ros1_messages
from dcfm_ros.recordings.salvage.sqlite_file import sqlite_messages

_READERS = {".bag": ros1_messages, ".db3": sqlite_messages, ".mcap": mcap_messages}
_COMPRESSED = ".zstd"
_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"  # CDR begins otherwise
_BLOCK_BYTES = 1 << 20


def salvaged(path: Path, lose: Lose) -> Iterator[RawMessage]:
    """Every message that can be read of a rosbag2 folder, with its metadata or without, or of a single file.

    They come in the order in which they lie in the files, which for one topic is that of receipt.
    """
    with tempfile.TemporaryDirectory() as scratch:
        for file in _files(path, lose):
            storage = _decompressed(file, Path(scratch), lose) if file.suffix == _COMPRESSED else file
            reader = _READERS.get(storage.suffix)
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


def _files(path: Path, lose: Lose) -> Iterator[Path]:
    """The bag's files in their order: as its metadata has it, or by name where that cannot be read."""
    if not path.is_dir():
        yield path
        return
    try:
        information = yaml.safe_load((path / "metadata.yaml").read_text())["rosbag2_bagfile_information"]
        files = [path / PurePath(name).name for name in information["relative_file_paths"]]
    except (OSError, ValueError, KeyError, TypeError, yaml.YAMLError):
        files = files_in(path, (*_READERS, _COMPRESSED))
    for file in files:
        if file.is_file():
            yield file
        else:
            lose(f"{file.name} is missing")


def _decompressed(file: Path, folder: Path, lose: Lose) -> Path:
    """The file as far as it can be decompressed."""
    whole = folder / file.stem
    decompressor = zstandard.ZstdDecompressor().decompressobj()
    with file.open("rb") as source, whole.open("wb") as target:
        try:
            while block := source.read(_BLOCK_BYTES):
                target.write(decompressor.decompress(block))
        except zstandard.ZstdError as error:
            lose(f"{file.name}: from byte {source.tell() - len(block)} on it cannot be decompressed: {error}")
    return whole
