"""`dcfm models`: the catalogue as a table."""

from __future__ import annotations

import click
from rich.console import Console
from rich.table import Table

from dcfm_ros.model.catalogue import available_models, model_config
from dcfm_ros.weights import DEFAULT_WEIGHTS


@click.command()
def command() -> None:
    """List the configurations that exist. The one whose weights ship is marked."""
    table = Table(box=None, header_style="bold")
    for column in ("model", "backbone", "classes", "labels", "input", "weights"):
        table.add_column(column)
    for name in available_models():
        config = model_config(name)
        height, width = config.input_size
        shipped = "shipped" if name == DEFAULT_WEIGHTS.stem else ""
        table.add_row(name, config.backbone, str(config.num_classes), config.label_set, f"{height}x{width}", shipped)
    Console().print(table)
