"""Weights in and out: the authors' checkpoints, and this package's own files.

Own weights are one safetensors file; its metadata holds, under "dcfm_ros", a JSON object with the `ModelConfig` and
what the weights were made from. Nothing here runs code that a file contains.
"""

from __future__ import annotations

import json
import os
import re
import struct
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from dcfm_ros.files import whole_file
from dcfm_ros.model.catalogue import ModelConfig
from dcfm_ros.model.dcfm import DCFM
from dcfm_ros.model.state_dicts import unwrapped

FORMAT_VERSION = 1
_METADATA_KEY = "dcfm_ros"

# The authors' names -> ours, tried in this order; the first pattern that matches a whole key is used.
_ENCODER_NAMES = (
    (r"backbone\.encoder\.(.*)\.dwconv\.dwconv\.(.*)", r"encoder.mit.\1.dwconv.\2"),
    (r"backbone\.encoder\.(.*)", r"encoder.mit.\1"),
    (r"backbone\.decoder\.linear_fuse\.conv\.(.*)", r"encoder.decoder.fuse.0.\1"),
    (r"backbone\.decoder\.linear_fuse\.bn\.(.*)", r"encoder.decoder.fuse.1.\1"),
    (r"backbone\.decoder\.linear_c1\.proj\.(.*)", r"encoder.decoder.projections.0.\1"),
    (r"backbone\.decoder\.linear_c2\.proj\.(.*)", r"encoder.decoder.projections.1.\1"),
    (r"backbone\.decoder\.linear_c3\.proj\.(.*)", r"encoder.decoder.projections.2.\1"),
    (r"backbone\.decoder\.linear_c4\.proj\.(.*)", r"encoder.decoder.projections.3.\1"),
    (r"backbone\.(.*)", r"encoder.\1"),
)
_DECODER_NAMES = (
    (r"bot_aspp\.(.*)", r"projection.\1"),
    (r"ffm\.convblk\.(.*)", r"fusion.\1"),
    (r"final\.(.*)", r"head.\1"),
)
_UNUSED = re.compile(r"backbone\.decoder\.conv_seg\..*")  # present in the MiT files, read by nothing

Source = str | os.PathLike[str] | Mapping[str, Tensor]


class WeightsError(ValueError):
    """A weights file that cannot be used; the message says what is wrong and what was expected."""


def load_official_checkpoint(model: DCFM, encoder: Source, decoder: Source) -> DCFM:
    """Load the authors' two files into `model`, which is returned.

    encoder, decoder: paths of `encoder_epoch_N.pth` and `decoder_epoch_N.pth`, or their state dicts; what training
    tools put around them (`state_dict`, `module.` in front of every key) is taken away. Raises WeightsError, with
    `model` left as it was, when a file is missing, truncated, holds pickled code, or is of another architecture or
    number of classes.
    """
    tensors = _renamed(_official_state(encoder, "encoder"), _ENCODER_NAMES, "encoder")
    tensors |= _renamed(_official_state(decoder, "decoder"), _DECODER_NAMES, "decoder")
    _load_whole(model, tensors, f"{_label(encoder)} and {_label(decoder)}")
    return model


def save_weights(
    model: DCFM,
    path: str | os.PathLike[str],
    *,
    half: bool = False,
    provenance: Mapping[str, Any] | None = None,
) -> None:
    """Write `model` as one safetensors file, atomically.

    half: store floating point tensors as float16. provenance: what the weights were made from and score, as JSON
    values. Raises WeightsError, with nothing written, when a value is not finite as stored: that would not load again.
    """
    path = Path(path)
    tensors = {name: _stored(tensor, half) for name, tensor in model.state_dict().items()}
    for name, tensor in tensors.items():
        if not _is_finite(tensor):
            raise WeightsError(f"{name} holds values that are not finite as {tensor.dtype}; {path} was not written")
    document = {"format": FORMAT_VERSION, "config": asdict(model.config), "provenance": dict(provenance or {})}
    with whole_file(path) as partial:
        save_file(tensors, str(partial), metadata={_METADATA_KEY: json.dumps(document)})
        partial.chmod(0o644)  # safetensors makes it the writer's alone; a robot's node is often another user


def load_weights(path: str | os.PathLike[str]) -> DCFM:
    """The network of a file that `save_weights` wrote: float32, on the CPU, in evaluation mode.

    Raises WeightsError when the file is missing, truncated, of another kind, or does not fit its own configuration.
    """
    with _opened(Path(path)) as file:
        document = _document(file, path)
        tensors = unwrapped({name: file.get_tensor(name) for name in file.keys()}, path)  # noqa: SIM118 (not a dict)
    try:
        model = DCFM(ModelConfig.from_json(document["config"]))
    except (TypeError, ValueError) as error:
        raise WeightsError(f"{path} has a configuration that cannot be used: {error}") from error
    _load_whole(model, tensors, str(path))
    return model


