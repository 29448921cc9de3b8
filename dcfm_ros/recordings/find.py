"""All recordings below a folder, as fleets leave them: by robot, by day, or all in one."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Collection, Iterator
from os.path import realpath
from pathlib import Path

from dcfm_ros.imaging.files import images_in
from dcfm_ros.recordings.open import VIDEO_SUFFIXES
from dcfm_ros.recordings.recording import RecordingError
from dcfm_ros.recordings.storage.kinds import bag_files_in, is_bag_file


def find_recordings(folder: Path, leave_out: Collection[Path] = ()) -> list[Path]:
    """List what `open_recording` takes, wherever it lies below, in the order of the paths.

    leave_out: folders that are not looked into. What has a hidden name is not either. What links lead to is listed
    once, by its own path where that is found as well; a part of a recording that is listed is not.
    Raises RecordingError when there is none.
    """
    seen = {realpath(path) for path in (folder, *leave_out)}
    found = {Path(realpath(path)): path for path in _below(folder, seen)}
    if not found:
        raise RecordingError(f"{folder} holds no recordings; expected bags, videos or folders of images in it")
    return sorted(path for real, path in found.items() if real.parent not in found or not _holds(real.parent, real))


def _below(folder: Path, seen: set[str]) -> Iterator[Path]:
    """seen: real paths that are passed over; each that is looked at is added, so that a loop of links ends."""
    entries, links = deque[Path](), deque[Path]()  # links come last, so that a recording has its own path

    def look_into(folder: Path) -> None:
        for entry in sorted(folder.iterdir()):
            if not entry.name.startswith("."):
                (links if entry.is_symlink() else entries).append(entry)

    look_into(folder)
    while entries or links:
        entry = (entries or links).popleft()
        real = realpath(entry)
        if real in seen:
            continue
        seen.add(real)
        if not entry.is_dir():
            if is_bag_file(entry) or entry.suffix.lower() in VIDEO_SUFFIXES:
                yield entry
        elif _is_bag(entry) or images_in(entry) or images_in(entry / "images"):
            yield entry
        else:
            look_into(entry)


def _holds(recording: Path, entry: Path) -> bool:
    """Whether what lies in a recording's folder is read with it, as far as a link may lead there."""
    return is_bag_file(entry) if _is_bag(recording) else entry.name == "images"


def _is_bag(folder: Path) -> bool:
    """Whether it is one recording, and not a folder of several.

    Without metadata the files tell, as ROS 1 splits them and as a robot that lost power leaves them: called after the
    folder, numbered.
    """
    if (folder / "metadata.yaml").exists():
        return True
    name = re.escape(folder.name)
    return any(re.fullmatch(rf"{name}_\d+\..+", file.name) for file in bag_files_in(folder))
