"""`dcfm segment` where a run goes on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest
from interrupting import interrupt_at
from report_inputs import with_small_network, write_folder

Call = Callable[..., CompletedProcess[str]]
FRAMES = 8


@pytest.fixture
def drive(tmp_path: Path) -> Path:
    return write_folder(tmp_path / "drive", FRAMES, labelled=False)


@pytest.fixture
def segmented(called: Call, tmp_path: Path) -> Call:
    """`dcfm segment` with a small network."""
    network = [*with_small_network(tmp_path), "--device", "cpu", "--num-threads", "1"]
    return lambda *arguments: called("segment", *map(str, arguments), *network)


def test_a_run_goes_on_that_writes_into_the_recordings_own_folder(
    segmented: Call, drive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = ["--output", drive / "segmented", "--save", "masks"]
    with monkeypatch.context() as patch:
        interrupt_at(patch, 4)
        assert segmented(drive, *options).returncode == 130
    done = segmented(drive, *options, "--resume")
    assert done.returncode == 0, done.stderr
    assert len(list((drive / "segmented" / "masks").iterdir())) == FRAMES


def test_to_resume_is_advised_where_that_can_be(
    segmented: Call, tmp_path: Path, drive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for kinds, can_go_on in (("masks", True), ("csv", False)):
        with monkeypatch.context() as patch:
            interrupt_at(patch, 3)
            done = segmented(drive, "--output", tmp_path / kinds, "--save", kinds)
        assert done.returncode == 130
        assert "interrupted after" in done.stdout
        assert ("--resume continues" in done.stdout) == can_go_on
