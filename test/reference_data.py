"""How the reference data is read: its weights, inputs and shapes."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import numpy as np
import torch

from dcfm_ros.model import DCFM, create_model, load_official_checkpoint


def load_module(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def shapes(reference: Path, name: str) -> dict:
    path = reference / f"{name}.json"
    return json.loads((path if path.exists() else reference / "shapes" / f"{name}.json").read_text())


def filled_model(reference: Path, name: str) -> DCFM:
    fill = load_module(reference / "fill.py").fill
    parts = [
        {
            f"module.{key}": torch.from_numpy(np.asarray(value))
            for key, value in fill(shapes(reference, name)[part]).items()
        }
        for part in ("encoder", "decoder")
    ]
    return load_official_checkpoint(create_model(name), *parts)
