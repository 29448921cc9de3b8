"""The table of parameters as text: `python -m dcfm_ros.node.parameter_docs` writes what the checkout has of it anew.

That is config/segmentation.yaml, and the table in docs/interface.md.
"""

from __future__ import annotations

import html
import json
import textwrap
from pathlib import Path

from dcfm_ros.node.parameter_table import PARAMETERS, Parameter

_TABLE = "| parameter | default | what |\n|---|---|---|\n"


def shipped_file() -> str:
    """A YAML file for `--params-file` that holds every parameter with its default, and says what it is."""
    lines = [
        "# Every parameter of the node with its default. Those marked (*) may change while it runs; those marked (+)",
        "# each of several cameras may have for itself, as front.output_size.",
        "/**:",
        "  ros__parameters:",
    ]
    for parameter in PARAMETERS:
        lines += textwrap.wrap(_described(parameter), 110, initial_indent="    # ", subsequent_indent="    # ")
        lines.append(f"    {parameter.name}: {json.dumps(parameter.default)}")
    return "\n".join(lines) + "\n"


def table() -> str:
    """A Markdown table with a row for each parameter."""
    return _TABLE + "".join(map(_row, PARAMETERS))


def with_table(document: str) -> str:
    """A Markdown document whose table of parameters is exchanged for today's. Raises ValueError if it has none."""
    before, found, rest = document.partition(_TABLE)
    if not found:
        raise ValueError(f"the document has no table of parameters; expected one that begins with {_TABLE!r}")
    _, _, after = rest.partition("\n\n")
    return f"{before}{table()}\n{after}"


def _row(parameter: Parameter) -> str:
    what = html.escape(_described(parameter), quote=False)
    return f"| `{parameter.name}` | `{json.dumps(parameter.default)}` | {what} |\n"


def _described(parameter: Parameter) -> str:
    allowed = ""
    if parameter.choices:
        allowed = f" One of {', '.join(parameter.choices)}."
    elif parameter.minimum is not None:
        allowed = f" {parameter.minimum} to {parameter.maximum}{parameter.unit and ' '}{parameter.unit}."
    marks = "*" * parameter.changeable + "+" * parameter.per_camera
    return parameter.description + allowed + (f" ({marks})" if marks else "")


if __name__ == "__main__":
    root = Path(__file__).parents[2]
    (root / "config" / "segmentation.yaml").write_text(shipped_file())
    interface = root / "docs" / "interface.md"
    interface.write_text(with_table(interface.read_text()))
