"""The machine that a benchmark ran on, and the memory that the run took."""

from __future__ import annotations

import os
import resource
import sys

from dcfm_ros.machine.hardware import hardware_name


def device_name() -> str:
    """The GPU that torch sees, else the CPU, with its cores."""
    import torch

    cpu = f"{hardware_name()}, {os.cpu_count()} cores"
    return f"{torch.cuda.get_device_name()}, {cpu}" if torch.cuda.is_available() else cpu


def peak_memory_mb() -> float:
    """The largest resident size of this process so far, in MB (10^6 bytes)."""
    kilobytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return kilobytes / 1e6 if sys.platform == "darwin" else kilobytes * 1024 / 1e6
