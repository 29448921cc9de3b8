"""An MCAP file (https://mcap.dev/spec) without its end, or with damage in the middle.

Records are read one after the other, as from a stream; the index is only used to go on behind damage.
"""

from __future__ import annotations

import struct
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

import zstandard
from mcap.data_stream import ReadDataStream
from mcap.opcode import Opcode
from mcap.reader import SeekingReader
from mcap.records import Channel, Chunk, McapRecord, Message, Schema
from mcap.stream_reader import StreamReader, breakup_chunk
from mcap.summary import Summary
from rosbags.typesys.msg import normalize_msgtype

from dcfm_ros.recordings.salvage.raw import Lose, RawMessage

_MAGIC_BYTES = 8
_HEAD = struct.Struct("<BQ")  # opcode, length
_KNOWN = range(Opcode.HEADER, Opcode.DATA_END + 1)
_WANTED = (Opcode.SCHEMA, Opcode.CHANNEL, Opcode.MESSAGE)
_OWN = range(0x80, 0x100)  # records that others may define


def mcap_messages(file: Path, lose: Lose) -> Iterator[RawMessage]:
    """Every message of a channel that is described. A chunk whose checksum is wrong is left out."""
    with file.open("rb") as stream:
        summary = _summary(stream)
        channels, schemas = dict(summary.channels), dict(summary.schemas)
        unknown = 0
        for record in _records(stream, file, summary, lose):
            if isinstance(record, Schema):
                schemas[record.id] = record
            elif isinstance(record, Channel):
                channels[record.id] = record
            elif isinstance(record, Message):
                channel = channels.get(record.channel_id)
                schema = schemas.get(channel.schema_id) if channel else None
                if channel is None or schema is None:
                    unknown += 1
                    continue
                yield _raw(record, channel, schema)
        if unknown:
            lose(f"{file.name}: {unknown} messages of channels whose description is lost")


def _raw(message: Message, channel: Channel, schema: Schema) -> RawMessage:
    """The message, its type named as in ROS 2."""
    is_ros = channel.message_encoding in ("cdr", "ros1")
    kind = str(normalize_msgtype(schema.name)) if is_ros else schema.name
    return RawMessage(channel.topic, kind, message.log_time, message.data, channel.message_encoding, schema.data)


def _summary(stream: BinaryIO) -> Summary:
    """What the file's end says of it; empty where that is lost."""
    try:
        return SeekingReader(stream).get_summary() or Summary()
    except Exception:  # whatever the bytes there are taken for
        return Summary()


def _records(stream: BinaryIO, file: Path, summary: Summary, lose: Lose) -> Iterator[McapRecord]:
    size = file.stat().st_size
    chunks = sorted(index.chunk_start_offset for index in summary.chunk_indexes)
    at = _MAGIC_BYTES
    while at + _HEAD.size <= size:
        stream.seek(at)
        opcode, length = _HEAD.unpack(stream.read(_HEAD.size))
        end = at + _HEAD.size + length
        if opcode in (Opcode.DATA_END, Opcode.FOOTER):
            return
        if end > size or (opcode not in _KNOWN and opcode not in _OWN):
            goes_on_at = _next(chunks, at)
            lose(f"{file.name}: bytes {at} to {goes_on_at or size}: no whole record")
            if not goes_on_at:
                if opcode == Opcode.CHUNK:
                    yield from _begun(stream.read())
                return
            at = goes_on_at
            continue
        if opcode == Opcode.CHUNK:
            try:
                yield from breakup_chunk(Chunk.read(ReadDataStream(stream)), validate_crc=True)
            except Exception as error:  # of the decompressor, of the checksum, or of what the bytes are taken for
                lose(f"{file.name}: bytes {at} to {end}: the chunk cannot be read: {error}")
        elif opcode in _WANTED:
            try:
                yield from _parsed(_HEAD.pack(opcode, length) + stream.read(length))
            except Exception as error:  # as above
                lose(f"{file.name}: bytes {at} to {end}: the record cannot be read: {error}")
        at = end
    lose(f"{file.name}: bytes {at} to {size}: no whole record" if at < size else f"{file.name} ends without its end")


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
