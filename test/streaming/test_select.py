"""Which backend runs, and what is said when none does."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import openvino
import pytest
import torch

from dcfm_ros.deploy.exported import Exported, ExportError, new_folder, write_document
from dcfm_ros.deploy.onnx_graphs import onnx_graphs
from dcfm_ros.model import WeightsError, create_model, save_weights
from dcfm_ros.streaming.backends import select
from dcfm_ros.streaming.backends.base import BackendError
from dcfm_ros.streaming.backends.select import create_backend


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "weights.safetensors"
    save_weights(create_model("camvid_mitb0"), path)
    return path


@pytest.fixture(scope="module")
def graphs() -> dict[str, bytes]:
    return onnx_graphs(create_model("camvid_mitb0"), (32, 64), joined=True)


@pytest.fixture
def folder(graphs: dict[str, bytes], tmp_path: Path) -> Path:
    """Exported as onnx in fp32, of one size."""
    return exported(graphs, tmp_path / "exported", "fp32")


def exported(graphs: dict[str, bytes], path: Path, precision: str, kind: str = "onnx") -> Path:
    document = Exported(kind, create_model("camvid_mitb0").config, precision, "0" * 64, (32, 64))
    with new_folder(path) as partial:
        for part, graph in graphs.items():
            document.path(partial, part).write_bytes(graph)
        write_document(document, partial)
    return path


@pytest.fixture
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])
    for module in ("dcfm_ros.streaming.backends.tensorrt_backend", "dcfm_ros.deploy.tensorrt_engines"):
        monkeypatch.delitem(sys.modules, module, raising=False)
    monkeypatch.setitem(sys.modules, "tensorrt", None)


def test_auto_takes_the_fastest_that_is_there_and_says_why(
    weights: Path, no_gpu: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(select, "nvidia_driver", lambda: "driver 550.54.15")
    backend = create_backend(weights)
    assert backend.description.startswith("openvino ") and "threads" in backend.description
    for said in ("TensorRT comes with JetPack 6.1 and later", "torch sees 0 CUDA devices", "CUDAExecutionProvider"):
        assert said in backend.selection
    monkeypatch.setattr(select, "nvidia_driver", str)
    assert create_backend(weights).selection == "the fastest that runs here"
    monkeypatch.setitem(sys.modules, "openvino", None)
    backend = create_backend(weights, device="cpu")
    assert backend.description.startswith("onnxruntime ")
    assert "openvino is not installed; pip install 'dcfm_ros[openvino]'" in backend.selection
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    backend = create_backend(weights, device="cpu")
    assert backend.description.startswith("torch ")
    assert "onnxruntime is not installed; pip install 'dcfm_ros[onnx]'" in backend.selection
    assert create_backend(weights, "torch", "cpu").selection == ""


@pytest.mark.parametrize("device", ["cuda", "cuda:1"])
def test_a_gpu_that_is_not_there_is_never_replaced_by_the_cpu(weights: Path, no_gpu: None, device: str) -> None:
    with pytest.raises(BackendError) as raised:
        create_backend(weights, device=device)
    for said in (
        f"on device '{device}'",
        "TensorRT comes with JetPack 6.1 and later",
        "0 CUDA devices",
        "pip install onnxruntime-gpu",
    ):
        assert said in str(raised.value)


def test_a_provider_that_does_not_start_is_an_error(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A build for GPUs on a machine whose CUDA libraries are of another version: it would take the CPU."""
    names = ["CUDAExecutionProvider", "CPUExecutionProvider"]
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: names)
    made = onnxruntime.InferenceSession
    monkeypatch.setattr(onnxruntime, "InferenceSession", lambda graph, options, providers: made(graph, options))
    with pytest.raises(BackendError, match="could not start it"):
        create_backend(folder, "onnxruntime", "cuda")
    with pytest.raises(BackendError, match="could not start it"):
        create_backend(folder, "onnxruntime", "auto")


def test_auto_takes_another_backend_for_a_precision_that_the_first_lacks(weights: Path, no_gpu: None) -> None:
    if "BF16" in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        assert "openvino" in create_backend(weights, precision="bf16").description
    assert "fp32" in create_backend(weights, precision="fp32").description
    with pytest.raises(BackendError, match="precision is 'int8', but the weights are floating point; int8 is exported"):
        create_backend(weights, precision="int8")


@pytest.mark.parametrize(
    "name, device, precision, said",
    [
        ("tflite", "auto", "auto", "backend is 'tflite'; expected one of auto, torch, onnxruntime, openvino, tensorrt"),
        ("auto", "tpu", "auto", "device is 'tpu'; expected auto, cpu, cuda, cuda:N or gpu"),
        ("onnxruntime", "gpu", "auto", "device is 'gpu'; expected auto, cpu, cuda or cuda:N"),
        ("onnxruntime", "cuda:x", "auto", "device is 'cuda:x'; expected"),
        ("onnxruntime", "cpu", "bf16", "precision is 'bf16', which ONNX Runtime does not have; expected fp32"),
        ("openvino", "cuda", "auto", r"device is 'cuda'; expected auto, cpu or gpu \(Intel's\)"),
        ("openvino", "cpu", "fp8", "precision is 'fp8'; expected one of auto, fp32"),
        ("tensorrt", "cuda", "auto", "TensorRT comes with JetPack 6.1 and later"),
    ],
)
def test_what_is_not_there_is_named(
    weights: Path, no_gpu: None, name: str, device: str, precision: str, said: str
) -> None:
    with pytest.raises(BackendError, match=said):
        create_backend(weights, name, device, 0, precision)


