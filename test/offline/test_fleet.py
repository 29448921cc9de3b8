"""Jobs side by side in processes: whatever becomes of one, the others are done, and nothing is done twice."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from interrupting import interrupt_when, interrupted_by

from dcfm_ros.offline.fleet import LOG, Job, LocalWorkers, Outcome, run_jobs

PROGRAM = """
import os, signal, sys, time
from pathlib import Path
what, folder, *options = sys.argv[1:]
folder = Path(folder)
with (folder / "calls").open("a") as calls:
    calls.write(" ".join(options) + "\\n")
(folder / "begun").touch()
if what == "fails":
    print("a first line\\nthe bag is broken")
    sys.exit(3)
if what == "crashes":
    os.kill(os.getpid(), signal.SIGKILL)
if what == "waits":
    signal.signal(signal.SIGINT, lambda *_: sys.exit(130))
    (folder / "listens").touch()
    time.sleep(60)
if what == "lingers":
    signal.signal(signal.SIGINT, lambda *_: (folder / "told").touch())
    (folder / "listens").touch()
    while not (folder / "may_end").exists():
        time.sleep(0.02)
    sys.exit(130)
"""


@pytest.fixture
def job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Job]:
    """Makes a job of a program that does what it is told, and writes down how it was called."""
    (tmp_path / "program.py").write_text(PROGRAM)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))

    def make(name: str, what: str = "works") -> Job:
        folder = tmp_path / "out" / name
        return Job(name, "program", (what, str(folder)), folder, {"what": ["works"]}, folder / "begun")

    return make


def done(jobs: Sequence[Job], threads: int = 1, on_outcome: Callable[[Outcome], None] = lambda outcome: None) -> list:
    """Two at a time."""
    return run_jobs(jobs, LocalWorkers(2, threads), on_outcome)


def calls(job: Job) -> list[str]:
    return (job.folder / "calls").read_text().splitlines()


def test_one_that_fails_or_crashes_does_not_end_the_others(job: Callable[..., Job]) -> None:
    jobs = [job("a", "fails"), job("b/c", "crashes"), job("d"), job("e"), replace(job("f"), module="missing")]
    told: list[Outcome] = []
    outcomes = done(jobs, on_outcome=told.append)
    assert [outcome.job.name for outcome in outcomes] == ["a", "b/c", "d", "e", "f"]
    assert [outcome.state for outcome in outcomes] == ["failed", "failed", "done", "done", "failed"]
    assert [outcome.reason for outcome in outcomes[:4]] == ["the bag is broken", "ended by SIGKILL", "", ""]
    assert "No module named missing" in outcomes[4].reason
    assert sorted(map(str, told)) == sorted(map(str, outcomes))
    assert "a first line" in (jobs[0].folder / LOG).read_text()


def test_a_folder_that_cannot_be_made_is_a_failure_of_its_job(job: Callable[..., Job], tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "a").write_text("no folder")
    failed, other = done([job("a"), job("b")])
    assert (failed.state, other.state) == ("failed", "done")
    assert str(tmp_path / "out" / "a") in failed.reason


def test_a_second_run_passes_over_what_is_done_and_goes_on_with_the_rest(job: Callable[..., Job]) -> None:
    first = [job("a"), job("b", "crashes"), job("c")]
    done(first, threads=2)
    second = [job("a"), job("b"), replace(job("c"), made_of={"what": ["other"]})]
    assert [outcome.state for outcome in done(second, threads=1)] == ["done before", "done", "done"]
    assert calls(second[0]) == ["--num-threads 2"]
    # What was begun goes on as begun, for its masks to be of one kind.
    assert calls(second[1]) == ["--num-threads 2", "--resume --num-threads 2"]
    assert calls(second[2]) == ["--num-threads 2", "--resume --num-threads 1"]
    assert [outcome.state for outcome in done(second)] == ["done before"] * 3


def test_an_interrupt_lets_jobs_end_themselves_and_begins_no_others(job: Callable[..., Job]) -> None:
    assert [outcome.state for outcome in done([job("d")])] == ["done"]
    jobs = [job("a", "waits"), job("b", "waits"), job("c"), job("d")]

    def both_listen() -> bool:
        return all((one.folder / "listens").exists() for one in jobs[:2])

    with interrupted_by(partial(interrupt_when, both_listen)):
        outcomes = done(jobs)
    assert [outcome.state for outcome in outcomes] == [*["interrupted"] * 3, "done before"]
    assert not jobs[2].folder.exists()
    jobs = [job("a"), job("b"), job("c")]
    assert [outcome.state for outcome in done(jobs)] == ["done"] * 3
    assert calls(jobs[0]) == ["--num-threads 1", "--resume --num-threads 1"]


def test_a_second_interrupt_changes_nothing(job: Callable[..., Job]) -> None:
    jobs = [job("a"), job("b", "lingers"), job("c", "lingers"), job("d")]

    def both_have(file: str) -> bool:
        return all((one.folder / file).exists() for one in jobs[1:3])

    def interrupt_twice() -> None:
        for file in ("listens", "told"):
            interrupt_when(partial(both_have, file))
        for one in jobs[1:3]:
            (one.folder / "may_end").touch()

    with interrupted_by(interrupt_twice):
        outcomes = done(jobs)
    assert [outcome.state for outcome in outcomes] == ["done", *["interrupted"] * 3]
