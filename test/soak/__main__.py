"""`python -m soak`: run every phase, write what was seen, and say what was wrong."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from soak.judge import End, Sample, judge
from soak.output import table, write_charts, write_csv
from soak.phases import PHASES, run, use_shared_memory

_LEAST_TRIPS = 100


@click.command()
@click.option("--minutes", type=click.FloatRange(min=0, min_open=True), default=20.0, show_default=True)
@click.option("--seed", type=int, default=0, show_default=True, help="Of what happens when.")
@click.option(
    "--phase", "names", multiple=True, type=click.Choice([phase.name for phase in PHASES]), help="Only these."
)
@click.option("--output", type=click.Path(file_okay=False, path_type=Path), default="soak_output", show_default=True)
def soak(minutes: float, seed: int, names: tuple[str, ...], output: Path) -> None:
    """Run the node under everything a robot does to it; exit code 1, with sentences, when it did not come through."""
    output.mkdir(parents=True, exist_ok=True)
    use_shared_memory(output.resolve())
    samples: list[Sample] = []
    ends: list[End] = []
    phases = [phase for phase in PHASES if phase.name in names or not names]
    for phase in phases:
        click.echo(f"{phase.name}: {minutes * phase.share:.1f} min", err=True)
        still_wanted = _LEAST_TRIPS - sum(last_trips(samples).values()) if phase is PHASES[-1] else 0
        seen, end = run(phase, minutes, seed, output, still_wanted)
        samples += seen
        ends.append(end)
        write_csv(samples, output / "soak.csv")
        write_charts(samples, output / "soak.html")
    for line in table(samples):
        click.echo(line)
    wrong = judge(samples, ends)
    for sentence in wrong:
        click.echo(sentence, err=True)
    sys.exit(1 if wrong else 0)


def last_trips(samples: list[Sample]) -> dict[str, int]:
    """Of each phase."""
    return {sample.phase: sample.trips for sample in samples}


if __name__ == "__main__":
    soak()
