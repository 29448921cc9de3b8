"""`classes.yaml`: the names and colours of a folder's classes, in the order of their ids.

- {name: road, color: [128, 64, 128]}
- {name: sky, color: [70, 130, 180]}
"""

from __future__ import annotations

from pathlib import Path

import yaml

from dcfm_ros.datasets.pixels import DatasetError
from dcfm_ros.imaging.labels import Color, LabelSet

_EXPECTED = "a list of {name: road, color: [128, 64, 128]}, from id 0 on"


def read_classes(path: Path) -> LabelSet:
    """The label set that a file describes; colours are red, green and blue, 0..255.

    Raises DatasetError, which names the entry and its key, when the file is something else.
    """
    try:
        entries = yaml.safe_load(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise DatasetError(f"{path} cannot be read as YAML; expected {_EXPECTED}: {error}") from error
    if not isinstance(entries, list):
        raise DatasetError(f"{path} holds {_kind(entries)}; expected {_EXPECTED}")
    classes = [_class(entry, f"{path}, class {index}") for index, entry in enumerate(entries)]
    try:
        return LabelSet(tuple(name for name, _ in classes), tuple(color for _, color in classes))
    except ValueError as error:
        raise DatasetError(f"{path}: {error}") from error


def _class(entry: object, here: str) -> tuple[str, Color]:
    if not isinstance(entry, dict):
        raise DatasetError(f"{here} is {_kind(entry)}; expected {{name: road, color: [128, 64, 128]}}")
    for key in ("name", "color"):
        if key not in entry:
            raise DatasetError(f"{here} has no key {key!r}; expected name and color")
    if unknown := [key for key in entry if key not in ("name", "color")]:
        raise DatasetError(f"{here} has the key {unknown[0]!r}; expected name and color alone")
    name, color = entry["name"], entry["color"]
    if not isinstance(name, str):  # YAML takes a bare no or off for a truth value
        raise DatasetError(f"{here}: name is {name!r}, {_kind(name)}; expected text, in quotes if need be")
    # type() and not isinstance(): a truth value is an int.
    if not isinstance(color, list) or len(color) != 3 or any(type(v) is not int or not 0 <= v <= 255 for v in color):
        raise DatasetError(f"{here}: color is {color!r}; expected [red, green, blue], each 0..255")
    return name, (color[0], color[1], color[2])


def _kind(value: object) -> str:
    return "nothing" if value is None else f"a {type(value).__name__}"
