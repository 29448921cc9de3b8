"""All recordings below a folder, as fleets leave them: by robot, by day, or all in one."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from pathlib import Path

from dcfm_ros.imaging.files import images_in
from dcfm_ros.recordings.open import VIDEO_SUFFIXES, is_bag
from dcfm_ros.recordings.recording import RecordingError


def find_recordings(folder: Path, leave_out: Collection[Path] = ()) -> list[Path]:
    """What `open_recording` takes, wherever it lies below, in the order of the paths.

    leave_out: folders that are not looked into. What has a hidden name is not either.
    Raises RecordingError when there is none.
    """
    found = sorted(_below(folder, {path.resolve() for path in leave_out}))
    if not found:
        raise RecordingError(f"{folder} holds no recordings; expected bags, videos or folders of images in it")
    return found


def _below(folder: Path, leave_out: Collection[Path]) -> Iterator[Path]:
    for entry in folder.iterdir():
        if entry.name.startswith(".") or entry.resolve() in leave_out:
            continue
        if not entry.is_dir():
            if entry.suffix.lower() in VIDEO_SUFFIXES or is_bag(entry):
                yield entry
        elif is_bag(entry) or _is_bag_without_metadata(entry) or images_in(entry) or images_in(entry / "images"):
            yield entry
        else:
            yield from _below(entry, leave_out)


def _is_bag_without_metadata(folder: Path) -> bool:
    """Whether a bag's files lie in it, as a robot that lost power leaves them: called after the folder, numbered."""
    name = re.escape(folder.name)
    return any(re.fullmatch(rf"{name}_\d+\.(db3|mcap)(\.zstd)?", entry.name) for entry in folder.iterdir())
