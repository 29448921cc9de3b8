"""All recordings below a folder, as fleets leave them: by robot, by day, or all in one."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from pathlib import Path

from dcfm_ros.imaging.files import images_in
from dcfm_ros.recordings.open import VIDEO_SUFFIXES
from dcfm_ros.recordings.recording import RecordingError
from dcfm_ros.recordings.storage.kinds import bag_files_in, is_bag_file


def find_recordings(folder: Path, leave_out: Collection[Path] = ()) -> list[Path]:
    """List what `open_recording` takes, wherever it lies below, in the order of the paths.

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
            if is_bag_file(entry) or entry.suffix.lower() in VIDEO_SUFFIXES:
                yield entry
        elif _is_bag(entry) or images_in(entry) or images_in(entry / "images"):
            yield entry
        else:
            yield from _below(entry, leave_out)


def _is_bag(folder: Path) -> bool:
    """Whether it is one recording, and not a folder of several.

    Without metadata the files tell, as ROS 1 splits them and as a robot that lost power leaves them: called after the
    folder, numbered.
    """
    if (folder / "metadata.yaml").exists():
        return True
    name = re.escape(folder.name)
    return any(re.fullmatch(rf"{name}_\d+\..+", file.name) for file in bag_files_in(folder))
