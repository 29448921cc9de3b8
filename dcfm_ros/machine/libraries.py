"""Versions of the Python packages that are installed."""

from __future__ import annotations

import importlib.metadata
import platform

_DISTRIBUTIONS = ("torch", "onnxruntime", "onnxruntime-gpu", "openvino", "tensorrt", "numpy")


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
