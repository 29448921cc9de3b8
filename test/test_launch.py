"""What the launch file makes of its arguments; with the real `launch` where it is installed, else with a double."""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import launch_double
import pytest

ROOT = Path(__file__).parents[1]
LAUNCH_FILE = ROOT / "launch" / "segmentation.launch.py"
PROFILE = ROOT / "config" / "fastdds_large_images.xml"
PROFILE_VARIABLES = ("FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE")
REAL = importlib.util.find_spec("launch_ros") is not None

Launched = dict[str, Any]
Launch = Callable[..., Launched]


@pytest.fixture
def launch_file(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The launch file as a module, with `Node` keeping what it was made from."""
    for name in PROFILE_VARIABLES:
        # Set first, so that what a test sets is taken back even where the variable was missing before.
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    if not REAL:
        for name, module in launch_double.modules().items():
            monkeypatch.setitem(sys.modules, name, module)
    actions = importlib.import_module("launch_ros.actions")

    class RecordedNode(actions.Node):  # type: ignore[name-defined]
        def __init__(self, **given: Any) -> None:
            super().__init__(**given)
            self.given = given

    monkeypatch.setattr(actions, "Node", RecordedNode)
    spec = importlib.util.spec_from_file_location("segmentation_launch", LAUNCH_FILE)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def launch(launch_file: ModuleType, tmp_path: Path) -> Launch:
    """Launches with the arguments given; returns what the node was made from, its values resolved."""
    params_file = tmp_path / "params.yaml"
    params_file.write_text("/**: {ros__parameters: {}}\n")

    def run(**arguments: str) -> Launched:
        context = importlib.import_module("launch").LaunchContext()
        context.launch_configurations.update({"params_file": str(params_file), **arguments})
        nodes: list[Any] = []
        waiting = list(launch_file.generate_launch_description().entities)
        while waiting:
            entity = waiting.pop(0)
            if hasattr(entity, "given"):
                nodes.append(entity)  # visiting it would start the node
            else:
                waiting[:0] = entity.visit(context) or []
        (node,) = nodes
        return {name: resolved(value, context) for name, value in node.given.items()}

    return run


def resolved(value: Any, context: Any) -> Any:
    if hasattr(value, "perform"):
        return value.perform(context)
    if hasattr(value, "evaluate"):
        return value.evaluate(context)
    if isinstance(value, dict):
        return {name: resolved(one, context) for name, one in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(resolved(one, context) for one in value)
    return value


def test_defaults(launch: Launch, tmp_path: Path) -> None:
    launched = launch()
    assert (launched["package"], launched["executable"]) == ("dcfm_ros", "segmentation_node")
    assert (launched["name"], launched["namespace"]) == ("segmentation", "")
    assert launched["remappings"] == [("image", "/camera/image_raw")]
    assert launched["parameters"] == [str(tmp_path / "params.yaml")]
    assert launched["ros_arguments"] == ["--log-level", "info"]
    assert not any(name in os.environ for name in PROFILE_VARIABLES)


def test_image_namespace_and_log_level(launch: Launch) -> None:
    launched = launch(image="/front/image_raw", namespace="front", log_level="debug")
    assert launched["remappings"] == [("image", "/front/image_raw")]
    assert launched["namespace"] == "front"
    assert launched["ros_arguments"] == ["--log-level", "debug"]


def test_overrides_come_after_the_params_file_and_keep_their_types(launch: Launch) -> None:
    params_file, overrides = launch(weights="5", keyframe_interval="7", device="cuda:0")["parameters"]
    assert params_file.endswith("params.yaml")
    assert overrides == {"weights": "5", "keyframe_interval": 7, "device": "cuda:0"}


@pytest.mark.parametrize(
    "name, value", [("weights", "/w.safetensors"), ("keyframe_interval", "3"), ("backend", "torch")]
)
def test_only_what_is_given_overrides(launch: Launch, name: str, value: str) -> None:
    _, overrides = launch(**{name: value})["parameters"]
    assert list(overrides) == [name]


def test_a_missing_params_file_is_an_error(launch: Launch, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"params_file: .*nowhere\.yaml"):
        launch(params_file=str(tmp_path / "nowhere.yaml"))


def test_the_default_params_file_is_the_shipped_one(launch_file: ModuleType) -> None:
    (params_file,) = [
        entity for entity in launch_file.generate_launch_description().entities if _name_of(entity) == "params_file"
    ]
    context = importlib.import_module("launch").LaunchContext()
    params_file.visit(context)
    shipped = Path(context.launch_configurations["params_file"])
    assert shipped.samefile(ROOT / "config" / "segmentation.yaml")


def test_every_argument_is_described(launch_file: ModuleType) -> None:
    entities = launch_file.generate_launch_description().entities
    described = {_name_of(entity): entity.description for entity in entities if _name_of(entity)}
    assert set(described) == {
        "image",
        "weights",
        "params_file",
        "namespace",
        "keyframe_interval",
        "backend",
        "device",
        "log_level",
        "dds_profile",
    }
    assert all("." in description for description in described.values())


def test_the_dds_profile_is_set_when_asked_for(launch: Launch) -> None:
    launch(dds_profile="true")
    assert all(PROFILE.samefile(os.environ[name]) for name in PROFILE_VARIABLES)


@pytest.mark.parametrize("name", PROFILE_VARIABLES)
def test_the_dds_profile_never_replaces_a_users_own(launch: Launch, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "/mine.xml")
    launch(dds_profile="true")
    assert {variable: os.environ.get(variable) for variable in PROFILE_VARIABLES} == {
        variable: "/mine.xml" if variable == name else None for variable in PROFILE_VARIABLES
    }


def test_a_wrong_dds_profile_is_an_error(launch: Launch) -> None:
    with pytest.raises(RuntimeError, match="dds_profile"):
        launch(dds_profile="maybe")


def test_the_profile_has_a_large_segment_and_a_network_transport() -> None:
    tree = ElementTree.parse(PROFILE)
    namespace = {"dds": "http://www.eprosima.com/XMLSchemas/fastRTPS_Profiles"}
    transports = {
        found.findtext("dds:type", namespaces=namespace): found
        for found in tree.iterfind(".//dds:transport_descriptor", namespace)
    }
    assert set(transports) == {"SHM", "UDPv4"}
    assert int(transports["SHM"].findtext("dds:segment_size", "0", namespace)) == 64 * 1024 * 1024
    (participant,) = tree.iterfind(".//dds:participant", namespace)
    assert participant.get("is_default_profile") == "true"
    assert participant.findtext(".//dds:useBuiltinTransports", "", namespace) == "false"


def _name_of(entity: Any) -> str:
    return entity.name if type(entity).__name__ == "DeclareLaunchArgument" else ""
