"""Starts the segmentation node on a camera: ros2 launch dcfm_ros segmentation.launch.py image:=/front/image_raw."""

import difflib
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import yaml
from ament_index_python.packages import PackageNotFoundError, get_package_prefix
from launch import LaunchContext, LaunchDescription
from launch.actions import (
    DeclareLaunchArgument,
    ExecuteProcess,
    OpaqueFunction,
    RegisterEventHandler,
    SetEnvironmentVariable,
)
from launch_ros.actions import LifecycleNode, Node
from launch_ros.event_handlers import OnStateTransition

_CONFIG = Path(__file__).parent.parent / "config"

# The Fast DDS of Humble and Jazzy reads the first name alone; Kilted's both, and warns of the first.
_PROFILE_VARIABLES = ("FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE")

# Arguments that go before the params file, as text; what is empty does not.
_OVERRIDES = ("weights", "backend", "device", "input_transport")

_LOG_LEVELS = ("debug", "info", "warn", "error", "fatal")
_SWITCH = ["true", "false", "True", "False"]  # launch files of Nav2 pass them with a capital
_CAMERA = "{camera}"
_BAG_DELAY_S = 1  # for the node to find the bag's topics: what comes before that is lost
_RESPAWN_DELAY_S = 2.0

# Topics in the RViz file: of the camera that is taken when none is named, and of the node without a namespace.
_RVIZ_IMAGE = "/camera/image_raw"
_RVIZ_PICTURES = ("overlay", "color")


def generate_launch_description() -> LaunchDescription:
    """The node makes its own lifecycle transitions (parameter `autostart`), so none are made here."""
    return LaunchDescription([*_arguments(), OpaqueFunction(function=_actions)])


def _arguments() -> list[DeclareLaunchArgument]:
    return [
        _argument("image", "/camera/image_raw", "Topic with the camera's images; with `cameras`, one with {camera}."),
        _argument("camera_info", "", "Topic with its CameraInfo; empty: camera_info next to the images."),
        _argument("input_transport", "", "Of the images; empty: the params file's.", ["", "raw", "compressed"]),
        _argument("cameras", "", "Names of several cameras on one device, with commas between; empty: one camera."),
        _argument("weights", "", "Weights file; empty: the params file's, or the shipped ones."),
        _argument("params_file", str(_CONFIG / "segmentation.yaml"), "YAML file with the node's parameters."),
        _argument("namespace", "", "Namespace of the node."),
        _argument("keyframe_interval", "", "Frames from one keyframe to the next; empty: the params file's."),
        _argument("backend", "", "What runs the network; empty: the params file's."),
        _argument("device", "", "auto, cpu, cuda, cuda:N or gpu (Intel's); empty: the params file's."),
        _argument(
            "use_sim_time", "", "Follow /clock, which a bag then gives; empty: the params file's.", ["", *_SWITCH]
        ),
        _argument("respawn", "false", "Start the node again when it ends.", _SWITCH),
        _argument("bag", "", "Bag to play once the node is active; the node keeps running after its end. Empty: none."),
        _argument("rviz", "false", "Show the image, the overlay and the classes in RViz.", _SWITCH),
        _argument("foxglove", "false", "Start foxglove_bridge too, for Foxglove to connect to.", _SWITCH),
        _argument("log_level", "info", "debug, info, warn, error or fatal."),
        _argument(
            "dds_profile",
            "false",
            "Use the shipped Fast DDS profile for large images, unless the environment names another.",
            _SWITCH,
        ),
    ]


def _argument(name: str, default: str, description: str, choices: list[str] | None = None) -> DeclareLaunchArgument:
    return DeclareLaunchArgument(name, default_value=default, description=description, choices=choices)


