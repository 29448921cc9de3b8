"""The state of the process and its hardware, for diagnostics: from /proc, NVML and, on a Jetson, sysfs."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

_CUDA = re.compile(r"auto|cuda(?::(\d+))?")
_ZONE = re.compile(r"([a-z0-9]+)[-_]therm(?:al)?")
"""cpu-thermal on Orin, CPU-therm on older ones. Others are no sensors of the chip: PMIC-Die is a constant."""
_JETSON_GPUS = ("17000000.gpu", "17000000.ga10b", "17000000.gv11b", "17000000.gp10b", "57000000.gpu", "gpu-gpc-0")
"""In devfreq: Orin with JetPack 6, Orin before, Xavier, TX2, Nano and TX1, Thor."""
_SENSOR_IS_OFF = -256  # °C, said of a part that is not powered


@cache
def hardware_name(procfs: Path = Path("/proc")) -> str:
    """The board's model where a device tree tells it, as on a Jetson, else the CPU's."""
    with suppress(OSError, UnicodeDecodeError):
        return (procfs / "device-tree" / "model").read_text().strip("\0\n ")
    with suppress(OSError, UnicodeDecodeError):
        found = re.search(r"^(?:model name|Model)\s*:\s*(.+)$", (procfs / "cpuinfo").read_text(), re.MULTILINE)
        return found[1] if found else platform.machine()
    return platform.processor() or platform.machine()


def cpu_computes_in_bf16(procfs: Path = Path("/proc")) -> bool:
    """Whether the CPU has instructions for bfloat16; others convert every number to float32 and back."""
    try:
        flags = re.findall(r"^(?:flags|Features)\s*:\s*(.+)$", (procfs / "cpuinfo").read_text(), re.MULTILINE)
    except OSError:  # not Linux
        return False
    return bool(flags) and not {"avx512_bf16", "amx_bf16", "bf16"}.isdisjoint(flags[0].split())


def nvidia_driver(sysfs: Path = Path("/sys"), procfs: Path = Path("/proc")) -> str:
    """Return "driver 550.54.15" where the kernel drives an NVIDIA GPU, "Jetson" on one; empty where there is none.

    A container sees the driver too, even where it was not given the GPU.
    """
    if any((sysfs / "class" / "devfreq" / name).exists() for name in _JETSON_GPUS):
        return "Jetson"
    with suppress(OSError, UnicodeDecodeError):
        text = (procfs / "driver" / "nvidia" / "version").read_text()
        found = re.search(r"Kernel Module.*?\s(\d+(?:\.\d+)+)", text)
        return f"driver {found[1]}" if found else "driver of an unknown version"
    return ""


def read_hardware(device: str, sysfs: Path = Path("/sys"), procfs: Path = Path("/proc")) -> dict[str, str]:
    """Numbers by what they are of, with their unit in the name; what cannot be read is not there. Raises nothing.

    device: as `create_backend` takes it; "auto" stands for the first GPU. Always: memory_mb (resident) and threads of
    this process. With NVML (nvidia-ml-py) on CUDA: gpu_memory_used_mb, gpu_memory_total_mb, temperature_gpu_c,
    gpu_clock_mhz, gpu_utilization_percent. On a Jetson: the last three, temperature_<zone>_c of the other thermal
    zones, and ram_used_mb, ram_total_mb, which CPU and GPU share. MB are 10^6 bytes.
    """
    values = _of_process(procfs) | _of_jetson(sysfs, procfs) | _of_gpu(device)
    return {name: f"{value:.1f}".removesuffix(".0") for name, value in values.items()}


def _of_process(procfs: Path) -> dict[str, float]:
    fields = _fields(procfs / "self" / "status")
    values = {"memory_mb": fields["VmRSS"] * 1024 / 1e6} if "VmRSS" in fields else {}
    return values | ({"threads": fields["Threads"]} if "Threads" in fields else {})


def _of_jetson(sysfs: Path, procfs: Path) -> dict[str, float]:
    places = (sysfs / "class" / "devfreq" / name for name in _JETSON_GPUS)
    gpu = next((place for place in places if place.exists()), None)
    if gpu is None:
        return {}
    values = dict(_temperatures(sysfs))
    for name, path, unit in (
        ("gpu_clock_mhz", gpu / "cur_freq", 1e6),
        ("gpu_utilization_percent", gpu / "device" / "load", 10),  # of a thousand
    ):
        with suppress(OSError, ValueError):
            values[name] = int(path.read_text()) / unit
    memory = _fields(procfs / "meminfo")
    if memory.keys() >= {"MemTotal", "MemAvailable"}:
        values["ram_used_mb"] = (memory["MemTotal"] - memory["MemAvailable"]) * 1024 / 1e6
        values["ram_total_mb"] = memory["MemTotal"] * 1024 / 1e6
    return values


def _temperatures(sysfs: Path) -> Iterator[tuple[str, float]]:
    for zone in sorted((sysfs / "class" / "thermal").glob("thermal_zone*")):
        with suppress(OSError, ValueError):  # reading the zone of a part without power may fail
            name = _ZONE.fullmatch((zone / "type").read_text().strip().lower())
            celsius = int((zone / "temp").read_text()) / 1000
            if name and celsius > _SENSOR_IS_OFF:
                yield f"temperature_{name[1]}_c", celsius


def _of_gpu(device: str) -> dict[str, float]:
    cuda = _CUDA.fullmatch(device)
    handle = _nvml_handle(int(cuda[1] or 0)) if cuda else None
    if handle is None:
        return {}
    import pynvml

    values: dict[str, float] = {}
    for name, ask in {
        "gpu_memory_used_mb": lambda: pynvml.nvmlDeviceGetMemoryInfo(handle).used / 1e6,
        "gpu_memory_total_mb": lambda: pynvml.nvmlDeviceGetMemoryInfo(handle).total / 1e6,
        "temperature_gpu_c": lambda: pynvml.nvmlDeviceGetTemperature(handle, pynvml.NVML_TEMPERATURE_GPU),
        "gpu_clock_mhz": lambda: pynvml.nvmlDeviceGetClockInfo(handle, pynvml.NVML_CLOCK_SM),
        "gpu_utilization_percent": lambda: pynvml.nvmlDeviceGetUtilizationRates(handle).gpu,
    }.items():
        with suppress(Exception):  # a Jetson's NVML and a part of a GPU (MIG) do not know all of them
            values[name] = ask()
    return values


@cache
def _nvml_handle(index: int) -> Any:
    """Return NVML's handle of the GPU that CUDA counts as `index`, or None where there is no NVML.

    It is that GPU where CUDA counts as NVML does: by bus.
    """
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")
    try:
        import pynvml  # of nvidia-ml-py

        pynvml.nvmlInit()
        name = visible[index].strip() if any(visible) else str(index)
        if name.isdecimal():
            return pynvml.nvmlDeviceGetHandleByIndex(int(name))
        return pynvml.nvmlDeviceGetHandleByUUID(name)
    except Exception:  # not installed, no driver, or no such GPU
        return None


def _fields(path: Path) -> dict[str, int]:
    """The numbers in a file of lines such as `VmRSS: 1234 kB`."""
    with suppress(OSError, UnicodeDecodeError):
        return {name: int(number) for name, number in re.findall(r"^(\w+):\s+(\d+)\b", path.read_text(), re.MULTILINE)}
    return {}
