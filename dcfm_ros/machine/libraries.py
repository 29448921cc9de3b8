"""Versions of the Python packages that are installed; none is imported."""

from __future__ import annotations

import importlib.metadata
import platform

_DISTRIBUTIONS = ("torch", "onnxruntime", "onnxruntime-gpu", "openvino", "tensorrt", "opencv-python-headless", "numpy")


def versions() -> dict[str, str]:
    """Return the versions of Python and of the installed libraries that results depend on, by name."""
    found = {"python": platform.python_version()}
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
