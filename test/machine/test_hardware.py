"""What is read of hardware: from made-up trees of /sys and /proc, and a double of NVML. No GPU is needed."""

from __future__ import annotations

import importlib
import mmap
import platform
import subprocess
import sys
import threading
import types
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

JETSONS = ("17000000.gpu", "17000000.ga10b", "17000000.gv11b", "17000000.gp10b", "57000000.gpu", "gpu-gpc-0")
NVML_KEYS = {
    "gpu_memory_used_mb",
    "gpu_memory_total_mb",
    "temperature_gpu_c",
    "gpu_clock_mhz",
    "gpu_utilization_percent",
}


def write(root: Path, files: Mapping[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


@pytest.fixture
def hardware(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The module as at the start of a process: it initialises NVML once."""
    monkeypatch.delitem(sys.modules, "dcfm_ros.machine.hardware", raising=False)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setitem(sys.modules, "pynvml", None)  # not installed, wherever this runs
    return importlib.import_module("dcfm_ros.machine.hardware")


class Nvml(types.ModuleType):
    """pynvml of two GPUs, whose figures tell which one was asked. missing: what is not supported."""

    NVML_TEMPERATURE_GPU = 0
    NVML_CLOCK_SM = 1

    def __init__(self, missing: tuple[str, ...] = ()) -> None:
        super().__init__("pynvml")
        self.missing = missing
        self.initialised = 0

    def nvmlInit(self) -> None:
        self.initialised += 1

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:
        if index not in (0, 1):
            raise RuntimeError("Invalid Argument")
        return index

    def nvmlDeviceGetHandleByUUID(self, uuid: str) -> int:
        return {"GPU-aaaa": 0, "GPU-bbbb": 1}[uuid]

    def nvmlDeviceGetMemoryInfo(self, handle: int) -> types.SimpleNamespace:
        self._ask("memory")
        return types.SimpleNamespace(used=3_456_700_000 + handle * 10**9, total=85_000_000_000)

    def nvmlDeviceGetTemperature(self, handle: int, sensor: int) -> int:
        assert sensor == self.NVML_TEMPERATURE_GPU
        self._ask("temperature")
        return 51 + handle

    def nvmlDeviceGetClockInfo(self, handle: int, clock: int) -> int:
        assert clock == self.NVML_CLOCK_SM
        self._ask("clock")
        return 1980 + handle

    def nvmlDeviceGetUtilizationRates(self, handle: int) -> types.SimpleNamespace:
        self._ask("utilization")
        return types.SimpleNamespace(gpu=37 + handle, memory=5)

    def _ask(self, what: str) -> None:
        if what in self.missing:
            raise RuntimeError("Not Supported")


def test_the_process_tells_its_memory_and_threads(hardware: Any, tmp_path: Path) -> None:
    status = (
        "Name:\tpython3\nUmask:\t0022\nVmPeak:\t 900000 kB\nVmRSS:\t  500000 kB\nRssAnon:\t 400000 kB\nThreads:\t17\n"
    )
    procfs = write(tmp_path, {"self/status": status})
    assert hardware.read_hardware("cpu", tmp_path, procfs) == {"memory_mb": "512", "threads": "17"}


def test_the_running_process_is_read(hardware: Any) -> None:
    before = hardware.read_hardware("cpu")
    end = threading.Event()
    thread = threading.Thread(target=end.wait)
    thread.start()
    ballast = mmap.mmap(-1, 100_000_000)  # new memory, which an array need not be: what is freed may be kept
    ballast.write(b"1" * len(ballast))
    after = hardware.read_hardware("cpu")
    end.set()
    thread.join()
    assert int(after["threads"]) == int(before["threads"]) + 1
    grown = float(after["memory_mb"]) - float(before["memory_mb"])
    assert 0.7 < grown / (len(ballast) / 1e6) < 1.3  # the rest is what other tests' threads do meanwhile


@pytest.mark.parametrize("name", JETSONS)
def test_a_jetson_tells_temperatures_clock_load_and_the_memory_it_shares(
    hardware: Any, tmp_path: Path, name: str
) -> None:
    sysfs = write(
        tmp_path / "sys",
        {
            f"class/devfreq/{name}/cur_freq": "1020000000\n",
            f"class/devfreq/{name}/device/load": "425\n",
            "class/devfreq/15480000.nvdec/cur_freq": "5\n",
            "class/thermal/thermal_zone0/type": "cpu-thermal\n",
            "class/thermal/thermal_zone0/temp": "51531\n",
            "class/thermal/thermal_zone1/type": "GPU-therm\n",
            "class/thermal/thermal_zone1/temp": "-500\n",
            "class/thermal/thermal_zone2/type": "soc0-thermal\n",
            "class/thermal/thermal_zone2/temp": "49000\n",
            "class/thermal/thermal_zone3/type": "PMIC-Die\n",
            "class/thermal/thermal_zone3/temp": "50000\n",
            "class/thermal/thermal_zone4/type": "cv0-thermal\n",
            "class/thermal/thermal_zone4/temp": "-256000\n",
            "class/thermal/thermal_zone5/type": "tj-thermal\n",
            "class/thermal/thermal_zone5/temp": "\n",
        },
    )
    procfs = write(
        tmp_path / "proc", {"meminfo": "MemTotal:  1000000 kB\nMemFree:  50000 kB\nMemAvailable:  250000 kB\n"}
    )
    assert hardware.read_hardware("cuda:0", sysfs, procfs) == {
        "temperature_cpu_c": "51.5",
        "temperature_gpu_c": "-0.5",
        "temperature_soc0_c": "49",
        "gpu_clock_mhz": "1020",
        "gpu_utilization_percent": "42.5",
        "ram_used_mb": "768",
        "ram_total_mb": "1024",
    }


def test_a_jetson_without_power_in_its_gpu_tells_the_rest(hardware: Any, tmp_path: Path) -> None:
    zone = "class/thermal/thermal_zone0"
    write(tmp_path, {"class/devfreq/17000000.gpu/cur_freq": "306000000\n", f"{zone}/type": "gpu-thermal\n"})
    (tmp_path / zone / "temp").mkdir()  # reading fails, as the kernel's "resource temporarily unavailable" does
    assert hardware.read_hardware("cuda", tmp_path, tmp_path) == {"gpu_clock_mhz": "306"}


def test_other_boards_zones_are_left_alone(hardware: Any, tmp_path: Path) -> None:
    sysfs = write(
        tmp_path, {"class/thermal/thermal_zone0/type": "cpu-thermal", "class/thermal/thermal_zone0/temp": "1"}
    )
    assert hardware.read_hardware("cpu", sysfs, tmp_path) == {}


@pytest.mark.parametrize(
    "files",
    [
        {},
        {"self/status": "VmRSS:\tmuch\nThreads:\n", "meminfo": "", "class/devfreq/17000000.gpu/cur_freq": "fast"},
        {"self/status/x": "", "meminfo/x": "", "class/devfreq/17000000.gpu": "", "class/thermal": ""},
    ],
    ids=["nothing", "no numbers", "other kinds of files"],
)
def test_what_cannot_be_read_is_not_there(hardware: Any, tmp_path: Path, files: dict[str, str]) -> None:
    assert hardware.read_hardware("cuda:0", write(tmp_path, files), tmp_path) == {}
    assert hardware.read_hardware("nonsense:-1", tmp_path, tmp_path) == {}


@pytest.mark.parametrize(
    ("device", "visible", "gpu"),
    [
        ("cuda", None, 0),
        ("auto", None, 0),
        ("cuda:1", None, 1),
        ("cuda:0", "1", 1),
        ("cuda:1", "1,0", 0),
        ("cuda", "GPU-bbbb", 1),
        ("cuda:2", None, None),
        ("cuda:1", "0", None),
        ("cpu", None, None),
        ("gpu", None, None),
    ],
)
def test_nvml_tells_of_the_gpu_that_is_meant(
    hardware: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, device: str, visible: str | None, gpu: int | None
) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", Nvml())
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    expected = {
        "gpu_memory_used_mb": f"{3456.7 + 1000 * (gpu or 0)}",
        "gpu_memory_total_mb": "85000",
        "temperature_gpu_c": f"{51 + (gpu or 0)}",
        "gpu_clock_mhz": f"{1980 + (gpu or 0)}",
        "gpu_utilization_percent": f"{37 + (gpu or 0)}",
    }
    assert expected.keys() == NVML_KEYS
    assert hardware.read_hardware(device, tmp_path, tmp_path) == ({} if gpu is None else expected)


def test_what_nvml_does_not_support_is_left_to_the_jetson(
    hardware: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", Nvml(missing=("memory", "utilization", "clock")))
    sysfs = write(
        tmp_path,
        {"class/devfreq/17000000.gpu/cur_freq": "1020000000", "class/devfreq/17000000.gpu/device/load": "990"},
    )
    assert hardware.read_hardware("cuda", sysfs, tmp_path) == {
        "gpu_clock_mhz": "1020",
        "gpu_utilization_percent": "99",
        "temperature_gpu_c": "51",
    }


def test_nvml_is_initialised_once(hardware: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nvml = Nvml()
    monkeypatch.setitem(sys.modules, "pynvml", nvml)
    for _ in range(3):
        assert hardware.read_hardware("cuda", tmp_path, tmp_path).keys() == NVML_KEYS
    assert nvml.initialised == 1


@pytest.mark.parametrize(
    ("files", "name"),
    [
        ({"device-tree/model": "NVIDIA Jetson AGX Orin Developer Kit\0"}, "NVIDIA Jetson AGX Orin Developer Kit"),
        ({"cpuinfo": "processor\t: 0\nmodel\t\t: 17\nmodel name\t: AMD EPYC 9\nmodel name\t: other\n"}, "AMD EPYC 9"),
        ({"cpuinfo": "processor\t: 0\nRevision\t: b03115\nModel\t\t: Raspberry Pi 4\n"}, "Raspberry Pi 4"),
        ({"cpuinfo": "processor\t: 0\n"}, platform.machine()),
        ({}, platform.processor() or platform.machine()),
    ],
)
def test_the_hardware_has_a_name(hardware: Any, tmp_path: Path, files: dict[str, str], name: str) -> None:
    assert hardware.hardware_name(write(tmp_path, files)) == name


def test_neither_torch_nor_ros_is_needed() -> None:
    script = "import sys; import dcfm_ros.machine.hardware; print({'torch', 'rclpy', 'pynvml'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout.strip()) == (0, "set()"), done.stderr


@pytest.mark.parametrize(
    ("cpuinfo", "computes"),
    [
        ("flags\t\t: fpu avx2 avx512f avx512_bf16\n", True),
        ("flags\t\t: fpu amx_bf16 avx512f\n", True),
        ("Features\t: fp asimd bf16 i8mm\n", True),
        ("flags\t\t: fpu avx2 avx512f avx512_vnni\n", False),
        ("processor\t: 0\n", False),
    ],
)
def test_a_cpu_with_instructions_for_bfloat16_is_told_from_others(
    hardware: Any, tmp_path: Path, cpuinfo: str, computes: bool
) -> None:
    write(tmp_path, {"cpuinfo": cpuinfo})
    assert hardware.cpu_computes_in_bf16(tmp_path) is computes


def test_without_proc_no_cpu_is_taken_to_compute_in_bfloat16(hardware: Any, tmp_path: Path) -> None:
    assert not hardware.cpu_computes_in_bf16(tmp_path / "none")
