"""Files that are whole or absent, and hashes of files."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_CHUNK = 1 << 20


@contextmanager
def whole_file(path: Path, durable: bool = False) -> Iterator[Path]:
    """Yield a path beside `path` to write to, which takes its place at the end: who reads it never sees half of it.

    durable: also when the machine loses power; it costs the wait for the disk. Whatever the body raises leaves `path`
    as it was, and nothing beside it.
    """
    partial = path.with_name(f"{path.name}.partial")
    try:
        try:
            yield partial
        except OSError as error:
            if error.errno is not None and error.filename is None:  # a full disk's error names no file of itself
                error.filename = str(path)
            raise
        if durable:
            with partial.open("rb") as file:
                os.fsync(file.fileno())  # else the new name may be on the disk before what it names is
        partial.replace(path)
    finally:
        with suppress(OSError):  # it is in its place, or something else is in the way, which has been told
            partial.unlink()


def write_whole(path: Path, text: str) -> None:
    """Write a text file, UTF-8, as `whole_file` does."""
    with whole_file(path) as partial:
        partial.write_text(text, encoding="utf-8")


def files_under(path: Path) -> list[Path]:
    """The file itself, or every file in a folder and its folders, in the order of their names."""
    return sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path]


def sha256_of(files: Iterable[Path]) -> str:
    """Hash the files' bytes in this order, to 64 hex digits; where they lie and what they are called does not count."""
    total = hashlib.sha256()
    for path in files:
        one = hashlib.sha256()
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK):
                one.update(chunk)
        total.update(one.digest())
    return total.hexdigest()