@pytest.mark.parametrize("name", ["onnxruntime", "openvino"])
def test_fewer_threads_than_none_are_refused(weights: Path, name: str) -> None:
    with pytest.raises(BackendError, match="num_threads is -1"):
        create_backend(weights, name, "cpu", -1)


@pytest.mark.parametrize("name", ["onnxruntime", "openvino"])
def test_threads_and_precision_are_those_asked_for_and_told(folder: Path, name: str) -> None:
    backend = create_backend(folder, name, "cpu", 1, "fp32")
    assert "fp32" in backend.description and "1 threads" in backend.description
    assert backend.precision == "fp32"


# Exported folders


@pytest.mark.parametrize("name", ["onnxruntime", "openvino"])
def test_graphs_of_one_size_take_no_other(folder: Path, name: str) -> None:
    backend = create_backend(folder, name, "cpu")
    assert backend.config.input_size == (32, 64)
    with pytest.raises(BackendError, match=r"input is 64x64, .*; set input_size to \[32, 64\]"):
        backend.encode_shallow(np.zeros((64, 64, 3), np.uint8))


@pytest.mark.parametrize("name", ["onnxruntime", "openvino"])
def test_a_size_that_the_network_does_not_take_is_refused(weights: Path, name: str) -> None:
    with pytest.raises(BackendError, match="expected positive multiples of 32, such as 32x64"):
        create_backend(weights, name, "cpu").encode_shallow(np.zeros((40, 64, 3), np.uint8))


def test_a_folder_runs_only_where_it_was_exported_for(graphs: dict[str, bytes], folder: Path, tmp_path: Path) -> None:
    other = exported(graphs, tmp_path / "other", "fp32", "openvino")
    with pytest.raises(BackendError, match="other was exported as openvino; expected onnx"):
        create_backend(other, "onnxruntime", "cpu")
    with pytest.raises(BackendError, match="is a folder; torch reads a weights file"):
        create_backend(folder, "torch")


def test_the_precision_of_a_folder_is_its_own(graphs: dict[str, bytes], folder: Path, tmp_path: Path) -> None:
    with pytest.raises(BackendError, match="precision is 'fp16', but the graphs were exported in fp32"):
        create_backend(folder, "onnxruntime", "cpu", precision="fp16")
    int8 = exported(graphs, tmp_path / "int8", "int8")
    for name in ("onnxruntime", "openvino"):
        assert create_backend(int8, name, "cpu").precision == "int8"
        with pytest.raises(BackendError, match="precision is 'fp32', but the weights are exported as int8"):
            create_backend(int8, name, "cpu", precision="fp32")


@pytest.mark.parametrize("name", ["auto", "openvino", "torch"])
def test_a_weights_file_without_torch_asks_for_torch_alone(
    weights: Path, folder: Path, no_gpu: None, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(BackendError) as raised:
        create_backend(weights, name)
    assert str(raised.value) == (
        f"running {weights} needs torch, which is not installed; pip install 'dcfm_ros[torch]', or give a folder that "
        "`dcfm export` wrote on another machine"
    )
    monkeypatch.setitem(sys.modules, "openvino", None)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(BackendError) as raised:
        create_backend(folder)
    assert "CUDA" not in str(raised.value) and "TensorRT" not in str(raised.value)


def test_weights_that_cannot_be_read_are_no_reason_to_try_another_backend(tmp_path: Path, no_gpu: None) -> None:
    with pytest.raises(BackendError, match=r"none\.safetensors is not there"):
        create_backend(tmp_path / "none.safetensors")
    (tmp_path / "text.safetensors").write_text("text")
    with pytest.raises(WeightsError, match="is not a whole safetensors file"):
        create_backend(tmp_path / "text.safetensors")
    with pytest.raises(ExportError, match="expected a folder that `dcfm export` wrote"):
        create_backend(tmp_path)


def test_every_backend_that_has_a_file_can_be_asked_for() -> None:
    files = (Path(select.__file__).parent).glob("*_backend.py")
    names = {path.name.removesuffix("_backend.py") for path in files}
    assert names - {"graph"} == set(select.BACKENDS) - {"auto"}


def test_an_interrupt_ends_a_process_that_had_two_openvino_backends_as_any_other(weights: Path) -> None:
    script = """
import os, signal, sys
from dcfm_ros.streaming.backends.select import create_backend
first, second = (create_backend(sys.argv[1], "openvino", "cpu") for _ in range(2))
del first
del second
try:
    os.kill(os.getpid(), signal.SIGINT)
except KeyboardInterrupt:
    print("interrupted")
"""
    done = subprocess.run([sys.executable, "-c", script, str(weights)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "interrupted\n"), done.stderr
