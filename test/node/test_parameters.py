"""The table of parameters, and what must agree with it."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import yaml
from node_in_process import Rig, rig
from node_process import own_domain

from dcfm_ros.node.parameter_docs import shipped_file, with_table
from dcfm_ros.node.parameter_table import PARAMETERS, Parameter
from dcfm_ros.node.segmentation_node import main
from dcfm_ros.node.settings import CameraSettings, Settings
from dcfm_ros.streaming import StreamOptions

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
    kinds = (Settings, CameraSettings, StreamOptions)
    fields = {field.name for kind in kinds for field in dataclasses.fields(kind)}
    assert fields - {"stream"} == {p.name for p in PARAMETERS}


@pytest.mark.parametrize("parameter", PARAMETERS, ids=lambda p: p.name)
def test_every_default_is_allowed_and_described(parameter: Parameter) -> None:
    assert parameter.problem_with(parameter.default) == ""
    assert parameter.description.endswith(".")


NONE = ("[]", "{}", "~", "null", '"~"', "[~]", "[null]")


def written(folder: Path, *lines: str) -> tuple[str, ...]:
    """A parameter file with these lines, as arguments of a node."""
    file = folder / "parameters.yaml"
    file.write_text("/**:\n  ros__parameters:\n" + "".join(f"    {line}\n" for line in lines))
    return "--ros-args", "--params-file", str(file)


def values_of(made: Rig, *names: str) -> list[Any]:
    values = (made.node.get_parameter(name).value for name in names)
    return [value if isinstance(value, (str, bool, int, float)) else list(value) for value in values]


@pytest.mark.parametrize("form", NONE)
def test_every_form_of_none_in_a_file_is_the_default(
    monkeypatch: pytest.MonkeyPatch, ros_environment: dict[str, str], tmp_path: Path, form: str
) -> None:
    arguments = written(tmp_path, *(f"{p.name}: {form}" for p in PARAMETERS if p.name not in ("input_size", "align")))
    with rig(monkeypatch, ros_environment, arguments=arguments) as made:
        told = [p for p in PARAMETERS if p.name not in ("input_size", "align")]
        assert values_of(made, *(p.name for p in told)) == [p.default for p in told]
        assert made.node.start()


def test_a_value_is_taken_in_any_form_that_means_the_same(
    monkeypatch: pytest.MonkeyPatch, ros_environment: dict[str, str], tmp_path: Path
) -> None:
    wanted: dict[str, tuple[str, Any]] = {
        "cameras": ("front", ["front"]),
        "max_latency_ms": ("200", 200.0),
        "keyframe_interval": ("7.0", 7),
        "jpeg_quality": ("8e1", 80),
        "min_confidence": ('"0.25"', 0.25),
        "max_image_pixels": ("1_000_000", 1_000_000),
        "output_size": ("[60.0, 80.0]", [60, 80]),
        "enabled": ('"off"', False),
        "class_map": ("road=ground", ["road=ground"]),
        "front.region_of_interest": ("[]", [0, 0, 0, 0]),
        "region_of_interest": ("[0, 0, 5, 5]", [0, 0, 5, 5]),
    }
    arguments = written(tmp_path, *(f"{name}: {text}" for name, (text, _) in wanted.items()))
    with rig(monkeypatch, ros_environment, arguments=arguments) as made:
        assert values_of(made, *wanted) == [value for _, value in wanted.values()]
        for name, value, taken in (
            ("max_latency_ms", 50, 50.0),
            ("keyframe_interval", 3.0, 3),
        ):
            assert made.set_parameter(name, value).successful
            assert values_of(made, name) == [taken]
        assert not made.set_parameter("keyframe_interval", 3.5).successful


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("keyframe_interval: 7.5", "keyframe_interval is 7.5; expected a whole number"),
        ("keyframe_interval: true", "keyframe_interval is True; expected a whole number"),
        ("keyframe_interval: 99999999999999999999", "keyframe_interval is 1e+20; expected a whole number"),
        ("min_confidence: high", "min_confidence is 'high'; expected a number"),
        ("min_confidence: .nan", "min_confidence is nan; expected 0.0 to 1.0"),
        ("enabled: 1", "enabled is 1; expected true or false"),
        ("align: off", "align is False; expected text"),
        ("weights: 5", "weights is 5; expected text"),
        ("output_size: 360", "output_size is 360; expected a list of whole numbers"),
        ("output_size: [360, 480, 3]", "output_size has 3 values; expected 2"),
        ("cameras: [1, 2]", "cameras is [1, 2]; expected a list of texts"),
        ("max_latency_ms: [1.0]", "max_latency_ms is [1.0]; expected a number"),
        ("output_size: [160, 24.5]", "expected values of one kind, as [160.0, 24.5]"),
        (
            "qos_overrides./segmentation/mask.publisher.reliability: sure",
            "segmentation_node: qos_overrides./segmentation/mask.publisher: Unexpected QoS override for policy "
            "`reliability`: `sure`; expected",
        ),
        ("max_latency_ms:", "No value at line 3"),
        ("weights: [", "expected YAML, as in the config/segmentation.yaml that ships"),
    ],
)
def test_what_cannot_be_meant_is_refused_in_one_sentence(
    ros_environment: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    tmp_path: Path,
    line: str,
    said: str,
) -> None:
    for name, value in ros_environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("ROS_DOMAIN_ID", str(own_domain()))
    assert main([*written(tmp_path, line)]) == 1
    told = capfd.readouterr().err
    assert said in told
    assert "Traceback" not in told


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--ros-args", "--log-level", "loud"], "expected debug, info, warn, error or fatal"),
        (["--ros-args", "--params-file", "nowhere.yaml"], "expected a file that is there"),
        (["--ros-args", "-p"], "Couldn't parse trailing -p flag"),
        (
            ["--keyframe-interval", "3"],
            "the argument --keyframe-interval is unknown; expected parameters after --ros-args",
        ),
    ],
)
def test_arguments_that_are_none_are_refused_in_one_sentence(
    ros_environment: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    arguments: list[str],
    said: str,
) -> None:
    for name, value in ros_environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("ROS_DOMAIN_ID", str(own_domain()))
    assert main(arguments) == 1
    told = capfd.readouterr().err
    assert said in told
    assert "Traceback" not in told


def test_parameters_that_are_not_there_are_named(
    ros_environment: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    lines = ("keyfram_interval: 3", "front.input_sise: [64, 96]", "lidar: true", "use_sim_time: false", "align: flow")
    with rig(monkeypatch, ros_environment, arguments=written(tmp_path, *lines)) as made:
        made.wait(lambda: True, "")
    assert (
        "parameters that this node does not have are ignored: front.input_sise (did you mean input_size?), "
        "keyfram_interval (did you mean keyframe_interval?), lidar\n"
    ) in capfd.readouterr().err
