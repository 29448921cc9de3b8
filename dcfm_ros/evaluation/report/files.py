"""Files of a report: each whole or absent, and what tells inputs and weights apart."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

_CHUNK = 1 << 20


def write_whole(path: Path, text: str) -> None:
    """All of the file or none: who waits for it never reads half of it."""
    partial = path.with_name(f"{path.name}.partial")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)


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
