"""Fixtures that several test packages share."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path

import hypothesis
import pytest
from browser import HAS_BROWSER

from dcfm_ros.cli.main import main

# The tests' tensors are small: on a machine that does other work as well, torch's threads would wait for each other.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# Hypothesis gives each example 200 ms, which a machine that does other work as well exceeds now and then.
hypothesis.settings.register_profile("unhurried", deadline=None)
hypothesis.settings.load_profile("unhurried")

# What a script starts in the background ignores Ctrl-C, and so does all that it starts: tests would wait for ever.
signal.signal(signal.SIGINT, signal.default_int_handler)

_MISSING = {
    "browser": "" if HAS_BROWSER else "there is no Chromium with its driver here; apt install chromium chromium-driver",
    "ray": "" if find_spec("ray") else "ray is not installed; it has no builds for this machine, or pip install ray",
}
"""What tests with a marker need and lack here."""


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for marker, missing in _MISSING.items():
        if missing:
            terminalreporter.write_line(f"Tests marked {marker} were deselected, as {missing}")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    lacking = [marker for marker, missing in _MISSING.items() if missing]
    unable = [item for item in items if any(map(item.get_closest_marker, lacking))]
    if unable:
        items[:] = [item for item in items if item not in unable]
        config.hook.pytest_deselected(items=unable)


@pytest.fixture(autouse=True)
def _own_threads() -> Iterator[None]:
    """Put torch's number of threads back: left at two by one test, it makes all training after it ten times slower."""
    yield
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))


@pytest.fixture(scope="session")
def shared_reference() -> Path:
    """Reference data made by the authors' code; it does not travel with the repository.

    That code carries no licence, so neither do its outputs. What it proves to the last digit has tests of its own
    elsewhere, so that a checkout without it leaves no part of the network untested.
    """
    path = Path(__file__).parents[2] / "shared" / "reference"
    if not path.is_dir():
        pytest.skip("the reference data is not beside this checkout")
    return path


@pytest.fixture
def called(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., subprocess.CompletedProcess[str]]:
    """`dcfm` as a user calls it, but in this process, which has torch loaded already."""

    def call(*arguments: str) -> subprocess.CompletedProcess[str]:
        monkeypatch.setattr(sys, "argv", ["dcfm", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        output = capsys.readouterr()
        assert isinstance(ended.value.code, int)
        return subprocess.CompletedProcess(arguments, ended.value.code, output.out, output.err)

    return call
