"""Versions of the Python packages that are installed, and how to install those that are not."""

from __future__ import annotations

import importlib.metadata
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
    "rclpy": "ros",
}
"""By a module's name: the extra of this package that brings it; see setup.cfg."""


def how_to_install(module: str) -> str:
    """Return the command that brings a module, which may be dotted, as pip takes it."""
    top = module.partition(".")[0]
    return f"pip install 'dcfm_ros[{_EXTRAS[top]}]'" if top in _EXTRAS else f"pip install {top}"


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
