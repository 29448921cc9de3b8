"""One job for each of a fleet's recordings, side by side on one machine or over a Ray cluster.

A job runs a Python module that is a program, in a folder of its own: a note in it says how far the job has come, so
that a second run passes over what is done and continues with what is not. On a cluster all machines see the same files.
"""

from __future__ import annotations

import importlib
import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import redirect_stderr, redirect_stdout, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

from dcfm_ros.files import write_whole
from dcfm_ros.processes import start

State = Literal["done", "done before", "failed", "interrupted"]

NOTE, LOG = "job.json", "job.log"
_INTERRUPTED = 130
_MOST_RETRIES = 3
"""How often a job is begun again whose worker was lost."""


class FleetError(ValueError):
    """Jobs that cannot be run as asked; the message says what was expected."""


@dataclass(frozen=True)
class Job:
    """A job of a fleet: a program, and a folder for it alone.

    module: the program, as `python -m` takes it, whose `main()` reads sys.argv. made_of: JSON that distinguishes the
    job from another in the same folder. begun: a file by which a run that can be resumed is known; the program is then
    given --resume. has_threads: whether it is given --num-threads.
    """

    name: str
    module: str
    arguments: tuple[str, ...]
    folder: Path
    made_of: Mapping[str, Any]
    begun: Path | None = None
    has_threads: bool = True


@dataclass(frozen=True)
class Outcome:
    """The end of a job. reason: the last that it said, where it failed."""

    job: Job
    state: State
    seconds: float = 0.0
    reason: str = ""


class Workers(Protocol):
    """Who does jobs. at_once: how many."""

    at_once: int

    def submit(self, job: Job) -> Future[Outcome]: ...

    def interrupt(self) -> None:
        """Let jobs finish their files and end."""

    def close(self) -> None: ...


def run_jobs(jobs: Sequence[Job], workers: Workers, on_outcome: Callable[[Outcome], None]) -> list[Outcome]:
    """Do all jobs, whatever becomes of any of them; on_outcome is told of each, and they come back in their order.

    Ctrl-C interrupts those that run; they and those that have not begun are then "interrupted", unless they were done
    before.
    """
    outcomes: dict[str, Outcome] = {}

    def note(outcome: Outcome) -> None:
        outcomes[outcome.job.name] = outcome
        on_outcome(outcome)

    waiting = deque(jobs)
    running: dict[Future[Outcome], Job] = {}
    try:
        while waiting or running:
            while waiting and len(running) < workers.at_once:
                job = waiting.popleft()
                if _is_done(job):
                    note(Outcome(job, "done before"))
                else:
                    running[workers.submit(job)] = job
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                note(_outcome_of(future, running.pop(future)))
    except KeyboardInterrupt:
        workers.interrupt()
        while running:
            with suppress(KeyboardInterrupt):  # another: each job ends by itself
                future, job = next(iter(running.items()))
                outcome = _outcome_of(future, job)
                del running[future]
                note(outcome)
    finally:
        workers.close()
    return [outcomes.get(job.name) or Outcome(job, "done before" if _is_done(job) else "interrupted") for job in jobs]


class LocalWorkers:
    """Processes on this machine. threads: of each job's network."""

    def __init__(self, at_once: int, threads: int) -> None:
        self.at_once = at_once
        self._threads = threads
        self._pool = ThreadPoolExecutor(at_once)
        self._processes: set[subprocess.Popen[bytes]] = set()
        self._is_interrupted = threading.Event()

    def submit(self, job: Job) -> Future[Outcome]:
        return self._pool.submit(self._run, job)

    def interrupt(self) -> None:
        self._is_interrupted.set()
        for process in list(self._processes):
            process.send_signal(signal.SIGINT)

    def close(self) -> None:
        self._pool.shutdown()

    def _run(self, job: Job) -> Outcome:
        began = time.monotonic()
        arguments = _begin(job, self._threads)
        with (job.folder / LOG).open("wb") as log:
            # A session of its own: Ctrl-C reaches this program alone, which then ends each job once.
            command = [sys.executable, "-m", job.module, *arguments]
            process = start(command, stdout=log, stderr=log, start_new_session=True)
            self._processes.add(process)
            if self._is_interrupted.is_set():  # just before the process was one of those that are told
                process.send_signal(signal.SIGINT)
            code = process.wait()
            self._processes.discard(process)
        # One that is told while it starts ends in its own way.
        return _finish(job, _INTERRUPTED if code and self._is_interrupted.is_set() else code, time.monotonic() - began)


