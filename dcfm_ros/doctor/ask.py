"""Asks `dcfm_ros.doctor.probe`, in a process of its own."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from dcfm_ros.processes import start

_TIMEOUT_S = 300.0


@dataclass(frozen=True)
class Answer:
    """facts: what was found out. error: why nothing was, as a sentence; missing: the module that is not installed."""

    facts: Mapping[str, Any] = field(default_factory=dict)
    error: str = ""
    missing: str = ""


def ask(question: str, *arguments: str) -> Answer:
    """Ask one question of the probe. Raises nothing: a process that crashed or hangs is an answer with an error."""
    command = [sys.executable, "-m", "dcfm_ros.doctor.probe", question, *arguments]
    process = start(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, errors="replace")
    try:
        told, complaints = process.communicate(timeout=_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        return Answer(error=f"did not answer within {_TIMEOUT_S:.0f} s")
    with suppress(ValueError):  # it ended before it had an answer
        if isinstance(facts := json.loads(told.strip().rpartition("\n")[2]), dict):
            return Answer(facts, facts.pop("error", ""), facts.pop("missing", ""))
    lines = [line for line in complaints.splitlines() if line.strip()]
    return Answer(error=f"{_ending(process.returncode)}: {lines[-1].strip()}" if lines else _ending(process.returncode))


def _ending(code: int) -> str:
    if code < 0:
        return f"the process crashed ({signal.Signals(-code).name})"
    return f"the process ended with exit code {code}"
