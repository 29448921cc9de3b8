"""ONNX graphs as OpenVINO's own files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import openvino


def write_openvino(graphs: Mapping[str, bytes], folder: Path) -> None:
    """Write each graph as `name.xml` and `name.bin`, its weights as they are."""
    core = openvino.Core()
    for name, graph in graphs.items():
        openvino.save_model(core.read_model(graph), folder / f"{name}.xml", compress_to_fp16=False)
