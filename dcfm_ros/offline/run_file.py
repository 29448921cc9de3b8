"""`run.json`: what a run was made of, so that another can go on with it or be told from it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dcfm_ros.files import files_under, write_whole
from dcfm_ros.recordings.recording import RecordingError

NAME = "run.json"
_ENDS_BYTES = 1 << 20


def begin(folder: Path, made_of: Mapping[str, Any], resume: bool) -> None:
    """Note what the run in `folder` is made of; JSON values by name.

    Raises RecordingError when a run is there and is not resumed, or is one of something else.
    """
    path = folder / NAME
    made_of = json.loads(json.dumps(made_of))
    if path.exists():
        if not resume:
            raise RecordingError(f"{folder} has a run already; expected --resume, or another --output")
        before = _read(path)
        for name in made_of:
            if before.get(name) != made_of[name]:
                raise RecordingError(
                    f"the run in {folder} has {name} {before.get(name)!r}; expected the same to go on with it, not "
                    f"{made_of[name]!r}"
                )
    elif resume:
        raise RecordingError(f"{folder} has no {NAME}; expected a run to go on with")
    folder.mkdir(parents=True, exist_ok=True)
    write_whole(path, json.dumps({"made_of": made_of}, indent=2) + "\n")


def finish(folder: Path, result: Mapping[str, Any]) -> None:
    """Add what came of it."""
    path = folder / NAME
    write_whole(path, json.dumps({"made_of": _read(path), "result": dict(result)}, indent=2) + "\n")


def fingerprint(path: Path) -> str:
    """Return a recording's fingerprint, 64 hex digits, of its files' sizes and their first and last megabyte.

    Not of all its bytes: to read a long bag twice would take as long as a good part of the run.
    """
    total = hashlib.sha256()
    for file in files_under(path):
        size = file.stat().st_size
        total.update(size.to_bytes(8, "little"))
        with file.open("rb") as content:
            total.update(content.read(_ENDS_BYTES))
            content.seek(max(0, size - _ENDS_BYTES))
            total.update(content.read())
    return total.hexdigest()


def _read(path: Path) -> dict[str, Any]:
    try:
        return json.loads(path.read_text())["made_of"]
    except (ValueError, KeyError, TypeError) as error:
        raise RecordingError(f"{path} is not what a run leaves: {error!r}") from error
