"""Options that several commands share: what runs the network, and how a stream is segmented.

They have the names, words, ranges and units of the node's parameters, for both are made from the same records.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import wraps
from typing import Any

import click

from dcfm_ros.cli.sizes import SizeType
from dcfm_ros.node.parameter_table import PARAMETERS, Parameter
from dcfm_ros.streaming import StreamOptions
from dcfm_ros.streaming.options import MODES, Choice, stream_choices

_METAVARS = {"frames": "FRAMES", "s": "SECONDS"}


def backend_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options --backend, --precision, --device and --num-threads."""
    rows = {row.name: row for row in PARAMETERS}
    for name in reversed(("backend", "precision", "device", "num_threads")):
        command = _option(rows[name], rows[name].default, rows[name].choices)(command)
    return command


def stream_options(modes: Collection[str] = MODES) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Give a command an option for each field of `StreamOptions`, and call it with the record as `options`.

    modes: those that the command has.
    """

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(command)
        def with_record(**values: Any) -> Any:
            chosen = {choice.name: values.pop(choice.name) for choice in stream_choices()}
            return command(options=StreamOptions(**chosen), **values)

        decorated: Callable[..., Any] = with_record
        for choice in reversed(list(stream_choices())):
            decorated = _option(choice, choice.default, modes if choice.name == "mode" else choice.choices)(decorated)
        return decorated

    return decorate


def stream_option(name: str, default: Any = None) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Give a command the option for one field of `StreamOptions`; default: another than the field's."""
    choice = next(choice for choice in stream_choices() if choice.name == name)
    return _option(choice, choice.default if default is None else default, choice.choices)


def check_repeatable(options: StreamOptions) -> None:
    """Raise UsageError where masks would depend on how fast a recording's frames happen to come."""
    if not options.is_repeatable:
        raise click.UsageError(
            "--keyframe-mode async needs --swap-after here: a recording is read as fast as it is segmented, and the "
            "masks would depend on the speed of this machine"
        )


def _option(
    of: Choice | Parameter, default: Any, choices: Collection[str]
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    kind: click.ParamType = click.STRING
    if choices:
        kind = click.Choice(list(choices))
    elif isinstance(of.default, int):
        assert of.minimum is not None and of.maximum is not None
        kind = click.IntRange(int(of.minimum), int(of.maximum))
    elif isinstance(of.default, float):
        kind = click.FloatRange(of.minimum, of.maximum)
    elif of.default is None:
        kind = SizeType()
    return click.option(
        f"--{of.name.replace('_', '-')}",
        type=kind,
        default=default,
        show_default=default is not None,
        metavar=_METAVARS.get(of.unit),
        help=of.description,
    )
