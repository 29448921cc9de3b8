"""Processes that end with the one that started them, however that ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

HEAD = "import sys; from dcfm_ros.processes import end_with_parent, start; "
SIDE = "import os, pathlib; pathlib.Path(sys.argv[1]).write_text(str(os.getpid()))"
CHILDREN = {
    "that waits": f"{HEAD}import time; end_with_parent(); {SIDE}; time.sleep(600)",
    "that works": f"{HEAD}end_with_parent(); {SIDE}\nwhile True: pass",
    "that was begun anew": (
        f"{HEAD}import os, time\n"
        "again = [sys.executable, '-c', os.environ['CODE'], sys.argv[1], 'x']\n"
        "if len(sys.argv) == 2: os.execv(sys.executable, again)\n"
        f"end_with_parent(); {SIDE}; time.sleep(600)"
    ),
}


def wait_for(condition: Callable[[], object], what: str, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"waited {seconds} s for {what}"
        time.sleep(0.05)


def is_there(process: int) -> bool:
    try:
        return (Path("/proc") / str(process) / "stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.parametrize("child", CHILDREN)
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT], ids=lambda s: s.name)
def test_children_end_with_their_parent_however_that_ends(tmp_path: Path, child: str, how: signal.Signals) -> None:
    written = tmp_path / "child"
    parent_code = (
        f"{HEAD}import os, threading, time\n"
        "begin = lambda: start([sys.executable, '-c', os.environ['CODE'], sys.argv[1]], start_new_session=True)\n"
        "thread = threading.Thread(target=begin); thread.start(); thread.join(); time.sleep(600)"
    )
    environment = dict(os.environ, CODE=CHILDREN[child])
    with subprocess.Popen([sys.executable, "-c", parent_code, str(written)], env=environment) as parent:
        wait_for(lambda: written.is_file() and written.read_text(), "the child")
        process = int(written.read_text())
        assert is_there(process)
        parent.send_signal(how)
        parent.wait()
    wait_for(lambda: not is_there(process), "the child's end")


def test_a_process_of_a_process_is_not_taken_for_a_child(tmp_path: Path) -> None:
    """It inherits the variable and not the pipe: whatever has the pipe's number there is nothing to wait on."""
    code = (
        f"{HEAD}import os, subprocess, threading\n"
        "again = [sys.executable, '-c', os.environ['CODE'], sys.argv[1], 'x']\n"
        "if len(sys.argv) == 2: sys.exit(subprocess.call(again))\n"
        "end_with_parent(); sys.exit(threading.active_count() != 1)"
    )
    parent = f"{HEAD}import os; sys.exit(start([sys.executable, '-c', os.environ['CODE'], 'x']).wait())"
    done = subprocess.run([sys.executable, "-c", parent], env=dict(os.environ, CODE=code), timeout=60, check=False)
    assert done.returncode == 0
