"""A .db3 file of rosbag2 that was cut, or has broken pages."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from dcfm_ros.recordings.salvage.raw import Lose, RawMessage
from dcfm_ros.recordings.storage import sqlite_uri

_MOST_MESSAGES = 1 << 40


def sqlite_messages(file: Path, lose: Lose) -> Iterator[RawMessage]:
    """Every message whose row can be read, in the order in which they were written."""
    database = sqlite3.connect(sqlite_uri(file), uri=True)
    try:
        database.execute("PRAGMA writable_schema=ON")  # else a file that is shorter than it says is refused
        topics = {key: (name, kind) for key, name, kind in database.execute("SELECT id, name, type FROM topics")}
        for topic_id, received_ns, data in _rows(database, file, lose):
            if topic_id in topics:
                yield RawMessage(*topics[topic_id], received_ns, data)
    except sqlite3.Error as error:
        lose(f"{file.name} cannot be read: {error}")
    finally:
        database.close()


def _rows(database: sqlite3.Connection, file: Path, lose: Lose) -> Iterator[tuple[int, int, bytes]]:
    """Topic, time of receipt and data."""
    rows = _readable_rows(database, file, lose)
    size = file.stat().st_size
    cut = size % database.execute("PRAGMA page_size").fetchone()[0]
    if not cut:
        yield from rows
        return
    # What lies on that page reads as zeros, and it would be the last row's: rows are added, never changed.
    lose(f"{file.name}: bytes {size - cut} to {size}: the page is cut, and the message there is lost")
    before = next(rows, None)
    for row in rows:
        assert before is not None
        yield before
        before = row


def _readable_rows(database: sqlite3.Connection, file: Path, lose: Lose) -> Iterator[tuple[int, int, bytes]]:
    last = 0
    while True:
        try:
            row = _first(database, last + 1)
            if row is None:
                return
            last, *message = row
            yield tuple(message)
        except sqlite3.DatabaseError as error:
            goes_on_at = _first_readable(database, last + 2)
            upto = f"to {goes_on_at - 1}" if goes_on_at else "on"
            lose(f"{file.name}: messages with ids from {last + 1} {upto}: {error}")
            if not goes_on_at:
                return
            last = goes_on_at - 1


def _first_readable(database: sqlite3.Connection, lowest: int) -> int:
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


def _is_readable(database: sqlite3.Connection, first: int) -> bool:
    """Whether the first message with this id or a higher one can be read, or there is none."""
    try:
        _first(database, first)
    except sqlite3.DatabaseError:
        return False
    return True


def _first(database: sqlite3.Connection, lowest: int) -> Any:
    """The row of the first message with this id or a higher one; None where there is none.

    One row for each query: Python's cursor reads one row ahead, and where that is broken it gives neither.
    """
    query = "SELECT id, topic_id, timestamp, data FROM messages WHERE id >= ? ORDER BY id LIMIT 1"
    row = database.execute(query, (lowest,)).fetchone()
    if row is not None and row[0] < lowest:
        raise sqlite3.DatabaseError(f"id {row[0]} comes where {lowest} or more should")
    return row
