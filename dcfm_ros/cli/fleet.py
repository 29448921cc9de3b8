"""`--jobs N` and `--ray [ADDRESS]`: a command for every recording below a folder, side by side."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial, wraps
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from dcfm_ros import __version__
from dcfm_ros.cli.sizes import SizeType
from dcfm_ros.files import files_under, sha256_of
from dcfm_ros.machine.resources import read_resources
from dcfm_ros.offline.fleet import LOG, Job, LocalWorkers, Outcome, RayWorkers, Workers, run_jobs
from dcfm_ros.offline.run_file import fingerprint
from dcfm_ros.recordings.find import find_recordings
from dcfm_ros.weights import DEFAULT_WEIGHTS

_NOT_HANDED_ON = ("path", "output", "jobs", "ray", "num_threads", "resume")


def over_a_fleet(
    refusal: Callable[[Mapping[str, Any]], str],
    begun: str | None = None,
    finish: Callable[[Path, Sequence[Outcome]], None] = lambda output, outcomes: None,
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Gives a command with INPUT, --output, --weights, --device and --num-threads the options --jobs and --ray.

    With either, INPUT is a folder, and the command runs for each recording below it, with --output at the recording's
    path below --output. refusal: what is wrong with the command's values, or nothing. begun: the file in --output that
    --resume continues from. finish: called with --output and what became of all.
    """

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        @click.option(
            "--jobs", type=click.IntRange(1, 1024), help="INPUT is a folder of recordings: process each, N at a time."
        )
        @click.option(
            "--ray",
            is_flag=False,
            flag_value="",
            metavar="[ADDRESS]",
            help="Like --jobs, on the Ray cluster at ADDRESS; without ADDRESS on one that runs here, or a new one. Its "
            "machines must see the same files.",
        )
        @wraps(command)
        def with_fleet(jobs: int | None, ray: str | None, **values: Any) -> Any:
            if jobs is None and ray is None:
                return command(**values)
            if said := refusal(values):
                raise click.UsageError(f"{said} with --jobs or --ray")
            made = _jobs(click.get_current_context(), values, begun)
            outcomes = _run(made, jobs, ray, values["num_threads"], gpu=values["device"] != "cpu")
            finish(values["output"], outcomes)
            _tell(outcomes)

        return with_fleet

    return decorate


def _jobs(context: click.Context, values: Mapping[str, Any], begun: str | None) -> list[Job]:
    path, output = values["path"].resolve(), values["output"].resolve()
    handed_on = _handed_on(context)
    weights = sha256_of(files_under(Path(values["weights"] or DEFAULT_WEIGHTS)))
    jobs = []
    for recording in find_recordings(path, leave_out=[output]):
        name = recording.relative_to(path)
        folder = output / name
        jobs.append(
            Job(
                name=str(name),
                module="dcfm_ros.cli.main",
                arguments=(str(context.info_name), str(recording), "--output", str(folder), *handed_on),
                folder=folder,
                made_of={
                    "input": fingerprint(recording),
                    "arguments": handed_on,
                    "weights": weights,
                    "dcfm_ros": __version__,
                },
                begun=folder / begun if begun else None,
                has_threads=not values.get("recorded"),
            )
        )
    return jobs


def _handed_on(context: click.Context) -> list[str]:
    """The options that were given, as words again; paths hold wherever a job runs."""
    words: list[str] = []
    for option in context.command.params:
        name = str(option.name)
        if name in _NOT_HANDED_ON or context.get_parameter_source(name) is ParameterSource.DEFAULT:
            continue
        value = context.params[name]
        words.append(option.opts[0])
        if isinstance(option.type, click.Path):
            words.append(str(Path(value).resolve()))
        elif isinstance(option.type, SizeType):
            words.append("x".join(map(str, value)))
        elif isinstance(value, list):
            words.append(",".join(map(str, value)))
        elif not getattr(option, "is_flag", False):
            words.append(str(value))
    return words


def _run(jobs: Sequence[Job], at_once: int | None, ray: str | None, threads: int, gpu: bool) -> list[Outcome]:
    workers: Workers
    if ray is None:
        assert at_once is not None
        workers = LocalWorkers(at_once, threads or max(1, read_resources().processors // at_once))
    else:
        workers = RayWorkers(ray, at_once, threads, gpu)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, transient=True) as progress:
        task = progress.add_task("recordings", total=len(jobs))
        advance = partial(progress.advance, task)
        return run_jobs(jobs, workers, lambda outcome: advance())


def _tell(outcomes: Sequence[Outcome]) -> None:
    """A table, and the exit code: 1 where a recording failed, 130 after Ctrl-C."""
    table = Table(header_style="bold")
    for column in ("recording", "", "seconds", "why"):
        table.add_column(column, justify="right" if column == "seconds" else "left", overflow="fold")
    for outcome in outcomes:
        why = f"{outcome.reason} ({outcome.job.folder / LOG})" if outcome.reason else ""
        seconds = f"{outcome.seconds:.1f}" if outcome.seconds else ""
        table.add_row(outcome.job.name, outcome.state, seconds, why)
    Console().print(table, markup=False)
    states = [outcome.state for outcome in outcomes]
    if "interrupted" in states:
        sys.exit(130)
    if "failed" in states:
        click.echo(f"{states.count('failed')} of {len(states)} recordings failed", err=True)
        sys.exit(1)
