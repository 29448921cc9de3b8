"""An MCAP file (https://mcap.dev/spec), also one without its index, without its end, or with damage in the middle.

Records are read one after the other, as from a stream. The index, where there is one, tells which chunks need not be
read, whether messages lie in the order of receipt, and where to resume behind damage.
"""

from __future__ import annotations

import struct
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import lru_cache
from io import BytesIO
from itertools import pairwise
from pathlib import Path
from typing import BinaryIO

import zstandard
from mcap.data_stream import ReadDataStream
from mcap.opcode import Opcode
from mcap.reader import SeekingReader
from mcap.records import Channel as ChannelRecord
from mcap.records import Chunk, McapRecord, Message, MessageIndex, Schema
from mcap.stream_reader import StreamReader, breakup_chunk
from mcap.summary import Summary

from dcfm_ros.recordings.storage.raw import Channel, Lose, RawMessage, Wanted, kind_of

_MAGIC_BYTES = 8
_HEAD = struct.Struct("<BQ")  # opcode, length
_KNOWN = range(Opcode.HEADER, Opcode.DATA_END + 1)
_WANTED = (Opcode.SCHEMA, Opcode.CHANNEL, Opcode.MESSAGE)
_OWN = range(0x80, 0x100)  # records that others may define
_KEPT_CHUNKS = 4
_Placed = tuple[int, McapRecord]
"""A record, and where in the file it or its chunk begins."""


class McapFile:
    """Every message of a channel that is described. A chunk whose checksum is wrong is left out."""

    def __init__(self, file: Path, lose: Lose) -> None:
        self._file = file
        self._lose = lose
        if file.stat().st_size <= _MAGIC_BYTES:
            raise ValueError("it is empty")
        with file.open("rb") as stream:
            self._summary = _summary(stream)

    def close(self) -> None:
        """Nothing is held open."""

    def counts(self) -> Counter[Channel]:
        statistics = self._summary.statistics
        told = {} if statistics is None else statistics.channel_message_counts
        channels = {number: _channel(number, self._summary.channels, self._summary.schemas) for number in told}
        if not any(told.values()) or None in channels.values():
            return Counter(message.channel for _, message in self._found(lambda channel: True))
        counts: Counter[Channel] = Counter()
        for number, channel in channels.items():
            assert channel is not None
            counts[channel] += told[number]
        return counts

    def messages(self, wanted: Wanted) -> Iterator[RawMessage]:
        if self._is_told_in_order(wanted):
            yield from (message for _, message in self._found(wanted))
            return
        places: list[tuple[int, int, int]] = []
        numbers: Counter[int] = Counter()  # of the messages of each place
        for at, message in self._found(wanted):
            places.append((message.received_ns, at, numbers[at]))
            numbers[at] += 1
        if all(before <= after for before, after in _times(places)):
            yield from (message for _, message in self._found(wanted))
            return
        # Python's sort is stable: what was received at one time stays in the order of the file.
        read = lru_cache(_KEPT_CHUNKS)(lambda at: [message for _, message in self._found(wanted, at)])
        for _, at, number in sorted(places, key=lambda place: place[0]):
            yield read(at)[number]

    def _is_told_in_order(self, wanted: Wanted) -> bool:
        """Whether the index has all messages, and the wanted ones in their order."""
        last = 0
        chunks = sorted(self._summary.chunk_indexes, key=lambda chunk: chunk.chunk_start_offset)
        with self._file.open("rb") as stream:
            for chunk in chunks:
                found: list[tuple[int, int]] = []  # place in the chunk, time
                for number, at in chunk.message_index_offsets.items():
                    channel = _channel(number, self._summary.channels, self._summary.schemas)
                    if channel is None:  # the summary repeats no channels, so what is wanted is not known yet
                        return False
                    if wanted(channel):
                        found += [(place, time) for time, place in _message_index(stream, at)]
                times = [last, *(time for _, time in sorted(found))]
                if not chunk.message_index_offsets or any(before > after for before, after in pairwise(times)):
                    return False
                last = times[-1]
        return bool(chunks)

    def _found(self, wanted: Wanted, place: int | None = None) -> Iterator[tuple[int, RawMessage]]:
        """The wanted messages in the order of the file, each with its place. place: only what is there."""
        channels, schemas = dict(self._summary.channels), dict(self._summary.schemas)
        unknown = 0
        for at, record in self._at(place) if place is not None else self._records(self._passed_over(wanted)):
            if isinstance(record, Schema):
                schemas[record.id] = record
            elif isinstance(record, ChannelRecord):
                channels[record.id] = record
            elif isinstance(record, Message):
                channel = _channel(record.channel_id, channels, schemas)
                if channel is None:
                    unknown += 1
                elif wanted(channel):
                    yield at, RawMessage(channel, record.log_time, record.data)
        # Those of one place may be described at another.
        self._summary.channels.update(channels)
        self._summary.schemas.update(schemas)
        if unknown:
            self._lose(f"{self._file.name}: {unknown} messages of channels whose description is lost")

    def _passed_over(self, wanted: Wanted) -> set[int]:
        """The chunks that the index tells to have no wanted message."""
        channels, schemas = self._summary.channels, self._summary.schemas
        unwanted = {
            number for number in channels if (found := _channel(number, channels, schemas)) and not wanted(found)
        }
        chunks = self._summary.chunk_indexes
        return {
            chunk.chunk_start_offset
            for chunk in chunks
            if chunk.message_index_offsets and unwanted.issuperset(chunk.message_index_offsets)
        }

    def _at(self, place: int) -> Iterator[_Placed]:
        """The records at a place that were read before."""
        with self._file.open("rb") as stream:
            stream.seek(place)
            head = stream.read(_HEAD.size)
            opcode, length = _HEAD.unpack(head)
            data = stream.read(length)
        # Of a chunk that was cut, the whole records are those that were read before.
        return ((place, record) for record in (_begun(data) if opcode == Opcode.CHUNK else _parsed(head + data)))

    def _records(self, passed_over: set[int]) -> Iterator[_Placed]:
        with self._file.open("rb") as stream:
            yield from self._records_of(stream, passed_over)

    def _records_of(self, stream: BinaryIO, passed_over: set[int]) -> Iterator[_Placed]:
        file = self._file
        size = file.stat().st_size
        chunks = sorted(index.chunk_start_offset for index in self._summary.chunk_indexes)
        at = _MAGIC_BYTES
        while at + _HEAD.size <= size:
            stream.seek(at)
            opcode, length = _HEAD.unpack(stream.read(_HEAD.size))
            end = at + _HEAD.size + length
            if opcode in (Opcode.DATA_END, Opcode.FOOTER):
                return
            if end > size or (opcode not in _KNOWN and opcode not in _OWN):
                resumes_at = _next(chunks, at)
                self._lose(f"{file.name}: bytes {at} to {resumes_at or size}: no whole record")
                if not resumes_at:
                    if opcode == Opcode.CHUNK:
                        yield from ((at, record) for record in _begun(stream.read()))
                    return
                at = resumes_at
                continue
            if opcode == Opcode.CHUNK and at not in passed_over:
                try:
                    records = breakup_chunk(Chunk.read(ReadDataStream(stream)), validate_crc=True)
                except Exception as error:  # of the decompressor, of the checksum, or of what the bytes are taken for
                    self._lose(f"{file.name}: bytes {at} to {end}: the chunk cannot be read: {error}")
                else:
                    yield from ((at, record) for record in records)
            elif opcode in _WANTED:
                try:
                    records = list(_parsed(_HEAD.pack(opcode, length) + stream.read(length)))
                except Exception as error:  # as above
                    self._lose(f"{file.name}: bytes {at} to {end}: the record cannot be read: {error}")
                else:
                    yield from ((at, record) for record in records)
            at = end
        # A whole file has a record DataEnd: what was to come behind a whole record is lost too.
        self._lose(
            f"{file.name}: bytes {at} to {size}: no whole record" if at < size else f"{file.name} ends without its end"
        )


