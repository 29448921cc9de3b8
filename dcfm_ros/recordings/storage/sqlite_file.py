"""A .db3 file of rosbag2, sound, cut, or with broken pages."""

from __future__ import annotations

import shutil
import sqlite3
import threading
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import quote

from dcfm_ros.recordings.storage.raw import Channel, Lose, RawMessage, Wanted, kind_of

_MOST_MESSAGES = 1 << 40
_BESIDE = ("-wal", "-journal")
"""Files that SQLite leaves beside a database that was not closed: the first holds messages that the database lacks."""


class SqliteFile:
    """scratch: a folder for a copy, which is read where a file of `_BESIDE` is there: it is left as it is."""

    def __init__(self, file: Path, lose: Lose, scratch: Path) -> None:
        self._file = file
        self._lose = lose
        beside = [other for end in _BESIDE if _is_filled(other := file.with_name(f"{file.name}{end}"))]
        try:
            if not beside:
                self._database = _Database(f"file:{quote(str(file.absolute()))}?immutable=1", uri=True)
            else:
                for one in (file, *beside):
                    shutil.copyfile(one, scratch / one.name)
                self._database = _Database(str(scratch / file.name), uri=False)
        except (sqlite3.Error, OSError) as error:
            raise ValueError(f"it cannot be opened{' with ' + beside[0].name if beside else ''}: {error}") from error
        try:
            self._database.rows("PRAGMA writable_schema=ON")  # else a file that is shorter than it says is refused
            self._channels = self._read_channels()
        except sqlite3.Error as error:
            self._database.close()
            raise ValueError(str(error)) from error

    def close(self) -> None:
        self._database.close()

    def counts(self) -> Counter[Channel]:
        try:
            found = self._database.rows("SELECT topic_id, count(*) FROM messages GROUP BY topic_id")
        except sqlite3.DatabaseError:  # what is broken is told below
            return Counter(message.channel for message in self._salvaged(lambda channel: True))
        counts = Counter(dict.fromkeys(self._channels.values(), 0))
        for topic_id, count in found:
            if topic_id in self._channels:
                counts[self._channels[topic_id]] += count
        return counts

    def messages(self, wanted: Wanted) -> Iterator[RawMessage]:
        topics = {topic_id: channel for topic_id, channel in self._channels.items() if wanted(channel)}
        try:
            places = self._database.rows(
                f"SELECT timestamp, id, topic_id FROM messages WHERE topic_id IN ({','.join('?' * len(topics))})",
                *topics,
            )
        except sqlite3.DatabaseError:
            places = None
        if places is None or self._cut_bytes():
            yield from self._salvaged(wanted)
            return
        if any(before > after for before, after in pairwise(places)):
            places.sort()
        for received_ns, row, topic_id in places:
            try:
                [(data,)] = self._database.rows("SELECT data FROM messages WHERE id = ?", row)
            except sqlite3.DatabaseError as error:
                self._lose(f"{self._file.name}: messages with ids from {row} to {row}: {error}")
                continue
            yield RawMessage(topics[topic_id], received_ns, _bytes(data))

    def _read_channels(self) -> dict[int, Channel]:
        columns = "id, name, type, serialization_format"
        rows = self._database.rows(f"SELECT {columns} FROM topics")
        return {key: Channel(str(name), kind_of(str(kind)), str(encoding)) for key, name, kind, encoding in rows}

    def _salvaged(self, wanted: Wanted) -> Iterator[RawMessage]:
        """Row by row, in the order in which they were written."""
        for topic_id, received_ns, data in self._rows():
            channel = self._channels.get(topic_id)
            if channel is not None and wanted(channel):
                yield RawMessage(channel, received_ns, _bytes(data))

    def _cut_bytes(self) -> int:
        return self._file.stat().st_size % self._database.rows("PRAGMA page_size")[0][0]

    def _rows(self) -> Iterator[tuple[int, int, bytes]]:
        """Topic, time of receipt and data."""
        rows = self._readable_rows()
        if not (cut := self._cut_bytes()):
            yield from rows
            return
        size = self._file.stat().st_size
        # What lies on that page reads as zeros, and it would be the last row's: rows are added, never changed.
        self._lose(f"{self._file.name}: bytes {size - cut} to {size}: the page is cut, and the message there is lost")
        before = next(rows, None)
        for row in rows:
            assert before is not None
            yield before
            before = row

    def _readable_rows(self) -> Iterator[tuple[int, int, bytes]]:
        last = 0
        while True:
            try:
                row = _first(self._database, last + 1)
                if row is None:
                    return
                last, *message = row
                yield tuple(message)
            except sqlite3.DatabaseError as error:
                goes_on_at = _first_readable(self._database, last + 2)
                upto = f"to {goes_on_at - 1}" if goes_on_at else "on"
                self._lose(f"{self._file.name}: messages with ids from {last + 1} {upto}: {error}")
                if not goes_on_at:
                    return
                last = goes_on_at - 1


class _Database:
    """A connection that one thread may close while another reads, which SQLite's own would crash the process for."""

    def __init__(self, name: str, uri: bool) -> None:
        self._connection = sqlite3.connect(name, uri=uri, check_same_thread=False)
        self._connection.text_factory = lambda text: text.decode(errors="replace")
        self._lock = threading.Lock()
        self._is_closed = False

    def rows(self, query: str, *values: Any) -> list[Any]:
        """All rows of a query. Raises sqlite3.Error, and ValueError when it was closed."""
        with self._lock:
            if self._is_closed:
                raise ValueError("the database was closed; expected it to be read before that")
            return self._connection.execute(query, values).fetchall()

    def close(self) -> None:
        """Waits for a query on the way; may be called twice."""
        with self._lock:
            self._is_closed = True
            self._connection.close()


def _is_filled(file: Path) -> bool:
    return file.is_file() and file.stat().st_size > 0


def _bytes(data: Any) -> bytes:
    return data if isinstance(data, bytes) else str(data).encode()


def _first_readable(database: _Database, lowest: int) -> int:
    """The first id from `lowest` on where reading can go on; 0 where there is none.

    What is broken is one message or all that a page leads to, ids that follow each other: the end is looked for in
    steps that grow, and then between the last two.
    """
    step = 1
    while not _is_readable(database, lowest + step - 1):
        step *= 2
        if step > _MOST_MESSAGES:
            return 0
    low, high = lowest + step // 2 - 1, lowest + step - 1  # the first is broken, or below the lowest
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if _is_readable(database, middle) else (middle, high)
    return high


def _is_readable(database: _Database, first: int) -> bool:
    """Whether the first message with this id or a higher one can be read, or there is none."""
    try:
        _first(database, first)
    except sqlite3.DatabaseError:
        return False
    return True


def _first(database: _Database, lowest: int) -> Any:
    """The row of the first message with this id or a higher one; None where there is none.

    One row for each query: Python's cursor reads one row ahead, and where that is broken it gives neither.
    """
    query = "SELECT id, topic_id, timestamp, data FROM messages WHERE id >= ? ORDER BY id LIMIT 1"
    row = next(iter(database.rows(query, lowest)), None)
    if row is not None and row[0] < lowest:
        raise sqlite3.DatabaseError(f"id {row[0]} comes where {lowest} or more should")
    return row
