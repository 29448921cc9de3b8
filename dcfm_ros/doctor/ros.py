"""Whether ROS 2 is here, its middleware loads, and there is room in it for the camera's images."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from dcfm_ros.doctor.ask import Answer
from dcfm_ros.doctor.libraries import pip_install
from dcfm_ros.doctor.line import Line
from dcfm_ros.machine.fast_dds import PROFILE_VARIABLES, ProfileError, profile_in_use, shipped_profile
from dcfm_ros.machine.resources import Resources

SECTION = "ROS 2"
_QUEUE = 5
"""Images that a publisher keeps, as cameras and this node do: each of them lies in its shared memory."""
_PACKAGE_OF_OPTIONAL = {
    "vision_msgs": "there is no ~/label_info, which Nav2's layer wants",
    "cv_bridge": "only the encodings that this package knows itself are read, which are all common ones",
}
_ROS_PACKAGE = re.compile(r"rclpy|\w+_(msgs|srvs|interfaces|py)")
_MISSING_MIDDLEWARE = re.compile(r"RMW implementation|rmw_\w+")
_FASTDDS_2 = ("humble", "iron", "jazzy")
_FASTDDS_3 = ("kilted", "lyrical", "rolling")


def check_ros(ros: Answer, node: Answer | None) -> list[Line]:
    """Judge the probe's answers about ROS and about importing the node; None where that was not asked."""
    if ros.error:
        return [_no_ros(ros)]
    distribution = ros.facts["distribution"]
    named = f"ROS 2 {distribution}" if distribution else "ROS 2 (from Python packages: no ROS_DISTRO is set)"
    lines = [
        Line(SECTION, "ROS", "ok", named),
        Line(SECTION, "Middleware", "ok", ros.facts["middleware"]),
    ]
    if node is not None and node.error:
        lines.append(_no_node(node, distribution))
    for name in ros.facts["lacking"]:
        told = f"{name} is not installed: {_PACKAGE_OF_OPTIONAL[name]}"
        lines.append(Line(SECTION, "Optional", "note", told, _apt(name, distribution)))
    return lines


def _no_ros(ros: Answer) -> Line:
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    if ros.missing == "rclpy":
        found = sorted(path.parent for path in Path("/opt/ros").glob("*/setup.bash"))
        sourced = f"{found[-1]}/setup.bash" if found else "its setup.bash, after installing ROS 2 as docs.ros.org says"
        remedy = f"source {sourced}; on Linux (x86-64) pip install 'dcfm_ros[ros]' brings it as well"
        return Line(SECTION, "ROS", "error", f"rclpy is not there for this Python {python} ({sys.executable})", remedy)
    if ros.missing.startswith("rclpy.") or "_rclpy_pybind11" in ros.error:
        remedy = "use the Python that this ROS was built for, as a rule /usr/bin/python3; leave conda and other venvs"
        return Line(SECTION, "ROS", "error", f"rclpy was built for another Python than {python}: {ros.error}", remedy)
    middleware = os.environ.get("RMW_IMPLEMENTATION", "")
    if middleware and _MISSING_MIDDLEWARE.search(ros.error):
        remedy = f"{_apt(middleware, os.environ.get('ROS_DISTRO', ''))}, or unset RMW_IMPLEMENTATION"
        told = f"RMW_IMPLEMENTATION is {middleware}, which cannot be loaded: {ros.error}"
        return Line(SECTION, "Middleware", "error", told, remedy)
    remedy = "source ROS 2's setup.bash, in a new shell"
    return Line(SECTION, "ROS", "error", f"rclpy cannot be used: {ros.error}", remedy)


def _no_node(node: Answer, distribution: str) -> Line:
    package = node.missing.partition(".")[0]
    if not package:
        return Line(SECTION, "Node", "error", f"the node cannot be loaded: {node.error}", "install that package anew")
    is_of_ros = _ROS_PACKAGE.fullmatch(package)
    remedy = _apt(package, distribution) if is_of_ros else pip_install(package)
    return Line(SECTION, "Node", "error", f"the node needs {package}, which is not installed", remedy)


def _apt(package: str, distribution: str) -> str:
    if not distribution:
        return "it comes with ROS 2 from apt, and not with the Python packages of ROS 2"
    return f"sudo apt install ros-{distribution}-{package.replace('_', '-')}"


def check_transport(ros: Answer, resources: Resources, camera: tuple[int, int]) -> list[Line]:
    """Judge the room for images of a camera, (height, width) in rgb8, in the middleware that is in use."""
    middleware = str(ros.facts.get("middleware", ""))
    if middleware.startswith("rmw_fastrtps"):
        return [*_fast_dds(resources, camera, ros.facts["distribution"]), *_shared_memory(resources)]
    if middleware == "rmw_cyclonedds_cpp":
        return [_cyclone(resources, camera)]
    return []