def _actions(context: LaunchContext) -> list[SetEnvironmentVariable | RegisterEventHandler | Node]:
    """All are made before any begins: a wrong argument starts nothing."""
    _check_names(sys.argv)
    arguments = context.launch_configurations
    cameras = _cameras(arguments["cameras"])
    remappings = _remappings(arguments, cameras)
    segmentation = _segmentation(arguments, cameras, remappings)
    return [
        *_dds_profile(arguments, context.environment),
        *([_bag(arguments, segmentation)] if arguments["bag"] else []),
        segmentation,
        *([_rviz(arguments, cameras, remappings)] if _is_true(arguments["rviz"]) else []),
        *([_foxglove(arguments)] if _is_true(arguments["foxglove"]) else []),
    ]


def _check_names(words: Sequence[str]) -> None:
    """Raises ValueError for an argument that `ros2 launch` was given and that is not here: launch itself ignores it.

    words: of the command line. Where another launch file includes this one, they are that one's arguments.
    """
    for place, word in enumerate(words):
        is_this = Path(word).name == Path(__file__).name and (
            words[place - 1] == "dcfm_ros" or Path(word).resolve() == Path(__file__).resolve()
        )
        if is_this:
            _check_given([other.partition(":=")[0] for other in words[place + 1 :] if ":=" in other])


def _check_given(given: Sequence[str]) -> None:
    names = [argument.name for argument in _arguments()]
    for name in given:
        if name not in names:
            nearest = difflib.get_close_matches(name, names, n=1)
            expected = f"did you mean {nearest[0]}?" if nearest else f"expected one of {', '.join(names)}"
            raise ValueError(f"there is no launch argument {name}; {expected}")


def _cameras(names: str) -> list[str]:
    cameras = [name.strip() for name in names.split(",")] if names else []
    for camera in cameras:
        if not (camera.isascii() and camera.isidentifier()):
            raise ValueError(f"cameras is {names!r}; expected names of letters and digits with commas between")
    return cameras


def _remappings(arguments: Mapping[str, str], cameras: list[str]) -> list[tuple[str, str]]:
    """From the names in the node to the cameras' topics: each camera's images, then its CameraInfo."""
    image = arguments["image"]
    patterns = {"image": image, "camera_info": arguments["camera_info"] or _beside(image)}
    for name, pattern in patterns.items():
        if cameras and _CAMERA not in pattern:
            raise ValueError(f"{name} is {pattern!r}; with cameras, expected {_CAMERA} in it, as in /{_CAMERA}/{name}")
        if not cameras and _CAMERA in pattern:
            raise ValueError(f"{name} is {pattern!r}; expected names for {_CAMERA}, as in cameras:=front,left")
    if not cameras:
        return list(patterns.items())
    return [
        (f"{camera}/{name}", pattern.replace(_CAMERA, camera))
        for camera in cameras
        for name, pattern in patterns.items()
    ]


def _beside(image: str) -> str:
    """Where image_transport looks for a camera's CameraInfo, whatever the transport."""
    folder, slash, _ = image.removesuffix("/compressed").rpartition("/")
    return f"{folder}{slash}camera_info"


def _dds_profile(arguments: Mapping[str, str], environment: Mapping[str, str]) -> list[SetEnvironmentVariable]:
    if not _is_true(arguments["dds_profile"]) or any(environment.get(name) for name in _PROFILE_VARIABLES):
        return []
    profile = str(_CONFIG / "fastdds_large_images.xml")
    return [SetEnvironmentVariable(name, profile) for name in _PROFILE_VARIABLES]


