"""One choice has one name, and the same words, default and range, in the node, on the command line and in Python."""

from __future__ import annotations

from dataclasses import fields
from importlib import import_module

import click
import pytest

from dcfm_ros.cli.main import COMMANDS
from dcfm_ros.node.parameter_table import PARAMETERS
from dcfm_ros.streaming import StreamOptions

ROWS = {row.name: row for row in PARAMETERS}
OF_STREAM = [field.name for field in fields(StreamOptions)]
OF_BACKEND = ["backend", "precision", "device", "num_threads"]
SYNONYMS = {"--threads", "--size", "--interval", "--max-age", "--min-interval", "--threshold", "--stamp-gap"}
"""Other names that such a choice has had, or might get."""


def options_of(command: str) -> dict[str, click.Option]:
    found = import_module(f"dcfm_ros.cli.{command}").command
    return {str(one.name): one for one in found.params if isinstance(one, click.Option)}


@pytest.mark.parametrize("command", ["segment", "evaluate", "report"])
@pytest.mark.parametrize("name", [*OF_STREAM, *OF_BACKEND])
def test_a_choice_of_the_node_is_an_option_of_the_command_line(command: str, name: str) -> None:
    row, option = ROWS[name], options_of(command)[name]
    assert option.opts == [f"--{name.replace('_', '-')}"]
    assert option.help == row.description
    assert option.default == (getattr(StreamOptions(), name) if name in OF_STREAM else row.default)
    if isinstance(option.type, (click.IntRange, click.FloatRange)):
        assert (option.type.min, option.type.max, option.default) == (row.minimum, row.maximum, row.default)
    if isinstance(option.type, click.Choice):
        offline = {"bidirectional"} if name == "mode" else set()
        not_of_reports = {"full"} if (name, command) == ("mode", "report") else set()
        assert {*option.type.choices} - offline == {*row.choices} - not_of_reports


def test_the_node_has_the_defaults_of_the_record() -> None:
    for name in OF_STREAM:
        default = getattr(StreamOptions(), name)
        assert ROWS[name].default == ([0, 0] if default is None else default)


@pytest.mark.parametrize("command", ["segment", "evaluate", "report", "curve", "bench", "export", "demo", "doctor"])
def test_no_command_has_another_name_for_such_a_choice(command: str) -> None:
    assert not SYNONYMS & {name for option in options_of(command).values() for name in option.opts}


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_every_option_is_described_by_a_sentence_that_stands_alone(command: str) -> None:
    for name, option in options_of(command).items():
        described = option.help or ""
        assert described[:1].isupper() and described.endswith("."), f"--{name}: {described!r}"
        assert not described.startswith(("Of ", "What ")), f"--{name}: {described!r}"


def test_every_parameter_is_described_by_a_sentence_that_stands_alone() -> None:
    for row in PARAMETERS:
        assert row.description[:1].isupper() and row.description.endswith("."), row.name
        assert not row.description.startswith(("Of ", "What ")), row.name
