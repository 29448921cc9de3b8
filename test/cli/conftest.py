"""Calling `dcfm` within the tests' own process."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

import pytest

from dcfm_ros.cli.main import main


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
        return subprocess.CompletedProcess(arguments, ended.value.code, output.out, output.err)

    return call
