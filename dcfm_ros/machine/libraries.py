"""Versions of the Python packages that are installed, and how to install those that are not."""

from __future__ import annotations

import importlib.metadata
import os
import platform

_DISTRIBUTIONS = ("torch", "onnxruntime", "onnxruntime-gpu", "openvino", "tensorrt", "numpy")

_EXTRAS = {
    "torch": "torch",
    "cv2": "opencv",
    "onnx": "onnx",
    "onnxruntime": "onnx",
    "openvino": "openvino",
    "accelerate": "train",
    "tensorboard": "train",
    "torchmetrics": "train",
    "jinja2": "report",
    "plotly": "report",
    "google": "foxglove",
    "ray": "ray",
}
"""By a module's name: the extra of this package that brings it; see setup.cfg."""

_NAMES = {"yaml": "pyyaml"}
"""By a module's name: what pip calls it, where that differs and no extra brings it."""

_ROS = (
    *("rclpy", "rosgraph_msgs", "builtin_interfaces", "diagnostic_msgs", "lifecycle_msgs", "rcl_interfaces"),
    *("sensor_msgs", "std_msgs", "std_srvs"),
)


def how_to_install(module: str) -> str:
    """Return the command that brings a module, which may be dotted."""
    top = module.partition(".")[0]
    if top in _ROS:
        distribution = os.environ.get("ROS_DISTRO")
        return f"apt install ros-{distribution}-{top.replace('_', '-')}" if distribution else _WITHOUT_ROS
    return f"pip install 'dcfm_ros[{_EXTRAS[top]}]'" if top in _EXTRAS else f"pip install {_NAMES.get(top, top)}"


_WITHOUT_ROS = "source the setup.bash of ROS 2, or pip install 'dcfm_ros[ros]' where there is none"


def why_not_loaded(error: ImportError) -> str:
    """Say which library what was started needs and could not load; empty where this package itself is at fault."""
    top = (error.name or "").partition(".")[0]
    if top == "dcfm_ros":
        return ""
    if isinstance(error, ModuleNotFoundError) and top:
        return f"needs the Python module {top}, which is not installed: {how_to_install(top)}"
    why = (str(error) or repr(error)).splitlines()[0]
    return f"needs a library that cannot be loaded ({why}): `dcfm doctor` says what to do"


def versions() -> dict[str, str]:
    """Return the versions of Python and of the installed libraries that results depend on, by name."""
    import cv2

    # OpenCV says its own: apt's and a vendor's builds are no distribution of Python's, and pip has four names for it.
    found = {"python": platform.python_version(), "opencv": cv2.__version__}
    for name in _DISTRIBUTIONS:
        if version := version_of(name):
            found[name] = version
    return found


def version_of(distribution: str) -> str:
    """Return the version of an installed distribution, as pip names it; empty where it is not installed."""
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return ""


def installed_of(distributions: tuple[str, ...]) -> tuple[str, ...]:
    """Return those of `distributions` that are installed."""
    return tuple(name for name in distributions if version_of(name))