def _segmentation(arguments: Mapping[str, str], cameras: list[str], remappings: list[tuple[str, str]]) -> Node:
    params_file = arguments["params_file"]
    if not Path(params_file).is_file():
        # launch itself would go on without the file, and the node with other parameters than were asked for.
        raise FileNotFoundError(f"params_file: there is no file {params_file}")
    try:
        yaml.safe_load(Path(params_file).read_text())
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"params_file: {params_file} is not YAML: {' '.join(str(error).split())}") from error
    overrides = _overrides(arguments, cameras)
    # To be told of transitions launch becomes a ROS node itself, which costs memory: for a bag alone.
    kind = LifecycleNode if arguments["bag"] else Node
    return kind(
        package="dcfm_ros",
        executable="segmentation_node",
        name="segmentation",
        namespace=arguments["namespace"],
        remappings=remappings,
        parameters=[params_file, *([overrides] if overrides else [])],
        ros_arguments=["--log-level", _log_level(arguments["log_level"])],
        respawn=_is_true(arguments["respawn"]),
        respawn_delay=_RESPAWN_DELAY_S,
        output="screen",
    )


def _overrides(arguments: Mapping[str, str], cameras: list[str]) -> dict[str, str | int | bool | list[str]]:
    overrides: dict[str, str | int | bool | list[str]] = {
        name: arguments[name] for name in _OVERRIDES if arguments[name]
    }
    interval = arguments["keyframe_interval"]
    if interval:
        if not interval.isdecimal():
            raise ValueError(f"keyframe_interval is {interval!r}; expected a number of frames")
        overrides["keyframe_interval"] = int(interval)
    if cameras:
        overrides["cameras"] = cameras
    return {**overrides, **_time(arguments)}


def _log_level(level: str) -> str:
    """As it is: a level for all, or for one logger as in rcl:=debug."""
    if level.rpartition(":=")[2].lower() not in _LOG_LEVELS:
        raise ValueError(f"log_level is {level!r}; expected one of {', '.join(_LOG_LEVELS)}")
    return level


def _is_true(switch: str) -> bool:
    return switch.lower() == "true"


def _time(arguments: Mapping[str, str]) -> dict[str, bool]:
    """The parameter that every node has, where it is given."""
    given = arguments["use_sim_time"]
    return {"use_sim_time": _is_true(given)} if given else {}


def _bag(arguments: Mapping[str, str], segmentation: LifecycleNode) -> RegisterEventHandler:
    """Plays it once the node is active: while the network is loaded images would be skipped."""
    bag = arguments["bag"]
    if not Path(bag).exists():
        raise FileNotFoundError(f"bag: there is no file or folder {bag}")
    clock = ["--clock"] if _is_true(arguments["use_sim_time"]) else []
    player = ExecuteProcess(
        cmd=["ros2", "bag", "play", bag, "--delay", str(_BAG_DELAY_S), *clock], name="bag", output="screen"
    )
    return RegisterEventHandler(
        OnStateTransition(target_lifecycle_node=segmentation, goal_state="active", entities=[player], handle_once=True)
    )


def _rviz(arguments: Mapping[str, str], cameras: list[str], remappings: list[tuple[str, str]]) -> Node:
    """In the node's namespace, so that names without a leading slash mean the same; of cameras, it shows the first."""
    folder = "/".join(["segmentation", *cameras[:1]])
    _, image = remappings[0]
    time = _time(arguments)
    return Node(
        package="rviz2",
        executable="rviz2",
        namespace=arguments["namespace"],
        arguments=["-d", str(_CONFIG / "segmentation.rviz")],
        remappings=[
            (_RVIZ_IMAGE, image),
            *((f"/segmentation/{picture}", f"{folder}/{picture}") for picture in _RVIZ_PICTURES),
        ],
        parameters=[time] if time else [],
        output="screen",
    )


def _foxglove(arguments: Mapping[str, str]) -> Node:
    """The bridge that Foxglove connects to, at ws://<robot>:8765; config/foxglove_layout.json is the layout for it."""
    try:
        get_package_prefix("foxglove_bridge")
    except PackageNotFoundError:
        raise ValueError(
            "foxglove: the package foxglove_bridge is not installed; apt install ros-$ROS_DISTRO-foxglove-bridge"
        ) from None
    time = _time(arguments)
    return Node(
        package="foxglove_bridge",
        executable="foxglove_bridge",
        parameters=[time] if time else [],
        output="screen",
    )
