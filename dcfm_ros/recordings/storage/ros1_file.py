"""A .bag file of ROS 1 (http://wiki.ros.org/Bags/Format/2.0), also one whose index is missing, or whose end is."""

from __future__ import annotations

import bz2
from collections import Counter
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

from rosbags.rosbag1.reader import Header, Reader, ReaderError, RecordType, normalize, read_bytes, read_uint32

from dcfm_ros.recordings.storage.raw import Channel, Lose, RawMessage, Wanted, kind_of


class Ros1File:
    """By its index where that is whole, else chunk by chunk."""

    def __init__(self, file: Path, lose: Lose) -> None:
        self._file = file
        self._lose = lose
        self._reader: Reader | None = Reader(file)
        try:
            self._reader.open()
        except Exception as error:  # struct, decoding and whatever else damage is taken for
            self._reader = None
            if file.open("rb").readline() != b"#ROSBAG V2.0\n":
                raise ValueError(str(error)) from error
            lose(f"{file} cannot be read as a bag: {error}")

    def close(self) -> None:
        if self._reader is not None:
            self._reader.close()

    def counts(self) -> Counter[Channel]:
        if self._reader is None:
            return Counter(message.channel for message in self._salvaged(lambda channel: True))
        counts: Counter[Channel] = Counter()
        for connection in self._reader.connections:
            counts[Channel(connection.topic, connection.msgtype, "ros1")] += connection.msgcount
        return counts

    def messages(self, wanted: Wanted) -> Iterator[RawMessage]:
        read: Counter[tuple[Channel, int]] = Counter()
        if self._reader is not None:
            channels = {c.id: Channel(c.topic, c.msgtype, "ros1") for c in self._reader.connections}
            ours = [c for c in self._reader.connections if wanted(channels[c.id])]
            messages = self._reader.messages(ours) if ours else iter(())
            while True:
                try:
                    connection, received_ns, data = next(messages)
                except StopIteration:
                    return
                except Exception as error:  # as above
                    self._lose(f"{self._file.name} cannot be read by its index: {error}")
                    break
                read[channels[connection.id], received_ns] += 1
                yield RawMessage(channels[connection.id], received_ns, bytes(data))
        for message in self._salvaged(wanted):
            if read[message.channel, message.received_ns]:
                read[message.channel, message.received_ns] -= 1
            else:
                yield message

    def _salvaged(self, wanted: Wanted) -> Iterator[RawMessage]:
        """Every message of a connection that is described, chunk by chunk."""
        connections: dict[int, Channel] = {}
        for compression, data in self._chunks():
            try:
                for message in _messages(BytesIO(_decompressed(compression, data)), connections):
                    if wanted(message.channel):
                        yield message
            except (ReaderError, ValueError, OSError, RuntimeError, EOFError) as error:
                self._lose(f"{self._file.name}: a chunk of {len(data)} bytes cannot be read to its end: {error}")

    def _chunks(self) -> Iterator[tuple[str, bytes]]:
        """How each is compressed, and its bytes."""
        size = self._file.stat().st_size
        with self._file.open("rb") as stream:
            stream.readline()  # the magic
            while (at := stream.tell()) < size:
                try:
                    header = Header.read(stream)
                    compression = header.get_string("compression") if _is(header, RecordType.CHUNK) else None
                    data = stream.read(length := read_uint32(stream))
                except (ReaderError, ValueError) as error:
                    self._lose(f"{self._file.name}: bytes {at} to {size}: {error}")
                    return
                if compression is not None:
                    yield compression, data
                if len(data) < length:
                    self._lose(f"{self._file.name}: bytes {at} to {size}: the record is cut")


def _is(header: Header, kind: RecordType) -> bool:
    return header.get_uint8("op") == kind


def _messages(chunk: BytesIO, connections: dict[int, Channel]) -> Iterator[RawMessage]:
    """Yield the messages of a chunk. Raises ReaderError at the first record that is not whole."""
    size = len(chunk.getbuffer())
    while chunk.tell() < size:
        header = Header.read(chunk)
        data = read_bytes(chunk, read_uint32(chunk))
        if _is(header, RecordType.CONNECTION):
            kind = Header.read(BytesIO(len(data).to_bytes(4, "little") + data)).get_string("type")
            topic = normalize(header.get_string("topic"))
            connections[header.get_uint32("conn")] = Channel(topic, kind_of(kind), "ros1")
        elif _is(header, RecordType.MSGDATA) and header.get_uint32("conn") in connections:
            yield RawMessage(connections[header.get_uint32("conn")], header.get_time("time"), data)


def _decompressed(compression: str, data: bytes) -> bytes:
    """As far as the bytes go."""
    if compression == "bz2":
        return bz2.BZ2Decompressor().decompress(data)
    if compression == "lz4":
        from lz4.frame import LZ4FrameDecompressor

        return LZ4FrameDecompressor().decompress(data)
    return data
