"""Files in a folder."""

from __future__ import annotations

import re
from collections.abc import Collection
from pathlib import Path

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp")


def images_in(folder: Path) -> list[Path]:
    """Image files, as `files_in` gives them."""
    return files_in(folder, IMAGE_SUFFIXES)


def files_in(folder: Path, suffixes: Collection[str] | None = None) -> list[Path]:
    """List files with one of these suffixes, or all, in the natural order of their stems (frame2 before frame10).

    Empty when there is no such folder. Hidden files are left out: macOS leaves one beside each image.
    """
    if not folder.is_dir():
        return []
    entries = (entry for entry in folder.iterdir() if suffixes is None or entry.suffix.lower() in suffixes)
    files = (entry for entry in entries if entry.is_file())
    return sorted((entry for entry in files if not entry.name.startswith(".")), key=_natural)


def _natural(path: Path) -> tuple[list[str | int], str]:
    # Splitting at a group gives text, number, text, ...: like is always compared with like.
    parts = re.split(r"([0-9]+)", path.stem.casefold())
    return [int(part) if position % 2 else part for position, part in enumerate(parts)], path.name
