"""Energy from what a platform tells, and what a benchmark says of its machine."""

from __future__ import annotations

from pathlib import Path

import pytest

from dcfm_ros.cli.bench_machine import device_name, measured_energy, peak_memory_mb
from dcfm_ros.machine.libraries import versions


def write(root: Path, **files: str) -> Path:
    root.mkdir(parents=True)
    for name, text in files.items():
        (root / name).write_text(text)
    return root


def test_a_jetsons_monitors_give_volts_times_amperes_times_seconds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter([100.0, 104.0])
    monkeypatch.setattr("dcfm_ros.cli.bench_machine.time.monotonic", lambda: next(clock))
    write(tmp_path / "class/hwmon/hwmon0", name="coretemp\n", in1_input="9999\n", curr1_input="9999\n")
    monitor = write(
        tmp_path / "class/hwmon/hwmon3",
        name="ina3221\n",
        in1_input="5000\n",  # millivolts
        curr1_input="2000\n",  # milliamperes
        in2_input="19000\n",
        curr2_input="1000\n",
        in7_input="123\n",  # a sum without a current
    )
    with measured_energy(tmp_path) as energy:
        (monitor / "curr1_input").write_text("4000\n")
    assert energy.source == "INA3221"
    assert energy.joules == pytest.approx(((10 + 19) + (20 + 19)) / 2 * 4)


def test_a_cpus_counter_may_wrap(tmp_path: Path) -> None:
    zone = write(tmp_path / "class/powercap/intel-rapl:0", energy_uj="9000000\n", max_energy_range_uj="10000000\n")
    with measured_energy(tmp_path) as energy:
        (zone / "energy_uj").write_text("2500000\n")
    assert (energy.source, energy.joules) == ("RAPL", pytest.approx(3.5))


def test_where_nothing_tells_nothing_is_made_up(tmp_path: Path) -> None:
    with measured_energy(tmp_path) as energy:
        pass
    assert (energy.source, energy.joules) == ("", None)


def test_the_machine_has_a_name_versions_and_memory() -> None:
    assert device_name()
    assert {"python", "torch", "numpy"} <= versions().keys()
    assert 10 < peak_memory_mb() < 1e6
