"""The folder that `dcfm export` writes: a network's parts for one runtime, and what they are. Needs no torch."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from dcfm_ros.model.catalogue import ModelConfig, Size

FORMAT_VERSION = 3
# An engine is only good for the TensorRT and the GPU it was built with: a folder for it holds the graphs, and the
# engines are in that machine's cache (`deploy.tensorrt_engines`), where they are built again when one changes.
KINDS = {"onnx": ".onnx", "openvino": ".xml", "tensorrt": ".onnx"}
PARTS = ("shallow", "common", "logits", "align", "change")
JOINED = ("keyframe", "reused", "moved")
PRECISIONS = ("auto", "fp32", "fp16", "bf16", "int8")
_DOCUMENT = "dcfm.json"


class ExportError(ValueError):
    """An exported folder that cannot be used or written; the message says what is wrong and what was expected."""


@dataclass(frozen=True)
class Exported:
    """The contents of a folder that `dcfm export` wrote.

    kind: one of KINDS, whose suffix its parts have. config: the weights'. precision: one of PRECISIONS; "auto" is the
    fastest of where it runs.
    size: the network's input, or None when height and width are open. ids_size: the size of the masks of the part
    "decide", or None when there is no such part. weights_sha256: of the file that all was made from.
    """

    kind: str
    config: ModelConfig
    precision: str
    weights_sha256: str
    size: Size | None = None
    ids_size: Size | None = None

    def __post_init__(self) -> None:
        for name, allowed in (("kind", tuple(KINDS)), ("precision", PRECISIONS)):
            if (value := getattr(self, name)) not in allowed:
                raise ExportError(f"{name} is {value!r}; expected one of {', '.join(allowed)}")
        for name in ("size", "ids_size"):
            if (value := getattr(self, name)) is not None and not _is_size(value):
                raise ExportError(f"{name} is {value!r}; expected a height and a width in pixels, or none")

    @property
    def parts(self) -> tuple[str, ...]:
        """Names of the parts that are there."""
        joined = () if self.kind == "tensorrt" else JOINED
        return (*PARTS, *joined, *(() if self.ids_size is None else ("decide",)))

    def path(self, folder: Path, part: str) -> Path:
        """Where a part's file lies in `folder`."""
        return folder / (part + KINDS[self.kind])


def is_exported(path: str | os.PathLike[str]) -> bool:
    """Whether `path` is a folder, and so no weights file."""
    return Path(path).is_dir()


def read_exported(folder: str | os.PathLike[str]) -> Exported:
    """Read `folder`. Raises ExportError when `dcfm export` of this version did not write it, or parts lack."""
    folder = Path(folder)
    document = _read_document(folder / _DOCUMENT)
    try:
        exported = Exported(
            kind=document["kind"],
            config=ModelConfig.from_json(document["config"]),
            precision=document["precision"],
            weights_sha256=document["weights_sha256"],
            size=_as_size(document["size"]),
            ids_size=_as_size(document["ids_size"]),
        )
    except KeyError as error:
        raise ExportError(f"{folder / _DOCUMENT} has no {error.args[0]!r}") from error
    except (TypeError, AttributeError, ValueError) as error:
        raise ExportError(f"{folder / _DOCUMENT} cannot be used: {error}") from error
    for part in exported.parts:
        if not (path := exported.path(folder, part)).is_file():
            raise ExportError(f"{path} is not there; export the weights again")
    return exported


def write_document(exported: Exported, folder: Path) -> None:
    """Write what `folder` holds beside its parts."""
    document = {"format": FORMAT_VERSION, **asdict(exported)}
    (folder / _DOCUMENT).write_text(json.dumps(document, indent=2) + "\n")


@contextlib.contextmanager
def new_folder(output: Path) -> Iterator[Path]:
    """A folder to write in, which becomes `output` when the block ends, and is removed when it raises.

    Raises ExportError when `output` is there and not an empty folder: nothing is overwritten.
    """
    if output.exists() and not (output.is_dir() and not any(output.iterdir())):
        raise ExportError(f"{output} is there already; expected a new folder, or remove it first")
    output.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=f"{output.name}.partial-", dir=output.parent))
    try:
        yield partial
        partial.chmod(0o755)  # mkdtemp makes it the writer's alone; a robot's node is often another user
        partial.replace(output)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise


def _read_document(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise ExportError(f"{path} is not there; expected a folder that `dcfm export` wrote")
    try:
        document = json.loads(path.read_text())
    except (ValueError, RecursionError) as error:
        raise ExportError(f"{path} is not JSON: {error}") from error
    found = document.get("format") if isinstance(document, dict) else document
    if not isinstance(document, dict) or found != FORMAT_VERSION:
        raise ExportError(f"{path} has format {found!r}; this version reads format {FORMAT_VERSION}")
    return document


def _as_size(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _is_size(value: Any) -> bool:
    return (
        isinstance(value, tuple)
        and len(value) == 2
        and all(isinstance(side, int) and not isinstance(side, bool) and side > 0 for side in value)
    )
