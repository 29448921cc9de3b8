"""`run.json`: what a run was made of, so that another can continue it or be told from it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dcfm_ros.files import write_whole
from dcfm_ros.recordings.open import files_of
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
        if different := _differences(_read(path), made_of):
            raise RecordingError(
                f"the run in {folder} cannot be continued: {'; '.join(different)}; expected the same, or another "
                "--output"
            )
    elif resume:
        raise RecordingError(f"{folder} has no {NAME}; expected a run to continue, or no --resume")
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
    for file in files_of(path):
        size = file.stat().st_size
        total.update(size.to_bytes(8, "little"))
        with file.open("rb") as content:
            total.update(content.read(_ENDS_BYTES))
            content.seek(max(0, size - _ENDS_BYTES))
            total.update(content.read())
    return total.hexdigest()


def _differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Say what differs between what two runs are made of, in the user's words; what a run did not note has no value."""
    old, new = _leaves(before), _leaves(now)
    return [_difference(name, old.get(name), value) for name, value in new.items() if old.get(name) != value]


def _leaves(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    leaves: dict[str, Any] = {}
    for name, value in values.items():
        leaves |= _leaves(value, f"{prefix}{name}.") if isinstance(value, dict) else {f"{prefix}{name}": value}
    return leaves


def _difference(name: str, before: Any, now: Any) -> str:
    if name in _OTHER_FILES:
        return f"{_OTHER_FILES[name]} other than in that run"
    section, _, own = name.rpartition(".")
    option = f"--{own.replace('_', '-')}" if section == "options" or name in _OPTIONS else ""
    return f"{option or _NAMES.get(name, own)} was {_in_words(before)} and is {_in_words(now)} now"


_OTHER_FILES = {
    "input.fingerprint": "the files of INPUT are",
    "weights.sha256": "--weights are",
    "decisions": "--decisions are",
}
_OPTIONS = ("input.topic", "input.rate")
_NAMES = {"input.name": "INPUT", "weights.name": "the network"}
"""By the names in `run.json`; versions and the backend are called as they are there."""


def _in_words(value: Any) -> str:
    if value is None:
        return "not given"
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)


def _read(path: Path) -> dict[str, Any]:
    try:
        return json.loads(path.read_text())["made_of"]
    except (ValueError, KeyError, TypeError) as error:
        raise RecordingError(f"{path} is not what a run leaves: {error!r}") from error
