"""The table of parameters, and what must agree with it."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import yaml

from dcfm_ros.node.parameters import PARAMETERS, Parameter, Settings

ROOT = Path(__file__).parents[2]


def test_the_shipped_file_holds_every_parameter_with_its_default() -> None:
    document = yaml.safe_load((ROOT / "config" / "segmentation.yaml").read_text())
    assert document["/**"]["ros__parameters"] == {p.name: p.default for p in PARAMETERS}


def test_the_documentation_names_every_parameter_with_its_default() -> None:
    text = (ROOT / "docs" / "interface.md").read_text()
    for parameter in PARAMETERS:
        default = str(parameter.default).lower() if isinstance(parameter.default, bool) else parameter.default
        shown = '""' if default == "" else default
        assert f"| `{parameter.name}` | `{shown}` |" in text


def test_settings_are_the_parameters() -> None:
    assert {field.name for field in dataclasses.fields(Settings)} == {p.name for p in PARAMETERS}


@pytest.mark.parametrize("parameter", PARAMETERS, ids=lambda p: p.name)
def test_every_default_is_allowed_and_described(parameter: Parameter) -> None:
    assert parameter.problem_with(parameter.default) == ""
    assert parameter.description.endswith(".")
