"""What a benchmark ran on, the memory it took, and the energy where the platform tells it without root."""

from __future__ import annotations

import os
import resource
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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


@dataclass
class Energy:
    """joules: over the measured time; None where nothing tells. source: who told."""

    joules: float | None = None
    source: str = ""


@contextmanager
def measured_energy(sysfs: Path = Path("/sys")) -> Iterator[Energy]:
    """The energy of what runs inside: NVML's counter of a GPU, a Jetson's INA3221 monitors, or the CPU's RAPL counter
    where this user may read it. What a monitor tells is power, here taken before and after: good for a steady load.
    """
    energy = Energy()
    meter = _nvml() or _ina3221(sysfs) or _rapl(sysfs)
    if meter is None:
        yield energy
        return
    before, began = meter.read(), time.monotonic()
    yield energy
    after, seconds = meter.read(), time.monotonic() - began
    energy.source = meter.name
    energy.joules = (before + after) / 2 * seconds if meter.is_power else (after - before) % meter.wraps_at


@dataclass(frozen=True)
class _Meter:
    """read: joules since whenever, or watts where is_power. wraps_at: where the counter of joules begins anew."""

    name: str
    read: Any
    is_power: bool = False
    wraps_at: float = float("inf")


def _nvml() -> _Meter | None:
    try:
        import pynvml  # of nvidia-ml-py

        pynvml.nvmlInit()
        handle = pynvml.nvmlDeviceGetHandleByIndex(0)
        pynvml.nvmlDeviceGetTotalEnergyConsumption(handle)
    except Exception:  # not installed, no driver, or a GPU without the counter
        return None
    return _Meter("NVML", lambda: pynvml.nvmlDeviceGetTotalEnergyConsumption(handle) / 1e3)


def _ina3221(sysfs: Path) -> _Meter | None:
    """Of a Jetson: the sum over its channels of volts times amperes."""
    monitors = [path.parent for path in sysfs.glob("class/hwmon/hwmon*/name") if path.read_text().strip() == "ina3221"]
    pairs = [
        (voltage, current)
        for monitor in monitors
        for voltage in sorted(monitor.glob("in[0-9]_input"))
        if (current := monitor / f"curr{voltage.name[2]}_input").exists()
    ]
    if not pairs:
        return None

    def watts() -> float:
        return sum(int(voltage.read_text()) * int(current.read_text()) for voltage, current in pairs) / 1e6

    return _Meter("INA3221", watts, is_power=True)


def _rapl(sysfs: Path) -> _Meter | None:
    zone = sysfs / "class" / "powercap" / "intel-rapl:0"
    try:
        wraps_at = int((zone / "max_energy_range_uj").read_text()) / 1e6
        (zone / "energy_uj").read_text()
    except (OSError, ValueError):
        return None
    return _Meter("RAPL", lambda: int((zone / "energy_uj").read_text()) / 1e6, wraps_at=wraps_at)
