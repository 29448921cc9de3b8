"""`dcfm doctor`: whether the node would start here, with what, and what to do where it would not."""

from __future__ import annotations

import json
import platform
import shutil
import sys
import textwrap
from collections.abc import Iterator
from itertools import groupby

import click

from dcfm_ros import __version__
from dcfm_ros.cli.sizes import SizeType
from dcfm_ros.doctor.examine import Examination, Wanted, examine
from dcfm_ros.doctor.line import Level, Line

_MARKS: dict[Level, tuple[str, str]] = {
    "ok": ("ok", "green"),
    "note": ("--", "cyan"),
    "warning": ("!!", "yellow"),
    "error": ("XX", "red"),
}
_NAME_WIDTH = 15
_WIDTHS = (60, 120)


@click.command()
@click.option("--weights", default="", help="Weights file or exported folder. Default: the weights that ship.")
@click.option("--backend", default="auto", show_default=True, help="The backend that the node would be started with.")
@click.option("--device", default="auto", show_default=True, help="Device: auto, cpu, cuda, cuda:N or gpu (Intel's).")
@click.option("--precision", default="auto", show_default=True, help="Precision: auto, fp32, fp16, bf16 or int8.")
@click.option(
    "--num-threads",
    "threads",
    default=0,
    type=click.IntRange(0, 1024),
    help="CPU threads; 0: the backend's own choice.",
)
@click.option(
    "--camera",
    type=SizeType(),
    default="720x1280",
    show_default=True,
    help="Size of the camera's images, whose room in shared memory is checked.",
)
@click.option("--json", "as_json", is_flag=True, help="Print everything that was found, for a bug report.")
def command(
    weights: str, backend: str, device: str, precision: str, threads: int, camera: tuple[int, int], as_json: bool
) -> None:
    """Say whether the segmentation node would start on this machine, and with what.

    Every line that is not well says what to do. Exit code 1 where the node would not start. Nothing is changed, and
    nothing is sent anywhere.
    """
    found = examine(Wanted(weights, backend, device, precision, threads, camera))
    if as_json:
        click.echo(json.dumps(found.document(), indent=2))
    else:
        for text in _screen(found):
            click.echo(text)
    sys.exit(0 if found.starts else 1)


def _screen(found: Examination) -> Iterator[str]:
    width = min(max(shutil.get_terminal_size().columns, _WIDTHS[0]), _WIDTHS[1])
    yield f"dcfm_ros {__version__}, Python {platform.python_version()}, {platform.platform()}"
    for section, lines in groupby(found.lines, key=lambda line: line.section):
        yield click.style(section, bold=True)
        for line in lines:
            yield _shown(line, width)
    errors, warnings = (sum(line.level == level for line in found.lines) for level in ("error", "warning"))
    if found.starts:
        yield "The node would start." + (f" {warnings} of these lines (!!) can be better." if warnings else "")
    else:
        yield f"The node would not start: {errors} of these lines (XX) say why, and what to do."


def _shown(line: Line, width: int) -> str:
    """Mark, name and sentence, wrapped under each other, and below them what to do."""
    mark, color = _MARKS[line.level]
    indent = " " * (_NAME_WIDTH + 5)
    told = textwrap.fill(line.told, width, initial_indent=indent, subsequent_indent=indent)[len(indent) :]
    shown = f"  {click.style(mark, fg=color)} {line.name:<{_NAME_WIDTH}}{told}"
    if line.remedy:
        wrapper = textwrap.TextWrapper(width, break_long_words=False, break_on_hyphens=False)  # names stay whole
        wrapper.initial_indent, wrapper.subsequent_indent = f"{indent}-> ", f"{indent}   "
        shown += f"\n{wrapper.fill(line.remedy)}"
    return shown
