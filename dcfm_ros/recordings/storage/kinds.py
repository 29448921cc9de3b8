"""The kind of a bag's file: told by how it begins, and by its name only where that is damaged."""

from __future__ import annotations

import re
from pathlib import Path

from dcfm_ros.imaging.files import files_in

ROS1, SQLITE, MCAP, COMPRESSED = "ROS 1", "SQLite", "MCAP", "zstd"
BAG_SUFFIXES = {".db3": SQLITE, ".mcap": MCAP, ".bag": ROS1, ".active": ROS1, ".zstd": COMPRESSED}
_MAGIC = {b"#ROSBAG V": ROS1, b"SQLite format 3\0": SQLITE, b"\x89MCAP": MCAP, b"\x28\xb5\x2f\xfd": COMPRESSED}


def kind_of_file(file: Path) -> str | None:
    """ROS1, SQLITE, MCAP or COMPRESSED, by its first bytes, else by its name; None where it is no bag's file."""
    return _by_content(file) or BAG_SUFFIXES.get(file.suffix.lower())


def bag_files_in(folder: Path) -> list[Path]:
    """Those that lie in a folder itself, in the natural order of their names; hidden ones are left out."""
    return [file for file in files_in(folder, None) if is_bag_file(file)]


def are_parts(files: list[Path]) -> bool:
    """Whether they are one recording that was split: their names differ in numbers alone."""
    return len({re.sub(r"\d+", "0", file.name.casefold()) for file in files}) == 1


def is_bag_file(file: Path) -> bool:
    """Whether a file that lies somewhere is one of a bag."""
    # A database or an archive may be anybody's; these two are told by their names too.
    return file.suffix.lower() in BAG_SUFFIXES or _by_content(file) in (ROS1, MCAP)


def _by_content(file: Path) -> str | None:
    if not file.is_file():  # to read a pipe would be to wait
        return None
    try:
        with file.open("rb") as stream:
            begin = stream.read(16)
    except OSError:
        return None
    return next((kind for magic, kind in _MAGIC.items() if begin.startswith(magic)), None)