def _fast_dds(resources: Resources, camera: tuple[int, int], distribution: str) -> Iterator[Line]:
    try:
        profile = profile_in_use()
    except ProfileError as error:
        remedy = f"let {' and '.join(PROFILE_VARIABLES)} name a profile that is there, as {shipped_profile()}"
        yield Line(SECTION, "DDS profile", "warning", f"{error}; Fast DDS ignores it and uses its defaults", remedy)
        return
    image, (height, width) = _bytes_of(camera), camera
    of_images = f"an image of {width}x{height} rgb8 has {_megabytes(image)}"
    where = f"of {profile.path}" if profile.path else "without a profile"
    older, newer = PROFILE_VARIABLES
    if profile.path and distribution in _FASTDDS_2 and not os.environ.get(older):
        told = f"the Fast DDS of {distribution} does not read {newer}, and uses its defaults"
        yield Line(SECTION, "DDS profile", "warning", told, f"export {older}={profile.path}")
        return
    if profile.path and distribution in _FASTDDS_3 and not os.environ.get(newer):
        told = f"from Kilted on {older} is deprecated, and read with a warning as long as it is"
        yield Line(SECTION, "DDS profile", "warning", told, f"export {newer}={profile.path}")
    if not profile.segment:
        yield Line(SECTION, "DDS profile", "note", f"{where}: no shared memory, images go over the network's stack")
    elif profile.segment < _QUEUE * image:
        told = f"shared memory {where} is {_megabytes(profile.segment)}, and {of_images}: frames can be lost"
        yield Line(SECTION, "DDS profile", "warning", told, _larger(_QUEUE * image))
    else:
        told = f"shared memory {where} is {_megabytes(profile.segment)}; {of_images}"
        yield Line(SECTION, "DDS profile", "ok", told)


def _larger(needed: int) -> str:
    """Say how to make room for so many bytes of shared memory."""
    shipped = shipped_profile()
    if shipped is None:
        return "see docs/integration.md, Large images"
    if profile_in_use({PROFILE_VARIABLES[0]: str(shipped)}).segment < needed:
        names = " and ".join(PROFILE_VARIABLES)
        return f"copy {shipped}, set its segment_size to {needed} or more, and export {names} with the copy's name"
    first, second = PROFILE_VARIABLES
    return (
        f"launch with dds_profile:=true, and start the camera after: export {first}={shipped}; export {second}=${first}"
    )


def _shared_memory(resources: Resources) -> Iterator[Line]:
    if resources.shared_total is None or resources.shared_free is None:
        return
    if resources.foreign_shared:
        told = f"/dev/shm has files of another user's processes, such as {resources.foreign_shared[0]}"
        remedy = "run camera and node as the same user; after a crash: fastdds shm clean, as the other user"
        yield Line(SECTION, "/dev/shm", "warning", told, remedy)
    needed = 2 * _segment_in_use()
    told = f"{_megabytes(resources.shared_total)}, {_megabytes(resources.shared_free)} of it free"
    if resources.shared_free < needed:
        told += f"; the camera and the node need {_megabytes(needed)}"
        remedy = "docker run --ipc=host or --shm-size=512m; else sudo mount -o remount,size=512M /dev/shm"
        yield Line(SECTION, "/dev/shm", "warning", told, remedy)
    else:
        yield Line(SECTION, "/dev/shm", "ok", told)


def _segment_in_use() -> int:
    try:
        return profile_in_use().segment
    except ProfileError:
        return profile_in_use({}).segment


def _cyclone(resources: Resources, camera: tuple[int, int]) -> Line:
    image, buffer = _bytes_of(camera), resources.receive_buffer
    told = f"a socket may hold {_megabytes(buffer)}" if buffer is not None else "how much a socket may hold is not told"
    told += f"; an image of {camera[1]}x{camera[0]} rgb8 has {_megabytes(image)}"
    if buffer is not None and buffer < image:
        remedy = "sudo sysctl -w net.core.rmem_max=2147483647, and see DDS tuning on docs.ros.org"
        return Line(SECTION, "Cyclone DDS", "warning", f"{told}: frames can be lost", remedy)
    return Line(SECTION, "Cyclone DDS", "ok", told)


def _bytes_of(camera: tuple[int, int]) -> int:
    return camera[0] * camera[1] * 3


def _megabytes(size: float) -> str:
    return f"{size / 1e6:.1f} MB" if size < 1e8 else f"{size / 1e6:,.0f} MB"
