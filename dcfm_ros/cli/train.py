"""`dcfm train RECIPE [key=value ...]`."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

import click
from rich.logging import RichHandler

from dcfm_ros.training.recipe import load_recipe
from dcfm_ros.training.trainer import train

log = logging.getLogger(__name__)

_INTERRUPTED = 128 + 2  # what a shell says of a process that SIGINT ended


@click.command()
@click.argument("recipe", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.argument("overrides", nargs=-1, metavar="[KEY=VALUE]...")
def command(recipe: Path, overrides: tuple[str, ...]) -> None:
    """Train as the YAML file RECIPE says; KEY=VALUE replaces one of its values.

    Continues from the last checkpoint in the recipe's output folder, if there is one.
    """
    # The progress bar is on the same console: log lines go above it.
    logging.basicConfig(level=logging.INFO, format="%(message)s", handlers=[RichHandler(show_path=False)])
    try:
        train(load_recipe(recipe, overrides))
    except KeyboardInterrupt:
        log.info("stopped; the same command continues from the last checkpoint")
        sys.exit(_INTERRUPTED)
