"""Graphs for the backends that run them: the parts of the network, made from weights here or exported before."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from dcfm_ros.deploy.exported import is_exported, read_exported
from dcfm_ros.machine.libraries import how_to_install
from dcfm_ros.model.catalogue import ModelConfig, Size
from dcfm_ros.streaming.backends.base import PRECISIONS, BackendError


@dataclass(frozen=True)
class Graphs:
    """The parts of a network as graphs.

    parts: by the names of `deploy.onnx_graphs`, each ONNX bytes or a file. precision: what they were exported in, or
    "auto" when they were made from weights here. size, ids_size: as in `deploy.exported.Exported`.
    """

    config: ModelConfig
    parts: Mapping[str, bytes | Path]
    precision: str = "auto"
    size: Size | None = None
    ids_size: Size | None = None

    def check_size(self, size: Size) -> None:
        """Raises BackendError for an image whose (height, width) the graphs do not take."""
        if self.size is not None and size != self.size:
            raise BackendError(
                f"the network's input is {size[0]}x{size[1]}, but its graphs were exported for another size; set "
                f"input_size to [{self.size[0]}, {self.size[1]}]"
            )
        try:
            self.config.check_input_size(size)
        except ValueError as error:
            raise BackendError(str(error)) from None


def load_graphs(weights: str | os.PathLike[str], kinds: tuple[str, ...], half: bool = False) -> Graphs:
    """The graphs of a folder that `dcfm export` wrote, of one of `kinds`, or of a weights file.

    half: make those of a weights file in float16.
    Raises BackendError for a folder of another kind, or without torch and onnx where they are needed; ExportError and
    WeightsError for what cannot be read.
    """
    if is_exported(weights):
        folder, exported = Path(weights), read_exported(weights)
        if exported.kind not in kinds:
            raise BackendError(f"{folder} was exported as {exported.kind}; expected {' or '.join(kinds)}")
        parts = {part: exported.path(folder, part) for part in exported.parts}
        # Frames are resized to about this size where nobody says another.
        config = replace(exported.config, input_size=exported.size or exported.config.input_size)
        return Graphs(config, parts, exported.precision, exported.size, exported.ids_size)
    try:
        from dcfm_ros.deploy.onnx_graphs import onnx_graphs
        from dcfm_ros.model import load_weights
    except ModuleNotFoundError as error:
        raise BackendError(
            f"making graphs of {weights} needs {error.name}, which is not installed; {how_to_install(str(error.name))}"
        ) from error
    model = load_weights(weights)
    return Graphs(model.config, onnx_graphs(model.half() if half else model, joined=True))


def checked_precision(precision: str, allowed: tuple[str, ...], graphs_are: str, runtime: str) -> str:
    """The precision to run in, "auto" where nobody said.

    Raises BackendError for one that `runtime` does not have here, or that graphs of `graphs_are` cannot give.
    """
    if precision not in PRECISIONS:
        raise BackendError(f"precision is {precision!r}; expected one of {', '.join(PRECISIONS)}")
    wanted = graphs_are if precision == "auto" else precision
    if "int8" in (wanted, graphs_are) and wanted != graphs_are:
        raise BackendError(
            f"precision is {precision!r}, but the weights are {_named(graphs_are)}; int8 is exported with frames to "
            "calibrate on: dcfm export WEIGHTS --precision int8 --calibrate INPUT"
        )
    if wanted not in ("auto", *allowed):
        raise BackendError(f"precision is {wanted!r}, which {runtime} does not have; expected {', '.join(allowed)}")
    return wanted


def _named(precision: str) -> str:
    return "floating point" if precision == "auto" else f"exported as {precision}"
