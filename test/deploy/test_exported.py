"""The folder that `dcfm export` writes: what it says, and that there is never half of one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from dcfm_ros.deploy.exported import Exported, ExportError, new_folder, read_exported, write_document
from dcfm_ros.model.catalogue import model_config

WHOLE = Exported("onnx", model_config("vspw_mitb2"), "int8", "f" * 64, (64, 96), (720, 1280))


def written(folder: Path, exported: Exported = WHOLE) -> Path:
    with new_folder(folder) as partial:
        for part in exported.parts:
            exported.path(partial, part).write_bytes(b"graph")
        write_document(exported, partial)
    return folder


@pytest.mark.parametrize("exported", [WHOLE, Exported("openvino", model_config("camvid_resnet18"), "bf16", "0" * 64)])
def test_what_was_written_is_read(tmp_path: Path, exported: Exported) -> None:
    assert read_exported(written(tmp_path / "new" / "folder", exported)) == exported


def test_an_error_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), new_folder(tmp_path / "out") as partial:
        (partial / "shallow.onnx").write_bytes(b"half")
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    folder = written(tmp_path / "out")
    with pytest.raises(ExportError, match="out is there already"):
        written(folder)
    assert read_exported(folder) == WHOLE
    (tmp_path / "empty").mkdir()
    assert read_exported(written(tmp_path / "empty")) == WHOLE


def test_others_may_read_it(tmp_path: Path) -> None:
    assert written(tmp_path / "out").stat().st_mode & 0o055 == 0o055


def test_a_missing_part_is_named(tmp_path: Path) -> None:
    folder = written(tmp_path / "out")
    (folder / "decide.onnx").unlink()
    with pytest.raises(ExportError, match=r"decide\.onnx is not there"):
        read_exported(folder)


@pytest.mark.parametrize(
    "changes, said",
    [
        ({"format": 1}, "has format 1; this version reads format 3"),
        ({"kind": "coreml"}, "kind is 'coreml'; expected one of onnx, openvino, tensorrt"),
        ({"precision": "int4"}, "precision is 'int4'"),
        ({"size": [64]}, "size is"),
        ({"ids_size": "720x1280"}, "ids_size is '720x1280'"),
        ({"config": {"name": "x"}}, "cannot be used"),
        ({"config": []}, "cannot be used"),
        ({"weights_sha256": ...}, "has no 'weights_sha256'"),
    ],
)
def test_a_document_that_says_something_else_is_refused(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    path = written(tmp_path / "out") / "dcfm.json"
    document = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({key: value for key, value in document.items() if value is not ...}))
    with pytest.raises(ExportError, match=said):
        read_exported(path.parent)


@pytest.mark.parametrize("text", ["", "[1]", "{", "7"])
def test_a_document_that_is_none_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "dcfm.json").write_text(text)
    with pytest.raises(ExportError, match=r"dcfm\.json"):
        read_exported(tmp_path)


def test_any_other_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="expected a folder that `dcfm export` wrote"):
        read_exported(tmp_path)
