"""The table of parameters, and what must agree with it."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import yaml

from dcfm_ros.node.parameter_docs import shipped_file, with_table
from dcfm_ros.node.parameter_table import PARAMETERS, Parameter
from dcfm_ros.node.settings import CameraSettings, Settings

ROOT = Path(__file__).parents[2]


def test_the_shipped_file_is_what_the_table_makes() -> None:
    text = (ROOT / "config" / "segmentation.yaml").read_text()
    assert text == shipped_file()
    assert yaml.safe_load(text)["/**"]["ros__parameters"] == {p.name: p.default for p in PARAMETERS}


def test_the_documentation_holds_the_table() -> None:
    text = (ROOT / "docs" / "interface.md").read_text()
    assert with_table(text) == text
    assert all(f"| `{parameter.name}` |" in text for parameter in PARAMETERS)
    with pytest.raises(ValueError, match="no table of parameters"):
        with_table("# Another document")


def test_settings_are_the_parameters() -> None:
    fields = {field.name for kind in (Settings, CameraSettings) for field in dataclasses.fields(kind)}
    assert fields == {p.name for p in PARAMETERS}


@pytest.mark.parametrize("parameter", PARAMETERS, ids=lambda p: p.name)
def test_every_default_is_allowed_and_described(parameter: Parameter) -> None:
    assert parameter.problem_with(parameter.default) == ""
    assert parameter.description.endswith(".")
