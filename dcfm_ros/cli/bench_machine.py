"""What a benchmark ran on, and the memory it took."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import resource
import sys

from dcfm_ros.streaming.hardware import hardware_name

_LIBRARIES = ("torch", "onnxruntime", "onnxruntime-gpu", "openvino", "tensorrt", "opencv-python-headless", "numpy")


def device_name() -> str:
    """The GPU that torch sees, else the CPU, with its cores."""
    import torch

    cpu = f"{hardware_name()}, {os.cpu_count()} cores"
    return f"{torch.cuda.get_device_name()}, {cpu}" if torch.cuda.is_available() else cpu


def versions() -> dict[str, str]:
    """Of Python and of the libraries that are installed."""
    found = {"python": platform.python_version()}
    for name in _LIBRARIES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def peak_memory_mb() -> float:
    """The largest resident size of this process so far, in MB (10^6 bytes)."""
    kilobytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return kilobytes / 1e6 if sys.platform == "darwin" else kilobytes * 1024 / 1e6
