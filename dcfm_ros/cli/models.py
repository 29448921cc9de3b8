"""`dcfm models`: the catalogue as a table."""

from __future__ import annotations

import click
from rich.console import Console
from rich.table import Table

from dcfm_ros.model.catalogue import available_models, model_config
from dcfm_ros.model.costs import cost_of
from dcfm_ros.weights import DEFAULT_WEIGHTS, shipped_weights

_COLUMNS = ("model", "backbone", "classes", "labels", "input", "M parameters", "GMAC keyframe", "GMAC other", "weights")
_WIDTH = 160
_NUMBERS = ("classes", "M parameters", "GMAC keyframe", "GMAC other")


@click.command()
def command() -> None:
    """List the configurations that exist.

    M parameters: millions of them. GMAC: billions of multiplications with additions, of a keyframe and of another
    frame, at the input size. weights: whether they ship with this package, and which are the default.
    """
    table = Table(box=None, header_style="bold")
    for column in _COLUMNS:
        table.add_column(column, justify="right" if column in _NUMBERS else "left", no_wrap=True)
    for name in available_models():
        config, cost = model_config(name), cost_of(name)
        height, width = config.input_size
        table.add_row(
            *(name, config.backbone, str(config.num_classes), config.label_set, f"{height}x{width}"),
            *(f"{cost.parameters / 1e6:.1f}", f"{cost.keyframe_gmac:.2f}", f"{cost.other_gmac:.2f}"),
            _weights_of(name),
        )
    console = Console()
    console.width = max(console.width, _WIDTH)  # whole rows in a narrow terminal and through a pipe
    console.print(table, soft_wrap=True)


def _weights_of(name: str) -> str:
    if name == DEFAULT_WEIGHTS.stem:
        return "shipped, default"
    return "shipped" if name in shipped_weights() else ""
