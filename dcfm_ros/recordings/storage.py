"""What kind of bag a file is, told by its first bytes: names change, as in drive.bag.active."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from urllib.parse import quote

from dcfm_ros.imaging.files import files_in

BAG_SUFFIXES = (".db3", ".mcap", ".bag")
COMPRESSED = ".zstd"

_SQLITE = b"SQLite format 3\0"
_FIRST_BYTES = {b"#ROSBAG V": ".bag", b"\x89MCAP0\r\n": ".mcap", b"\x28\xb5\x2f\xfd": COMPRESSED}
_MOST_FIRST_BYTES = 16


def storage_kind(file: Path) -> str:
    """The suffix that a bag's file would have by its content: one of BAG_SUFFIXES, or COMPRESSED; empty for others.

    The name decides where the first bytes say nothing, as they do in a file whose beginning is damaged.
    """
    try:
        with file.open("rb") as content:
            begin = content.read(_MOST_FIRST_BYTES)
    except OSError:
        begin = b""
    for first, kind in _FIRST_BYTES.items():
        if begin.startswith(first) and (kind != COMPRESSED or Path(file.stem).suffix.lower() in BAG_SUFFIXES):
            return kind
    suffix = file.suffix.lower()
    if suffix in BAG_SUFFIXES:
        return ".db3" if begin == _SQLITE else suffix
    return ".db3" if begin == _SQLITE and _has_messages(file) else ""


def bag_files(folder: Path) -> list[Path]:
    """The files of a bag in a folder, in their natural order."""
    return [file for file in files_in(folder) if storage_kind(file)]


def is_of_ros1(folder: Path) -> bool:
    """Whether it holds bags of ROS 1 and of no other kind, which have no metadata.yaml: one drive, split."""
    kinds = {storage_kind(file) for file in bag_files(folder)}
    return kinds == {".bag"}


def beside_sqlite(file: Path) -> list[Path]:
    """What SQLite had not yet written into the file when it was copied or its recorder killed: its -wal or -journal."""
    found = (file.with_name(f"{file.name}{end}") for end in ("-wal", "-journal"))
    return [path for path in found if path.is_file() and path.stat().st_size]


def sqlite_uri(file: Path) -> str:
    """For reading alone, and without looking for what lies beside; any name will do."""
    return f"file:{quote(str(file.absolute()))}?immutable=1"


def _has_messages(file: Path) -> bool:
    """Other programs have SQLite files too."""
    database = sqlite3.connect(sqlite_uri(file), uri=True)
    try:
        tables = {name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    except sqlite3.Error:
        return False
    finally:
        database.close()
    return {"topics", "messages"} <= tables
