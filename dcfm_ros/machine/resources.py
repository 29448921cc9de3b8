"""Processors and memory that this process may use, limits of a container included."""

from __future__ import annotations

import os
import re
import shutil
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Resources:
    """The resources of the machine; None: not told here. Sizes are in bytes.

    processors: that this process may run on. quota: processors' worth of time that a container may take.
    shared_total, shared_free: of /dev/shm. foreign_shared: names of Fast DDS's files there that this user may not
    write. receive_buffer: the largest that a socket may ask for.
    """

    processors: int
    quota: float | None = None
    memory_total: int | None = None
    memory_free: int | None = None
    shared_total: int | None = None
    shared_free: int | None = None
    foreign_shared: tuple[str, ...] = ()
    receive_buffer: int | None = None


def read_resources(root: Path = Path("/")) -> Resources:
    """Read what the kernel tells. root: of /proc, /sys and /dev."""
    memory = _memory(root)
    shared = root / "dev" / "shm"
    usage = shutil.disk_usage(shared) if shared.is_dir() else None
    return Resources(
        processors=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        quota=_quota(root),
        memory_total=memory.get("MemTotal"),
        memory_free=memory.get("MemAvailable"),
        shared_total=usage and usage.total,
        shared_free=usage and usage.free,
        foreign_shared=_foreign(shared),
        receive_buffer=_number(root / "proc" / "sys" / "net" / "core" / "rmem_max"),
    )


def _memory(root: Path) -> dict[str, int]:
    """The machine's, or what the container may take where that is less."""
    text = _text(root / "proc" / "meminfo")
    memory = {name: int(number) * 1024 for name, number in re.findall(r"^(\w+):\s+(\d+) kB", text, re.MULTILINE)}
    for folder, limit_name, used_name in (
        ("sys/fs/cgroup", "memory.max", "memory.current"),
        ("sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes"),
    ):
        limit, used = _number(root / folder / limit_name), _number(root / folder / used_name)
        if limit is not None and limit < memory.get("MemTotal", 0):
            memory["MemTotal"] = limit
            memory["MemAvailable"] = min(memory.get("MemAvailable", limit), max(0, limit - (used or 0)))
    return memory


def _quota(root: Path) -> float | None:
    """Read the quota of cgroup version 2, or else version 1."""
    folder = root / "sys" / "fs" / "cgroup"
    quota, _, period = _text(folder / "cpu.max").strip().partition(" ")
    if not quota:
        quota, period = (_text(folder / "cpu" / f"cpu.cfs_{name}_us").strip() for name in ("quota", "period"))
    return int(quota) / int(period) if quota.isdecimal() and period.isdecimal() and int(period) else None


def _foreign(shared: Path) -> tuple[str, ...]:
    names = (path for pattern in ("fastrtps_*", "fastdds_*") for path in shared.glob(pattern))
    return tuple(sorted(path.name for path in names if not os.access(path, os.R_OK | os.W_OK)))


def _number(path: Path) -> int | None:
    text = _text(path).strip()
    return int(text) if text.isdecimal() else None


def _text(path: Path) -> str:
    with suppress(OSError, UnicodeDecodeError):
        return path.read_text()
    return ""