def read_provenance(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read what a weights file was made from, as it says itself. Raises WeightsError as `load_weights` does."""
    with _opened(Path(path)) as file:
        return _document(file, path)["provenance"]


def _official_state(source: Source, part: str) -> dict[str, Tensor]:
    if isinstance(source, Mapping):
        state: Any = source
    else:
        path = _existing(Path(source))
        try:
            state = torch.load(path, map_location="cpu", weights_only=True)
        except Exception as error:  # torch raises a dozen types here, from EOFError to UnpicklingError
            raise WeightsError(
                f"{path} cannot be read as the {part}'s state dict, a plain dictionary of tensors saved by torch; "
                "it is truncated, of another kind, or holds pickled code, which is never run"
            ) from error
    state = unwrapped(state, _label(source))
    if not isinstance(state, Mapping):
        raise WeightsError(f"{_label(source)} holds a {type(state).__name__}; expected a state dict of the {part}")
    for key, value in state.items():
        if not isinstance(value, Tensor):
            raise WeightsError(
                f"{_label(source)} holds a {type(value).__name__} at {key!r}; expected a state dict of the {part}, "
                "nothing but tensors"
            )
    return {str(key): value for key, value in state.items()}


def _renamed(state: dict[str, Tensor], names: tuple[tuple[str, str], ...], part: str) -> dict[str, Tensor]:
    renamed = {}
    for key, tensor in state.items():
        if _UNUSED.fullmatch(key):
            continue
        match = next(((m, ours) for theirs, ours in names if (m := re.fullmatch(theirs, key))), None)
        if match is None:
            raise WeightsError(
                f"the {part}'s file has the key {key!r}, which no DCFM {part} has (are the two swapped?)"
            )
        renamed[match[0].expand(match[1])] = tensor
    return renamed


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """A safetensors file; what goes wrong while it is read becomes a WeightsError."""
    _existing(path)
    try:
        with safe_open(str(path), framework="pt") as file:
            yield file
    except (SafetensorError, OSError, struct.error) as error:
        raise WeightsError(
            f"{path} is not a whole safetensors file as `dcfm train` writes it: {_first_line(error)}"
        ) from error


def _document(file: Any, path: str | os.PathLike[str]) -> dict[str, Any]:
    """This package's metadata of a safetensors file: "config" and "provenance" are dictionaries."""
    metadata = file.metadata() or {}
    if _METADATA_KEY not in metadata:
        raise WeightsError(f"{path} has no {_METADATA_KEY!r} metadata; expected weights written by save_weights")
    try:
        document = json.loads(metadata[_METADATA_KEY])
    except (ValueError, RecursionError) as error:
        raise WeightsError(f"{path} has {_METADATA_KEY!r} metadata that is not JSON: {error}") from error
    if not isinstance(document, dict) or document.get("format") != FORMAT_VERSION:
        found = document.get("format") if isinstance(document, dict) else document
        raise WeightsError(f"{path} has format {found!r}; this version reads format {FORMAT_VERSION}")
    for part in ("config", "provenance"):
        if not isinstance(document.setdefault(part, {}), dict):
            raise WeightsError(f"{path} has a {part} of type {type(document[part]).__name__}; expected a JSON object")
    return document


def _load_whole(model: DCFM, tensors: dict[str, Tensor], source: str) -> None:
    """Load all or nothing: every name and shape is checked before the first tensor is copied."""
    own = model.state_dict()
    if missing := own.keys() - tensors.keys():
        raise WeightsError(f"{source}: {_some(missing)} missing; expected the tensors of {model.config.name}")
    if extra := tensors.keys() - own.keys():
        raise WeightsError(f"{source}: {_some(extra)} not part of {model.config.name}; expected exactly its tensors")
    for name, tensor in tensors.items():
        if tensor.shape != own[name].shape:
            raise WeightsError(
                f"{source}: {name} has shape {tuple(tensor.shape)}; {model.config.name} with "
                f"{model.config.num_classes} classes expects {tuple(own[name].shape)}"
            )
        plain = tensor.layout is torch.strided and not tensor.is_meta
        if not plain or tensor.is_floating_point() != own[name].is_floating_point():
            raise WeightsError(
                f"{source}: {name} is {tensor.dtype}, {tensor.layout}; expected {own[name].dtype}, dense"
            )
        if not _is_finite(tensor):
            raise WeightsError(f"{source}: {name} holds values that are not finite; expected finite weights")
    model.load_state_dict(tensors)


def _stored(tensor: Tensor, half: bool) -> Tensor:
    tensor = tensor.detach().cpu().contiguous()
    return tensor.half() if half and tensor.is_floating_point() else tensor


def _is_finite(tensor: Tensor) -> bool:
    return not tensor.is_floating_point() or bool(torch.isfinite(tensor).all())


def _existing(path: Path) -> Path:
    if not path.is_file():
        raise WeightsError(f"{path} is not there; expected a weights file")
    return path


def _some(names: set[str]) -> str:
    listed = ", ".join(sorted(names)[:3])
    return (
        f"{len(names)} tensors ({listed}, ...) are"
        if len(names) > 3
        else f"{listed} {'is' if len(names) == 1 else 'are'}"
    )


def _label(source: Source) -> str:
    return "the given state dict" if isinstance(source, Mapping) else str(source)


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
