"""The DCFM network: backbones, fusion, head, the published configurations and their checkpoints.

Names are resolved on first use, so that reading the catalogue does not import torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dcfm_ros.model.catalogue import ModelConfig, available_models, model_config
    from dcfm_ros.model.checkpoints import WeightsError, load_official_checkpoint, load_weights, save_weights
    from dcfm_ros.model.dcfm import DCFM, create_model
    from dcfm_ros.model.folding import fold_batch_norm

__all__ = [
    "DCFM",
    "ModelConfig",
    "WeightsError",
    "available_models",
    "create_model",
    "fold_batch_norm",
    "load_official_checkpoint",
    "load_weights",
    "model_config",
    "save_weights",
]

_HOME = {
    "ModelConfig": "catalogue",
    "available_models": "catalogue",
    "model_config": "catalogue",
    "WeightsError": "checkpoints",
    "load_official_checkpoint": "checkpoints",
    "load_weights": "checkpoints",
    "save_weights": "checkpoints",
    "DCFM": "dcfm",
    "create_model": "dcfm",
    "fold_batch_norm": "folding",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
