"""Starts the segmentation node on a camera: ros2 launch dcfm_ros segmentation.launch.py image:=/front/image_raw."""

from pathlib import Path

from launch import LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument, OpaqueFunction, SetEnvironmentVariable
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue

_CONFIG = Path(__file__).parent.parent / "config"

# Fast DDS 2 reads the first name, Fast DDS 3 only the second, and some versions both.
_PROFILE_VARIABLES = ("FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE")

# The types that the node declares: launch would guess them from the text, and a file named 5 is no number.
_OVERRIDES: dict[str, type] = {"weights": str, "keyframe_interval": int, "backend": str, "device": str}


def generate_launch_description() -> LaunchDescription:
    """The node makes its own lifecycle transitions (parameter `autostart`), so none are made here."""
    return LaunchDescription(
        [
            DeclareLaunchArgument(
                "image", default_value="/camera/image_raw", description="Topic with the camera's images."
            ),
            DeclareLaunchArgument(
                "weights", default_value="", description="Weights file; empty: the params file's, or the shipped ones."
            ),
            DeclareLaunchArgument(
                "params_file",
                default_value=str(_CONFIG / "segmentation.yaml"),
                description="YAML file with the node's parameters.",
            ),
            DeclareLaunchArgument("namespace", default_value="", description="Namespace of the node."),
            DeclareLaunchArgument(
                "keyframe_interval",
                default_value="",
                description="Frames from one keyframe to the next; empty: the params file's.",
            ),
            DeclareLaunchArgument(
                "backend", default_value="", description="What runs the network; empty: the params file's."
            ),
            DeclareLaunchArgument(
                "device", default_value="", description="auto, cpu, cuda or cuda:N; empty: the params file's."
            ),
            DeclareLaunchArgument("log_level", default_value="info", description="debug, info, warn, error or fatal."),
            DeclareLaunchArgument(
                "dds_profile",
                default_value="false",
                choices=["true", "false"],
                description="Use the shipped Fast DDS profile for large images, unless the environment names another.",
            ),
            OpaqueFunction(function=_set_dds_profile),
            OpaqueFunction(function=_node),
        ]
    )


def _set_dds_profile(context: LaunchContext) -> list[SetEnvironmentVariable]:
    wanted = LaunchConfiguration("dds_profile").perform(context) == "true"
    if not wanted or any(context.environment.get(name) for name in _PROFILE_VARIABLES):
        return []
    profile = str(_CONFIG / "fastdds_large_images.xml")
    return [SetEnvironmentVariable(name, profile) for name in _PROFILE_VARIABLES]


def _node(context: LaunchContext) -> list[Node]:
    params_file = LaunchConfiguration("params_file").perform(context)
    if not Path(params_file).is_file():
        # launch itself would go on without the file, and the node with other parameters than were asked for.
        raise FileNotFoundError(f"params_file: there is no file {params_file}")
    overrides = {
        name: ParameterValue(LaunchConfiguration(name), value_type=kind)
        for name, kind in _OVERRIDES.items()
        if LaunchConfiguration(name).perform(context)
    }
    return [
        Node(
            package="dcfm_ros",
            executable="segmentation_node",
            name="segmentation",
            namespace=LaunchConfiguration("namespace"),
            remappings=[("image", LaunchConfiguration("image"))],
            parameters=[params_file, *([overrides] if overrides else [])],
            ros_arguments=["--log-level", LaunchConfiguration("log_level")],
            output="screen",
        )
    ]
