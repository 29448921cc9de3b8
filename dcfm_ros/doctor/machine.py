"""Devices, processors and memory."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping
from typing import Any

from dcfm_ros.doctor.line import Line
from dcfm_ros.machine.hardware import hardware_name
from dcfm_ros.machine.resources import Resources

SECTION = "Machine"
_ENOUGH_MEMORY = 1_000_000_000
"""Bytes: a node with PyTorch loaded takes about half of this, and a build of engines more."""


def check_machine(
    resources: Resources, driver: str, torch: Mapping[str, Any], openvino: Mapping[str, Any], threads: int
) -> Iterator[Line]:
    """Judge what the machine has. torch, openvino: the probe's facts; threads: asked for, 0 for a backend's choice."""
    yield Line(SECTION, "CPU", "ok", f"{hardware_name()}, {os.cpu_count()} cores")
    gpus = [device["name"] for device in torch.get("devices", ())]
    gpus += [name for device, name in openvino.get("devices", {}).items() if device.startswith("GPU")]
    unused = f"NVIDIA, {driver}; no library here sees it" if driver else "none"
    yield Line(SECTION, "GPU", "ok" if gpus or not driver else "note", ", ".join(gpus) or unused)
    yield _threads(resources, threads)
    if resources.memory_total is None or resources.memory_free is None:
        return
    told = f"{resources.memory_total / 1e9:.1f} GB, {resources.memory_free / 1e9:.1f} GB of it free"
    if resources.memory_free < _ENOUGH_MEMORY:
        remedy = "end other programs, or give the container more; the node wants 1 GB"
        yield Line(SECTION, "Memory", "warning", told, remedy)
    else:
        yield Line(SECTION, "Memory", "ok", told)


def _threads(resources: Resources, threads: int) -> Line:
    usable = resources.processors
    told = f"{usable} of {os.cpu_count()} cores may be used"
    if resources.quota is not None and resources.quota < usable:
        usable = max(1, math.floor(resources.quota))
        told += f", for the time of {resources.quota:g}: the container's limit"
        if not 0 < threads <= usable:
            remedy = f"set num_threads to {usable} (here: --num-threads {usable}), or threads wait for each other"
            return Line(SECTION, "Threads", "warning", told, remedy)
    if threads > usable:
        return Line(SECTION, "Threads", "warning", f"{told}; {threads} threads were asked for", f"ask for {usable}")
    if "OMP_NUM_THREADS" in os.environ:
        told += f"; OMP_NUM_THREADS is {os.environ['OMP_NUM_THREADS']}, which PyTorch follows"
    return Line(SECTION, "Threads", "ok", told)
