"""`dcfm bench` as a user calls it, with a small network: what the figures are of, not how large they are."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from subprocess import CompletedProcess

import pytest
import torch

from dcfm_ros.cli import bench_recording
from dcfm_ros.cli.bench_network import arrivals, forth_and_back
from dcfm_ros.datasets.street import StreetConfig, StreetDrive
from dcfm_ros.model import DCFM, model_config, save_weights

Call = Callable[..., CompletedProcess[str]]
KEYS = {
    "config", "size", "backend", "precision", "full_eager_ms", "full_ms", "other_ms", "p99_over_p50", "k5_speedup",
    "k10_speedup", "mask_agreement",
}  # fmt: skip
QUICK = ("--no-node", "--no-recording", "--no-training", "--rounds", "2", "--rate", "400")


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(1)
    model = DCFM(replace(model_config("camvid_mitb0"), input_size=(64, 96)))
    with torch.no_grad():  # random weights give nearly equal logits: larger ones make clear winners
        model.head[-1].weight.mul_(50)
    path = tmp_path_factory.mktemp("weights") / "small.safetensors"
    save_weights(model, path)
    return path


def test_each_backend_has_a_row_beside_the_plain_network(called: Call, tmp_path: Path, weights: Path) -> None:
    file = tmp_path / "figures" / "bench.json"
    asked = ("--backend", "torch", "--backend", "openvino", "--precision", "fp32", "--streams", "2", "--seconds", "1")
    done = called("bench", "--weights", str(weights), *asked, *QUICK, "--json", str(file))
    assert done.returncode == 0, done.stderr
    document = json.loads(file.read_text())
    rows = document["rows"]
    assert [(row["backend"], row["precision"], row["size"]) for row in rows] == [
        ("torch", "fp32", [64, 96]),
        ("openvino", "fp32", [64, 96]),
    ]
    for row in rows:
        assert row.keys() >= KEYS
        assert row["mask_agreement"] > 0.999
        assert row["other_ms"] > 0
        assert row["full_eager_ms"] > 0
        mean = (row["full_ms"] + 4 * row["other_ms"]) / 5
        assert row["k5_speedup"] == pytest.approx(row["full_eager_ms"] / mean)
        assert row["p99_over_p50"] >= 1
    (streams,) = document["streams"]
    for processed, dropped in zip(streams["processed"], streams["dropped"], strict=True):
        assert processed + dropped == 10
    assert document["device"] and document["versions"]["torch"] and document["peak_memory_mb"] > 10
    assert "openvino fp32" in done.stdout and "2 cameras at 10 Hz" in done.stdout


def test_a_backend_that_was_asked_for_must_run_and_of_all_those_that_do(called: Call, weights: Path) -> None:
    asked = called("bench", "--weights", str(weights), "--backend", "tensorrt", *QUICK)
    assert asked.returncode == 1
    assert "tensorrt" in asked.stderr.lower() and "Traceback" not in asked.stderr
    every = called("bench", "--weights", str(weights), "--backend", "all", "--precision", "int8", *QUICK)
    assert every.returncode == 1
    assert "no backend of torch, onnxruntime, openvino, tensorrt runs on device 'auto'" in every.stderr
    assert "torch int8" in every.stdout and "openvino int8" in every.stdout


def test_a_size_is_checked(called: Call, weights: Path) -> None:
    done = called("bench", "--weights", str(weights), "--size", "64", *QUICK)
    assert done.returncode == 2
    assert "'64'" in done.stderr and "360x480" in done.stderr


def test_recordings_are_measured_beside_the_network_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench_recording, "_SIZE", (64, 96))
    monkeypatch.setattr(bench_recording, "_FRAMES", 2)
    monkeypatch.setattr(bench_recording, "_ROUNDS", 1)
    table = bench_recording.recording_table("cpu", 1)
    saved, rates, processor = (list(column.cells) for column in table.columns)
    assert saved == ["nothing: the network alone", "masks,csv", "masks,overlay,bag,csv"]
    assert rates[0] == "100%"
    assert all(float(cell) > 0 for cell in processor)


def test_a_camera_gives_each_frame_once_and_skips_what_is_late(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr("dcfm_ros.cli.bench_network.time.perf_counter", lambda: now[0])
    monkeypatch.setattr("dcfm_ros.cli.bench_network.time.sleep", lambda s: now.__setitem__(0, now[0] + s + 1e-9))
    taken = []
    for number in arrivals(8, 10.0):
        taken.append(number)
        now[0] += 0.25 if number == 2 else 0.01  # one frame takes two and a half periods
    assert taken == [0, 1, 2, 4, 5, 6, 7]


def test_an_endless_drive_has_no_jump() -> None:
    frames = list(StreetDrive(StreetConfig(frames=4, height=32, width=32)))
    played = [forth_and_back(frames, number, 10.0) for number in range(9)]
    places = [next(i for i, frame in enumerate(frames) if frame.pixels is shown.pixels) for shown in played]
    assert places == [0, 1, 2, 3, 2, 1, 0, 1, 2]
    assert [later.stamp_ns - one.stamp_ns for one, later in pairwise(played)] == [10**8] * 8
