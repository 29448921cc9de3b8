"""`dcfm export` as a user calls it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from dcfm_ros.datasets.street import StreetConfig, StreetDrive
from dcfm_ros.deploy.exported import read_exported
from dcfm_ros.deploy.onnx_graphs import onnx_graphs
from dcfm_ros.model import create_model, load_weights, save_weights
from dcfm_ros.streaming.backends.select import create_backend
from dcfm_ros.weights import DEFAULT_WEIGHTS

Call = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(8)
    model = create_model("camvid_mitb0")
    with torch.no_grad():  # random weights give nearly equal logits: larger ones make clear winners
        model.head[-1].get_parameter("weight").mul_(50)
    path = tmp_path_factory.mktemp("weights") / "mine.safetensors"
    save_weights(model, path)
    return path


@pytest.fixture(scope="module")
def street(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of rendered frames."""
    folder = tmp_path_factory.mktemp("street")
    for index, frame in enumerate(StreetDrive(StreetConfig(seed=3, frames=4, height=128, width=160))):
        cv2.imwrite(str(folder / f"{index}.png"), frame.pixels[..., ::-1])
    return folder


def test_onnx_of_one_size_runs_without_torch(called: Call, weights: Path, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    done = called("export", str(weights), "--input-size", "64x96", "--ids-size", "48x72", "--output", str(folder))
    assert done.returncode == 0, done.stderr
    assert (
        "shallow, common, logits, align, change, keyframe, reused, moved, decide; checked in onnxruntime" in done.stdout
    )
    assert "100.000 % of pixels have the same class" in done.stdout
    exported = read_exported(folder)
    assert (exported.kind, exported.precision, exported.size, exported.ids_size) == ("onnx", "fp32", (64, 96), (48, 72))
    assert [path.name for path in tmp_path.iterdir()] == ["out"]

    script = f"""
import sys; sys.modules["torch"] = None
import numpy as np
from dcfm_ros.streaming.backends.select import create_backend
backend = create_backend({str(folder)!r}, "onnxruntime", "cpu")
shallow = backend.encode_shallow(np.full((64, 96, 3), 90, np.uint8))
ids, confidence = backend.decide([backend.encode_common(shallow)], shallow, (48, 72), True)
print(ids.shape, ids.dtype, confidence.shape)
"""
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120, check=False)
    assert ran.stdout == "(48, 72) uint8 (48, 72)\n", ran.stderr


def test_masks_from_the_graph_are_those_from_its_logits(called: Call, weights: Path, tmp_path: Path) -> None:
    called("export", str(weights), "--input-size", "64x96", "--ids-size", "48x72", "--output", str(tmp_path / "out"))
    backend = create_backend(tmp_path / "out", "onnxruntime", "cpu")
    shallow = backend.encode_shallow(np.random.default_rng(9).integers(0, 256, (64, 96, 3), np.uint8))
    commons = [backend.encode_common(shallow)]
    in_graph = backend.decide(commons, shallow, (48, 72), True)
    of_logits = backend.decide(commons * 2, shallow, (48, 72), True)  # twice the logits: the same order
    assert (in_graph[0] == of_logits[0]).mean() > 0.999 and len(np.unique(in_graph[0])) > 1
    assert of_logits[1] is not None and in_graph[1] is not None
    assert (of_logits[1] >= in_graph[1]).all()


def test_openvino_of_any_size_runs_as_the_weights_themselves_would(
    called: Call, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = called("export", str(weights), "--format", "openvino")
    assert done.returncode == 0, done.stderr
    folder = tmp_path / "mine_openvino"
    assert (folder / "common.xml").is_file() and (folder / "common.bin").is_file()
    backend, own = create_backend(folder), create_backend(weights, "openvino")
    assert (backend.description, backend.precision) == (own.description, own.precision)
    assert f"checked in {own.description}" in " ".join(done.stdout.split())
    for size in ((64, 96), (32, 64)):
        shallow = backend.encode_shallow(np.zeros((*size, 3), np.uint8))
        assert backend.decide([backend.encode_common(shallow)], shallow, size, False)[0].shape == size


@pytest.mark.parametrize("kind", ["onnx", "openvino"])
def test_int8_is_calibrated_on_frames(called: Call, street: Path, tmp_path: Path, kind: str) -> None:
    how = ("--format", kind, "--input-size", "128x160", "--precision", "int8", "--calibrate", str(street))
    done = called("export", *how, "--output", str(tmp_path / "out"))
    assert done.returncode == 0, done.stderr
    assert "int8" in done.stdout and "features reused as they are and moved" in done.stdout
    assert "WARNING" not in done.stderr
    exported = read_exported(tmp_path / "out")
    for part in ("shallow", "common", "keyframe", "reused", "moved"):  # a stream runs the last three
        weights = ".onnx" if kind == "onnx" else ".bin"
        stored = (tmp_path / "out" / f"{part}{weights}").stat().st_size
        assert stored < 0.7 * len(_floats()[part]), part
    assert "int8" in create_backend(tmp_path / "out").description
    assert exported.precision == "int8"


@cache
def _floats() -> dict[str, bytes]:
    return onnx_graphs(load_weights(DEFAULT_WEIGHTS), (128, 160), joined=True)


def test_what_is_too_far_from_torch_is_not_written(called: Call, tmp_path: Path) -> None:
    black = tmp_path / "black"
    black.mkdir()
    cv2.imwrite(str(black / "0.png"), np.zeros((128, 160, 3), np.uint8))
    how = ("--input-size", "128x160", "--precision", "int8", "--calibrate", str(black))
    done = called("export", str(DEFAULT_WEIGHTS), *how, "--output", str(tmp_path / "out"))
    assert done.returncode == 1
    assert (
        "exported in int8, logits differ from torch's by up to" in done.stderr and "nothing was written" in done.stderr
    )
    assert [path.name for path in tmp_path.iterdir()] == ["black"]


def test_a_runtime_that_is_not_there_is_one_line(
    called: Call, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    done = called("export", str(weights), "--input-size", "64x96", "--output", str(tmp_path / "out"))
    assert done.returncode == 1
    assert done.stderr.startswith("dcfm: onnxruntime is not installed; pip install 'dcfm_ros[onnx]'")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_there_is_left_alone(called: Call, weights: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("mine")
    done = called("export", str(weights), "--output", str(tmp_path))
    assert done.returncode == 1 and "is there already" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


@pytest.mark.parametrize(
    "arguments, said",
    [
        (["--precision", "bf16"], "--format onnx has fp32, fp16, int8; not bf16"),
        (["--format", "openvino", "--precision", "fp16"], "--format openvino has auto, fp32, bf16, int8; not fp16"),
        (["--precision", "int8"], "int8 needs it"),
        (["--calibrate", "."], "--calibrate is for --precision int8"),
        (["--input-size", "64"], "expected a height and a width, like 384x480"),
    ],
)
def test_mistakes_of_usage(called: Call, weights: Path, arguments: list[str], said: str) -> None:
    done = called("export", str(weights), *arguments)
    assert done.returncode == 2
    assert said in done.stderr
