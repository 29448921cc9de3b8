"""`dcfm compare A B`: what changed between two reports, and whether it may."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from dcfm_ros.evaluation.compare import (
    Bound,
    Change,
    CompareError,
    Report,
    changes,
    check_comparable,
    parse_bound,
    read_report,
)

_REPORT = click.Path(exists=True, file_okay=False, path_type=Path)
_CROSSED = 1


@click.command()
@click.argument("before", metavar="A", type=_REPORT)
@click.argument("after", metavar="B", type=_REPORT)
@click.option(
    "--bound",
    "bounds",
    multiple=True,
    metavar="NAME>=VALUE",
    help="Fail unless B - A is within this bound, as in agreement>=-0.01, miou>=-0.02 or mean_ms<=10%; may be given "
    "several times.",
)
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0), help="Seed of the bootstrap.")
@click.option("--other-input", is_flag=True, help="Compare reports of different inputs or labels too.")
def command(before: Path, after: Path, bounds: tuple[str, ...], seed: int, other_input: bool) -> None:
    """Show what changed from the report in A to the one in B, with 95 % confidence intervals.

    Intervals come from a bootstrap over segments of consecutive frames. Scores are fractions, times milliseconds; a
    bound with % is relative to A. A bound is kept where the whole interval keeps it, and crossed where its worse end
    does not: a change for the worse has to be ruled out, not merely unproven.

    Exit code: 0 when every bound is kept, 1 when one is crossed, 2 when there is nothing to compare.
    """
    try:
        stated = [parse_bound(text) for text in bounds]
        reports = read_report(before), read_report(after)
        check_comparable(*reports, other_input)
        found = changes(*reports, seed)
        crossed = _crossed(stated, found)
    except CompareError as error:
        raise click.UsageError(str(error)) from error
    console = Console()
    console.print(_table(reports, found))
    for bound in stated:
        console.print(f"{bound.text}: {'crossed' if bound in crossed else 'kept'}", highlight=False)
    if crossed:
        sys.exit(_CROSSED)


def _crossed(bounds: Sequence[Bound], found: Sequence[Change]) -> list[Bound]:
    """Raises CompareError when a bound names what the reports do not both have."""
    by_name = {change.name: change for change in found}
    for bound in bounds:
        if bound.name not in by_name:
            raise CompareError(
                f"there is no {bound.name} in both reports to bound; expected one of {', '.join(by_name)}"
            )
    return [bound for bound in bounds if not bound.is_kept(by_name[bound.name])]


def _table(reports: tuple[Report, Report], found: Sequence[Change]) -> Table:
    title = "\n".join(f"{name}: {one.folder}, {one.metrics['shown']}" for name, one in zip("AB", reports, strict=True))
    table = Table(title=title, title_justify="left", header_style="bold", caption_justify="left")
    table.caption = "agreement, iou_full/CLASS: with the masks of the full network; miou, iou/CLASS: with the labels"
    table.add_column("", no_wrap=True)
    for heading in ("A", "B", "B - A", "95 % interval"):
        table.add_column(heading, justify="right", no_wrap=True)
    for change in found:
        scale, unit = (1.0, "ms") if change.name.endswith("_ms") else (100.0, "%")
        before, after = (f"{scale * value:.2f} {unit}" for value in (change.before, change.after))
        difference, low, high = (f"{scale * value:+.2f}" for value in (change.difference, change.low, change.high))
        style = "bold" if change.is_clear else None
        table.add_row(change.name, before, after, difference, f"{low} to {high}", style=style)
    return table
