"""Small inputs for `dcfm report`, and the reports of them."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
from click.testing import CliRunner
from dataset_files import write_pixels

from dcfm_ros.cli.report import command
from dcfm_ros.datasets.street import StreetConfig, StreetDrive
from dcfm_ros.model import load_weights, save_weights
from dcfm_ros.weights import DEFAULT_WEIGHTS

SIZE = (64, 96)
_AT_SPEED = 200


@cache
def _street() -> StreetDrive:
    return StreetDrive(StreetConfig(seed=2, frames=300, height=SIZE[0], width=SIZE[1]))


@cache
def _rendered(number: int) -> tuple[np.ndarray, np.ndarray]:
    frame, label = next(_street().labelled(_AT_SPEED + number))
    return frame.pixels, label


def picture(number: int) -> np.ndarray:
    """Of a street that is passed at speed: (64, 96, 3) RGB."""
    return _rendered(number)[0].copy()


def label(number: int) -> np.ndarray:
    return _rendered(number)[1].copy()


def write_folder(root: Path, frames: int, labelled: bool = True) -> Path:
    """A data set folder of one clip; without labels, a folder of images."""
    for number in range(frames):
        write_pixels(root / "images" / f"{number:06d}.png", picture(number))
        if labelled:
            write_pixels(root / "labels" / f"{number:06d}.png", label(number))
    return root


def write_report(output: Path, *arguments: str | Path) -> Path:
    """The folder that `dcfm report` with these arguments writes."""
    result = CliRunner().invoke(command, [*map(str, arguments), "--output", str(output)])
    assert result.exit_code == 0, (result.output, result.exception)
    return output


def with_small_network(folder: Path, own_classes: bool = False) -> list[str]:
    """Arguments: the weights that ship, which know a street, for small pictures; they go into `folder`.

    own_classes: whether their classes have other names.
    """
    model = load_weights(DEFAULT_WEIGHTS)
    names = tuple(f"own{number}" for number in range(model.config.num_classes)) if own_classes else ()
    model.config = replace(model.config, input_size=SIZE, class_names=names)
    save_weights(model, folder / "small.safetensors")
    return ["--backend", "torch", "--weights", str(folder / "small.safetensors")]
