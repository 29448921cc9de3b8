"""What the launch file makes of its arguments; with the real `launch` where it is installed, else with a double."""

from __future__ import annotations

import importlib
import importlib.util
import os
import re
import sys
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import launch_double
import pytest
import yaml

ROOT = Path(__file__).parents[1]
LAUNCH_FILE = ROOT / "launch" / "segmentation.launch.py"
PROFILE = ROOT / "config" / "fastdds_large_images.xml"
PROFILE_VARIABLES = ("FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE")
REAL = importlib.util.find_spec("launch_ros") is not None

Given = dict[str, Any]
Launched = dict[str, Given]
Launch = Callable[..., Launched]


@pytest.fixture
def launch_file(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The launch file as a module, with what starts processes or waits keeping what it was made from."""
    for name in PROFILE_VARIABLES:
        # Set first, so that what a test sets is taken back even where the variable was missing before.
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    if not REAL:
        for name, module in launch_double.modules().items():
            monkeypatch.setitem(sys.modules, name, module)
    made = {"launch.actions": ["ExecuteProcess"], "launch_ros.actions": ["Node", "LifecycleNode"]}
    made["launch_ros.event_handlers"] = ["OnStateTransition"]
    packages = {name: importlib.import_module(name) for name in made}  # all, before any is changed
    for package, names in made.items():
        for name in names:
            monkeypatch.setattr(packages[package], name, recording(getattr(packages[package], name)))
    spec = importlib.util.spec_from_file_location("segmentation_launch", LAUNCH_FILE)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def recording(action: Any) -> type:
    def __init__(self: Any, **given: Any) -> None:
        action.__init__(self, **given)
        self.given = given

    return type(action.__name__, (action,), {"__init__": __init__})


@pytest.fixture
def launch(launch_file: ModuleType, tmp_path: Path) -> Launch:
    """Launches with the arguments given; returns what each process was made from, by executable.

    `later` is what waits for an event was made from.
    """
    params_file = tmp_path / "params.yaml"
    params_file.write_text("/**: {ros__parameters: {}}\n")

    def run(**arguments: str) -> Launched:
        context = importlib.import_module("launch").LaunchContext()
        context.launch_configurations.update({"params_file": str(params_file), **arguments})
        launched: Launched = {}
        waiting = list(launch_file.generate_launch_description().entities)
        while waiting:
            entity = waiting.pop(0)
            if hasattr(entity, "given"):  # visiting it would start the process
                launched[entity.given.get("executable") or entity.given["name"]] = entity.given
            elif hasattr(entity, "event_handler"):
                launched["later"] = entity.event_handler.given
            else:
                waiting[:0] = entity.visit(context) or []
        return launched

    return run


def test_defaults(launch: Launch, tmp_path: Path) -> None:
    launched = launch()
    assert list(launched) == ["segmentation_node"]
    node = launched["segmentation_node"]
    assert node["package"] == "dcfm_ros"
    assert (node["name"], node["namespace"]) == ("segmentation", "")
    assert node["remappings"] == [("image", "/camera/image_raw"), ("camera_info", "/camera/camera_info")]
    assert node["parameters"] == [str(tmp_path / "params.yaml")]
    assert node["ros_arguments"] == ["--log-level", "info"]
    assert node["respawn"] is False
    assert not any(name in os.environ for name in PROFILE_VARIABLES)


def test_image_namespace_and_log_level(launch: Launch) -> None:
    node = launch(image="/front/image_raw", namespace="front", log_level="debug")["segmentation_node"]
    assert node["remappings"] == [("image", "/front/image_raw"), ("camera_info", "/front/camera_info")]
    assert node["namespace"] == "front"
    assert node["ros_arguments"] == ["--log-level", "debug"]


@pytest.mark.parametrize(
    "image, camera_info",
    [
        ("image_raw", "camera_info"),
        ("/image_raw", "/camera_info"),
        ("/robot/front/image_rect", "/robot/front/camera_info"),
        ("/front/image_raw/compressed", "/front/camera_info"),
    ],
)
def test_camera_info_is_beside_the_image(launch: Launch, image: str, camera_info: str) -> None:
    node = launch(image=image)["segmentation_node"]
    assert node["remappings"] == [("image", image), ("camera_info", camera_info)]


def test_camera_info_can_be_elsewhere(launch: Launch) -> None:
    node = launch(image="/front/image_raw", camera_info="/calibration/front")["segmentation_node"]
    assert node["remappings"] == [("image", "/front/image_raw"), ("camera_info", "/calibration/front")]


def test_several_cameras(launch: Launch) -> None:
    node = launch(cameras="front, left", image="/{camera}/image_raw", camera_info="/info/{camera}")["segmentation_node"]
    assert node["remappings"] == [
        ("front/image", "/front/image_raw"),
        ("front/camera_info", "/info/front"),
        ("left/image", "/left/image_raw"),
        ("left/camera_info", "/info/left"),
    ]
    assert node["parameters"][1] == {"cameras": ["front", "left"]}


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"cameras": "front,left"}, r"image is '/camera/image_raw'; with cameras, expected \{camera\} in it"),
        (
            {"cameras": "front,left", "image": "/images/{camera}"},
            r"camera_info is '/images/camera_info'; with cameras, expected \{camera\} in it",
        ),
        ({"image": "/{camera}/image_raw"}, r"image is '/\{camera\}/image_raw'; expected names for \{camera\}"),
        ({"cameras": "front,", "image": "/{camera}/image_raw"}, "cameras is 'front,'; expected names"),
        ({"cameras": "front left", "image": "/{camera}/image_raw"}, "cameras is 'front left'; expected names"),
    ],
)
def test_cameras_and_topics_that_do_not_fit(launch: Launch, arguments: dict[str, str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        launch(**arguments)


def test_overrides_come_after_the_params_file_and_keep_their_types(launch: Launch) -> None:
    given = {"weights": "5", "keyframe_interval": "7", "device": "cuda:0", "use_sim_time": "false"}
    params_file, overrides = launch(**given)["segmentation_node"]["parameters"]
    assert params_file.endswith("params.yaml")
    assert overrides == {"weights": "5", "keyframe_interval": 7, "device": "cuda:0", "use_sim_time": False}
    assert type(overrides["use_sim_time"]) is bool


@pytest.mark.parametrize(
    "name, value",
    [
        ("weights", "/w.safetensors"),
        ("keyframe_interval", "3"),
        ("backend", "torch"),
        ("input_transport", "compressed"),
        ("use_sim_time", "true"),
    ],
)
def test_only_what_is_given_overrides(launch: Launch, name: str, value: str) -> None:
    _, overrides = launch(**{name: value})["segmentation_node"]["parameters"]
    assert list(overrides) == [name]


@pytest.mark.parametrize("interval", ["often", "-5", "5.0"])
def test_a_keyframe_interval_that_is_no_number_is_an_error(launch: Launch, interval: str) -> None:
    with pytest.raises(ValueError, match=f"keyframe_interval is '{interval}'; expected a number"):
        launch(keyframe_interval=interval)


@pytest.mark.parametrize("level", ["debug", "WARN", "rcl:=error"])
def test_levels_that_ros_knows_are_handed_on(launch: Launch, level: str) -> None:
    assert launch(log_level=level)["segmentation_node"]["ros_arguments"] == ["--log-level", level]


@pytest.mark.parametrize("level", ["loud", "rcl:=loud", ""])
def test_a_level_that_ros_does_not_know_is_an_error(launch: Launch, level: str) -> None:
    with pytest.raises(ValueError, match=f"log_level is '{level}'; expected one of debug, info, warn, error, fatal"):
        launch(log_level=level)


@pytest.mark.parametrize(
    "words, said",
    [
        (["dcfm_ros", "segmentation.launch.py", "imgae:=/front"], "no launch argument imgae; did you mean image?"),
        ([str(LAUNCH_FILE), "rviz:=true", "sink:=a"], "no launch argument sink; expected one of image, camera_info"),
        (["dcfm_ros", "segmentation.launch.py", "--debug", "rviz:=false"], ""),
        (["my_robot", "segmentation.launch.py", "sink:=a"], ""),
        (["my_robot", "robot.launch.py", "imgae:=/front"], ""),
    ],
)
def test_an_argument_that_is_not_here_is_an_error_unless_another_file_includes_this_one(
    launch: Launch, monkeypatch: pytest.MonkeyPatch, words: list[str], said: str
) -> None:
    monkeypatch.setattr(sys, "argv", ["ros2", "launch", *words])
    if not said:
        assert list(launch()) == ["segmentation_node"]
        return
    with pytest.raises(ValueError, match=re.escape(said)):
        launch()


@pytest.mark.parametrize("content", [b"/**: {ros__parameters: [}", b"\xff\xfe"])
def test_a_params_file_that_is_no_yaml_is_an_error(launch: Launch, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "bad.yaml").write_bytes(content)
    with pytest.raises(ValueError, match=r"params_file: \S+bad\.yaml is not YAML: ") as raised:
        launch(params_file=str(tmp_path / "bad.yaml"))
    assert "\n" not in str(raised.value)


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


def test_every_argument_is_described_and_in_the_page_for_integrators(launch_file: ModuleType) -> None:
    entities = launch_file.generate_launch_description().entities
    described = {_name_of(entity): entity.description for entity in entities if _name_of(entity)}
    page = (ROOT / "docs" / "integration.md").read_text()
    rows = re.findall(r"^\| ((?:`\w+`(?:, )?)+) \|", page, re.MULTILINE)
    assert set(described) == {name for row in rows for name in re.findall(r"\w+", row)}
    assert all("." in description for description in described.values())


def test_the_dds_profile_is_set_when_asked_for(launch: Launch) -> None:
    launch(dds_profile="true")
    assert all(PROFILE.samefile(os.environ[name]) for name in PROFILE_VARIABLES)


def test_foxglove_gets_a_bridge_beside_the_node(
    launch_file: ModuleType, launch: Launch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launch_file, "get_package_prefix", lambda name: f"/opt/ros/{name}")
    launched = launch(foxglove="true", use_sim_time="true")
    bridge = launched["foxglove_bridge"]
    assert (bridge["package"], bridge["parameters"]) == ("foxglove_bridge", [{"use_sim_time": True}])
    assert list(launched) == ["segmentation_node", "foxglove_bridge"]


def test_without_the_bridge_nothing_starts_and_the_way_to_it_is_said(launch: Launch) -> None:
    with pytest.raises(ValueError, match=r"foxglove_bridge is not installed; apt install ros-\S+-foxglove-bridge"):
        launch(foxglove="true")


@pytest.mark.parametrize("name", PROFILE_VARIABLES)
def test_the_dds_profile_never_replaces_a_users_own(launch: Launch, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "/mine.xml")
    launch(dds_profile="true")
    assert {variable: os.environ.get(variable) for variable in PROFILE_VARIABLES} == {
        variable: "/mine.xml" if variable == name else None for variable in PROFILE_VARIABLES
    }


@pytest.mark.parametrize("name", ["dds_profile", "foxglove", "input_transport", "respawn", "rviz", "use_sim_time"])
def test_a_wrong_choice_is_an_error(launch: Launch, name: str) -> None:
    with pytest.raises(RuntimeError, match=rf"{name}.*maybe"):
        launch(**{name: "maybe"})


def test_the_node_is_respawned_when_asked_for(launch: Launch) -> None:
    node = launch(respawn="true")["segmentation_node"]
    assert node["respawn"] is True
    assert node["respawn_delay"] > 0


@pytest.mark.parametrize("use_sim_time, clock", [("true", ["--clock"]), ("True", ["--clock"]), ("false", []), ("", [])])
def test_a_bag_is_played_with_its_clock_for_simulated_time(
    launch: Launch, tmp_path: Path, use_sim_time: str, clock: list[str]
) -> None:
    (player,) = launch(bag=str(tmp_path), use_sim_time=use_sim_time)["later"]["entities"]
    command = player.given["cmd"]
    assert command[:4] == ["ros2", "bag", "play", str(tmp_path)]
    assert [word for word in command if word.startswith("--clock")] == clock


def test_a_bag_waits_once_for_the_node_to_be_active(launch: Launch, tmp_path: Path) -> None:
    launched = launch(bag=str(tmp_path), namespace="robot")
    assert list(launched) == ["later", "segmentation_node"]
    later = launched["later"]
    assert later["target_lifecycle_node"].given is launched["segmentation_node"]
    assert (later["goal_state"], later["handle_once"]) == ("active", True)


def test_a_missing_bag_is_an_error(launch: Launch, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"bag: .*nowhere\.mcap"):
        launch(bag=str(tmp_path / "nowhere.mcap"))


def test_rviz_shows_this_nodes_topics_of_the_first_camera(launch: Launch) -> None:
    rviz = launch(rviz="true", namespace="robot", cameras="front,left", image="/{camera}/image_raw")["rviz2"]
    assert rviz["package"] == "rviz2"
    assert rviz["namespace"] == "robot"
    assert dict(rviz["remappings"]) == {
        "/camera/image_raw": "/front/image_raw",
        "/segmentation/overlay": "segmentation/front/overlay",
        "/segmentation/color": "segmentation/front/color",
    }
    assert rviz["parameters"] == []


def test_rviz_follows_simulated_time(launch: Launch) -> None:
    assert launch(rviz="true", use_sim_time="true")["rviz2"]["parameters"] == [{"use_sim_time": True}]


def test_rviz_loads_a_file_of_the_topics_that_are_remapped(launch: Launch) -> None:
    rviz = launch(rviz="true")["rviz2"]
    flag, path = rviz["arguments"]
    assert flag == "-d"
    displays = yaml.safe_load(Path(path).read_text())["Visualization Manager"]["Displays"]
    assert {display["Topic"]["Value"] for display in displays} == {name for name, _ in rviz["remappings"]}


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
