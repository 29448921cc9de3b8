"""A .bag file of ROS 1 (http://wiki.ros.org/Bags/Format/2.0) whose index is missing, or whose end is."""

from __future__ import annotations

import bz2
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

from rosbags.rosbag1.reader import Header, ReaderError, RecordType, normalize, read_bytes, read_uint32
from rosbags.typesys.msg import normalize_msgtype

from dcfm_ros.recordings.salvage.raw import Lose, RawMessage


def ros1_messages(file: Path, lose: Lose) -> Iterator[RawMessage]:
    """Every message of a connection that is described, chunk by chunk."""
    connections: dict[int, tuple[str, str]] = {}
    for compression, data in _chunks(file, lose):
        try:
            yield from _messages(BytesIO(_decompressed(compression, data)), connections)
        except (ReaderError, ValueError, OSError, RuntimeError, EOFError) as error:
            lose(f"{file.name}: a chunk of {len(data)} bytes cannot be read to its end: {error}")


def _chunks(file: Path, lose: Lose) -> Iterator[tuple[str, bytes]]:
    """How each is compressed, and its bytes."""
    size = file.stat().st_size
    with file.open("rb") as stream:
        stream.readline()  # the magic
        while (at := stream.tell()) < size:
            try:
                header = Header.read(stream)
                is_chunk = header.get_uint8("op") == RecordType.CHUNK
                data = stream.read(length := read_uint32(stream))
                if is_chunk:
                    yield header.get_string("compression"), data
            except (ReaderError, ValueError) as error:
                lose(f"{file.name}: bytes {at} to {size}: {error}")
                return
            if len(data) < length:
                lose(f"{file.name}: bytes {at} to {size}: the record is cut")


def _messages(chunk: BytesIO, connections: dict[int, tuple[str, str]]) -> Iterator[RawMessage]:
    """Of a chunk. Raises ReaderError at the first record that is not whole."""
    size = len(chunk.getbuffer())
    while chunk.tell() < size:
        header = Header.read(chunk)
        data = read_bytes(chunk, read_uint32(chunk))
        if header.get_uint8("op") == RecordType.CONNECTION:
            kind = Header.read(BytesIO(len(data).to_bytes(4, "little") + data)).get_string("type")
            connections[header.get_uint32("conn")] = (normalize(header.get_string("topic")), normalize_msgtype(kind))
        elif header.get_uint8("op") == RecordType.MSGDATA and header.get_uint32("conn") in connections:
            yield RawMessage(*connections[header.get_uint32("conn")], header.get_time("time"), data, "ros1")


def _decompressed(compression: str, data: bytes) -> bytes:
    """As far as the bytes go."""
    if compression == "bz2":
        return bz2.BZ2Decompressor().decompress(data)
    if compression == "lz4":
        from lz4.frame import LZ4FrameDecompressor

        return LZ4FrameDecompressor().decompress(data)
    return data
