"""What is read of a made-up machine: memory and processors with a container's limits, shared memory, profiles."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from dcfm_ros.machine.fast_dds import DEFAULT_SEGMENT, PROFILE_VARIABLES, ProfileError, profile_in_use, shipped_profile
from dcfm_ros.machine.hardware import nvidia_driver
from dcfm_ros.machine.resources import read_resources
from dcfm_ros.machine.share import share_file


def write(root: Path, **files: str) -> Path:
    """Keys are paths with __ for a slash, and _DOT_ for a dot."""
    for name, text in files.items():
        path = root / name.replace("__", "/").replace("_DOT_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def test_a_machine_without_limits_has_all_of_its_memory(tmp_path: Path) -> None:
    write(tmp_path, proc__meminfo="MemTotal: 8000000 kB\nMemFree: 1 kB\nMemAvailable: 4000000 kB\n")
    write(tmp_path, sys__fs__cgroup__cpu_DOT_max="max 100000\n", sys__fs__cgroup__memory_DOT_max="max\n")
    (tmp_path / "dev" / "shm").mkdir(parents=True)
    found = read_resources(tmp_path)
    assert (found.memory_total, found.memory_free) == (8_192_000_000, 4_096_000_000)
    assert found.quota is None and found.processors >= 1
    assert found.shared_total and found.shared_free is not None and found.foreign_shared == ()
    assert found.receive_buffer is None


@pytest.mark.parametrize("version", [1, 2])
def test_a_containers_limits_go_before_the_machines(tmp_path: Path, version: int) -> None:
    write(tmp_path, proc__meminfo="MemTotal: 8000000 kB\nMemAvailable: 4000000 kB\n")
    if version == 2:
        write(tmp_path, sys__fs__cgroup__cpu_DOT_max="250000 100000\n")
        write(tmp_path, sys__fs__cgroup__memory_DOT_max="2000000000\n")
        write(tmp_path, sys__fs__cgroup__memory_DOT_current="500000000\n")
    else:
        write(tmp_path, sys__fs__cgroup__cpu__cpu_DOT_cfs_quota_us="250000\n")
        write(tmp_path, sys__fs__cgroup__cpu__cpu_DOT_cfs_period_us="100000\n")
        write(tmp_path, sys__fs__cgroup__memory__memory_DOT_limit_in_bytes="2000000000\n")
        write(tmp_path, sys__fs__cgroup__memory__memory_DOT_usage_in_bytes="500000000\n")
    found = read_resources(tmp_path)
    assert (found.quota, found.memory_total, found.memory_free) == (2.5, 2_000_000_000, 1_500_000_000)


def test_where_nothing_is_told_nothing_is_made_up(tmp_path: Path) -> None:
    found = read_resources(tmp_path)
    assert (found.quota, found.memory_total, found.shared_total, found.receive_buffer) == (None, None, None, None)


def test_shared_memory_of_another_user_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, dev__shm__fastrtps_port7410="", dev__shm__fastrtps_mine="", dev__shm__other="")
    monkeypatch.setattr(os, "access", lambda path, mode: "mine" in str(path))  # root may write everything
    assert read_resources(tmp_path).foreign_shared == ("fastrtps_port7410",)


def test_an_nvidia_driver_and_a_jetson_are_told_apart(tmp_path: Path) -> None:
    folders = {"sysfs": tmp_path / "sys", "procfs": tmp_path / "proc"}
    assert nvidia_driver(**folders) == ""
    version = "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  550.54.15  Release Build\nGCC version: 13.2.0\n"
    write(tmp_path, proc__driver__nvidia__version=version)
    assert nvidia_driver(**folders) == "driver 550.54.15"
    (tmp_path / "sys" / "class" / "devfreq" / "17000000.gpu").mkdir(parents=True)
    assert nvidia_driver(**folders) == "Jetson"


# Profiles of Fast DDS


def test_without_a_profile_there_is_fast_dds_own_segment() -> None:
    profile = profile_in_use({})
    assert (profile.path, profile.segment) == (None, DEFAULT_SEGMENT)


@pytest.mark.parametrize("name", PROFILE_VARIABLES)
def test_the_shipped_profile_has_room_for_images(name: str) -> None:
    path = shipped_profile()
    assert path is not None
    assert profile_in_use({name: str(path)}).segment == 64 << 20


@pytest.mark.parametrize(
    "inside, segment",
    [
        ("<profiles/>", DEFAULT_SEGMENT),
        ("<useBuiltinTransports>false</useBuiltinTransports>", 0),
        ("<transport_descriptor><type>SHM</type></transport_descriptor>", DEFAULT_SEGMENT),
        ("<transport_descriptor><type>SHM</type><segment_size> 1000 </segment_size></transport_descriptor>", 1000),
    ],
)
def test_a_users_profile_is_read(tmp_path: Path, inside: str, segment: int) -> None:
    path = tmp_path / "mine.xml"
    path.write_text(f'<dds xmlns="http://www.eprosima.com">{inside}</dds>')
    assert profile_in_use({PROFILE_VARIABLES[0]: str(path)}).segment == segment


@pytest.mark.parametrize(
    "text",
    ["<dds>", "<transport_descriptor><type>SHM</type><segment_size>much</segment_size></transport_descriptor>"],
)
def test_a_profile_that_is_none_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "mine.xml"
    path.write_text(text)
    with pytest.raises(ProfileError, match=r"mine\.xml"):
        profile_in_use({PROFILE_VARIABLES[1]: str(path)})


def test_an_installed_file_is_found_where_colcon_puts_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    installed = tmp_path / "share" / "dcfm_ros" / "config" / "of_colcon.xml"
    installed.parent.mkdir(parents=True)
    installed.touch()
    monkeypatch.setenv("AMENT_PREFIX_PATH", f"/opt/ros/jazzy{os.pathsep}{tmp_path}")
    assert share_file("config", "of_colcon.xml") == installed
    assert share_file("config", "none.xml") is None