class RayWorkers:
    """Workers of a Ray cluster, each job inside of one: when a worker is lost, nothing of the job outlives it.

    address: of the cluster; empty: the one that runs here, or else a new one on this machine. at_once: None for as many
    as there is room for. threads: of each job's network; 0: the cluster's, divided. gpu: whether a job may have one.
    """

    def __init__(self, address: str, at_once: int | None, threads: int, gpu: bool) -> None:
        try:
            import ray
        except ModuleNotFoundError as error:
            raise FleetError("Ray is not installed; pip install 'dcfm_ros[ray]'") from error
        self._ray = ray
        self._is_ours = not ray.is_initialized()
        if self._is_ours:
            os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # a cluster begun here calls nobody
            ray.init(address or None, log_to_driver=False, logging_level=logging.ERROR)
        resources = ray.cluster_resources()
        of_one_machine = max(node["Resources"].get("CPU", 0) for node in ray.nodes() if node["Alive"])
        cpus = int(resources.get("CPU", 1))
        self.at_once = at_once or cpus
        self._threads = threads or max(1, min(cpus // self.at_once, int(of_one_machine)))
        self._call = ray.remote(_run_in_worker).options(
            num_cpus=self._threads,
            num_gpus=1 if gpu and resources.get("GPU") else 0,
            max_retries=_MOST_RETRIES,
        )
        self._refs: list[Any] = []

    def submit(self, job: Job) -> Future[Outcome]:
        self._refs.append(self._call.remote(job, self._threads))
        return self._refs[-1].future()

    def interrupt(self) -> None:
        for ref in self._refs:
            self._ray.cancel(ref)

    def close(self) -> None:
        if self._is_ours:
            self._ray.shutdown()


def _run_in_worker(job: Job, threads: int) -> Outcome:
    began = time.monotonic()
    arguments = _begin(job, threads)
    with (job.folder / LOG).open("w") as log, redirect_stdout(log), redirect_stderr(log):
        log.write(f"process {os.getpid()} on {os.uname().nodename}\n")
        log.flush()
        code = _called(job.module, arguments)
    return _finish(job, code, time.monotonic() - began)


def _called(module: str, arguments: Sequence[str]) -> int:
    """The exit code of a program that runs in this process."""
    sys.argv = [module, *arguments]
    try:
        importlib.import_module(module).main()
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    except KeyboardInterrupt:
        return _INTERRUPTED
    except Exception:
        traceback.print_exc()
        return 1
    return 0


def _begin(job: Job, threads: int) -> list[str]:
    """Note that the job is begun; return its arguments.

    A job that was begun before continues with as many threads: masks depend on them.
    """
    before = _note(job)
    if before.get("made_of") == job.made_of:
        threads = before["threads"]
    job.folder.mkdir(parents=True, exist_ok=True)
    _write_note(job, threads, is_done=False)
    goes_on = ["--resume"] if job.begun is not None and job.begun.exists() else []
    return [*job.arguments, *goes_on, *(["--num-threads", str(threads)] if job.has_threads else [])]


def _finish(job: Job, code: int, seconds: float) -> Outcome:
    if code == 0:
        _write_note(job, _note(job)["threads"], is_done=True)
        return Outcome(job, "done", seconds)
    if code == _INTERRUPTED:
        return Outcome(job, "interrupted", seconds)
    if code < 0:
        return Outcome(job, "failed", seconds, f"ended by {signal.Signals(-code).name}")
    lines = [line.strip() for line in (job.folder / LOG).read_text(errors="replace").splitlines() if line.strip()]
    return Outcome(job, "failed", seconds, lines[-1] if lines else f"ended with code {code}")


def _outcome_of(future: Future[Outcome], job: Job) -> Outcome:
    """Return the outcome of a job that is over; what kept it from being run is a reason too."""
    error = future.exception()
    if error is None:
        return future.result()
    reason = (str(error) or repr(error)).splitlines()[0]
    return Outcome(job, "interrupted" if type(error).__name__ == "TaskCancelledError" else "failed", 0.0, reason)


def _is_done(job: Job) -> bool:
    note = _note(job)
    return bool(note.get("is_done")) and note.get("made_of") == job.made_of


def _note(job: Job) -> dict[str, Any]:
    """Empty where there is none that can be read."""
    try:
        return json.loads((job.folder / NOTE).read_text())
    except (OSError, ValueError):
        return {}


def _write_note(job: Job, threads: int, is_done: bool) -> None:
    note = {"made_of": dict(job.made_of), "threads": threads, "is_done": is_done}
    write_whole(job.folder / NOTE, json.dumps(note, indent=2) + "\n")