def _channel(number: int, channels: dict[int, ChannelRecord], schemas: dict[int, Schema]) -> Channel | None:
    """None where its description is lost. A channel may have no schema at all."""
    record = channels.get(number)
    if record is None:
        return None
    if record.schema_id == 0:
        return Channel(record.topic, "", record.message_encoding)
    schema = schemas.get(record.schema_id)
    if schema is None:
        return None
    definition = schema.data if record.message_encoding == "protobuf" else b""
    return Channel(record.topic, kind_of(schema.name), record.message_encoding, definition)


def _message_index(stream: BinaryIO, at: int) -> list[tuple[int, int]]:
    """Return when the messages of a channel in a chunk were received, and where they are. Empty where damaged."""
    stream.seek(at)
    if stream.read(_HEAD.size)[:1] != bytes([Opcode.MESSAGE_INDEX]):
        return []
    try:
        return MessageIndex.read(ReadDataStream(stream)).records
    except Exception:  # whatever the bytes there are taken for; the messages themselves are read all the same
        return []


def _times(places: Sequence[tuple[int, int, int]]) -> Iterator[tuple[int, int]]:
    return pairwise(place[0] for place in places)


def _summary(stream: BinaryIO) -> Summary:
    """Read the summary at the file's end; empty where that is lost."""
    try:
        return SeekingReader(stream).get_summary() or Summary()
    except Exception:  # whatever the bytes there are taken for
        return Summary()


def _next(chunks: Sequence[int], at: int) -> int:
    """Where the first chunk behind `at` begins; 0 where nobody knows."""
    place = bisect_right(chunks, at)
    return chunks[place] if place < len(chunks) else 0


def _begun(data: bytes) -> Iterator[McapRecord]:
    """The whole records of a chunk that was cut."""
    try:
        yield from _parsed(_decompressed(Chunk.read(ReadDataStream(BytesIO(data)))))
    except Exception:  # as above; that something is lost is told already
        return


def _parsed(data: bytes) -> Iterator[McapRecord]:
    """The messages and what describes them, up to the first record that is not whole."""
    at = 0
    while at + _HEAD.size <= len(data):
        opcode, length = _HEAD.unpack_from(data, at)
        end = at + _HEAD.size + length
        if end > len(data):
            return
        if opcode in _WANTED:
            yield next(StreamReader(BytesIO(data[at:end]), skip_magic=True).records)
        at = end


def _decompressed(chunk: Chunk) -> bytes:
    """As far as its bytes go."""
    if chunk.compression == "zstd":
        return zstandard.ZstdDecompressor().decompressobj().decompress(chunk.data)
    if chunk.compression == "lz4":
        from lz4.frame import LZ4FrameDecompressor

        return LZ4FrameDecompressor().decompress(chunk.data)
    return chunk.data
