"""`dcfm bench` as a user calls it, with a small network: what the figures are of, not how large they are."""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import numpy as np
import pytest
import torch

from dcfm_ros.cli import bench_recording
from dcfm_ros.cli.bench_network import Push, Pushes, arrivals, forth_and_back, published
from dcfm_ros.imaging.frame import Frame
from dcfm_ros.model import DCFM, model_config, save_weights
from dcfm_ros.streaming import Segmentation, StreamSegmenter
from dcfm_ros.streaming.result import STAGES
from dcfm_ros.weights import DEFAULT_WEIGHTS

Call = Callable[..., CompletedProcess[str]]
KEYS = {
    "config", "size", "backend", "precision", "full_eager_ms", "full_ms", "other_ms", "p99_over_p50", "k5_speedup",
    "k10_speedup", "mask_agreement", "push_keyframe_ms", "push_other_ms", "push_mean_ms", "push_p95_ms", "push_p99_ms",
}  # fmt: skip
QUICK = ("--no-node", "--no-recording", "--no-training", "--rounds", "2", "--rate", "400", "--camera", "72x160")


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(1)
    model = DCFM(replace(model_config("camvid_mitb0"), input_size=(64, 96)))
    with torch.no_grad():  # random weights give nearly equal logits: larger ones make clear winners
        model.head[-1].get_parameter("weight").mul_(50)
    path = tmp_path_factory.mktemp("weights") / "small.safetensors"
    save_weights(model, path)
    return path


def test_each_backend_has_a_row_beside_the_plain_network(called: Call, tmp_path: Path, weights: Path) -> None:
    file = tmp_path / "figures" / "bench.json"
    asked = ("--backend", "torch", "--backend", "openvino", "--precision", "fp32", "--streams", "2", "--seconds", "1")
    budget = ("--budget-ms", "100000")
    done = called("bench", "--weights", str(weights), *asked, *budget, *QUICK, "--json", str(file))
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
        assert row["p99_over_p50"] >= 1 and row["sync_p99_over_p50"] >= 1
        assert (row["config"], row["baseline"], row["weights"]) == ("camvid_mitb0", "camvid_mitb0", "small.safetensors")
        assert row["camera"] == [72, 160]
        assert row["push_k5_speedup"] == pytest.approx(row["full_eager_ms"] / row["push_mean_ms"])
        assert 0 < row["push_p95_ms"] <= row["push_p99_ms"]
    (streams,) = document["streams"]
    for processed, dropped in zip(streams["processed"], streams["dropped"], strict=True):
        assert processed + dropped == 10
    assert document["device"] and document["versions"]["torch"] and document["peak_memory_mb"] > 10
    assert "openvino fp32" in done.stdout and "2 cameras at 10 Hz" in done.stdout
    shown = " ".join(done.stdout.split())
    assert shown.count("whole pushes: 72x160 in, ids of 72x160 out, K=5, ms") == 1
    for backend in ("torch", "openvino"):
        assert f"camvid_mitb0, {backend} fp32: K=1 is the smallest whose mean push," in shown


def test_a_backend_that_was_asked_for_must_run_and_of_all_those_that_do(called: Call, weights: Path) -> None:
    asked = called("bench", "--weights", str(weights), "--backend", "tensorrt", *QUICK)
    assert asked.returncode == 1
    assert "tensorrt" in asked.stderr.lower() and "Traceback" not in asked.stderr
    every = called("bench", "--weights", str(weights), "--backend", "all", "--precision", "int8", *QUICK)
    assert every.returncode == 1
    assert "no backend of torch, onnxruntime, openvino, tensorrt runs on device 'auto'" in every.stderr
    assert "torch int8" in every.stdout and "openvino int8" in every.stdout


def test_whole_pushes_are_of_moving_pictures_of_the_cameras_size(
    called: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = DCFM(replace(model_config("camvid_lite0"), input_size=(64, 96)))
    save_weights(model, tmp_path / "lite.safetensors")
    seen: list[tuple[StreamSegmenter, Frame, Segmentation]] = []

    class Noted(StreamSegmenter):
        def push(self, frame: Frame, *others: Any, **more: Any) -> list[Segmentation]:
            results = super().push(frame, *others, **more)
            seen.extend((self, frame, result) for result in results)
            return results

    monkeypatch.setattr("dcfm_ros.cli.bench_network.StreamSegmenter", Noted)
    file = tmp_path / "bench.json"
    done = called(
        *("bench", "--weights", str(tmp_path / "lite.safetensors"), "--backend", "torch", *QUICK, "--json", str(file))
    )
    assert done.returncode == 0, done.stderr
    (row,) = json.loads(file.read_text())["rows"]
    assert (row["config"], row["baseline"], row["size"], row["align"]) == (
        *("camvid_lite0", "camvid_resnet18", [64, 96], "flow"),
    )
    pushes = [(by, frame, result) for by, frame, result in seen if frame.pixels.shape == (72, 160, 3)]
    assert {result.mask.shape for _, _, result in pushes} == {(72, 160)}
    assert {by.network_size(72, 160) for by, _, _ in pushes} == {
        (64, 128)
    }  # near 64 * 96 pixels in the camera's aspect
    (stream, *_) = pushes[0]
    in_turns = [(frame, result) for by, frame, result in pushes if by is stream]
    assert len(in_turns) == 3 * 20  # two rounds, and one before that warms up
    assert [result.is_keyframe for _, result in in_turns] == [number % 5 == 0 for number in range(60)]
    assert all((one.pixels != after.pixels).any() for (one, _), (after, _) in pairwise(in_turns))


def test_the_small_networks_come_first_and_are_measured_against_the_published_one(called: Call, tmp_path: Path) -> None:
    file = tmp_path / "bench.json"
    quick = [*QUICK, "--rounds", "1", "--input-size", "64x96", "--backend", "torch", "--json", str(file)]
    done = called("bench", *quick)
    assert done.returncode == 0, done.stderr
    rows = json.loads(file.read_text())["rows"]
    assert [(row["config"], row["baseline"]) for row in rows] == [
        ("camvid_lite0", "camvid_resnet18"),
        ("camvid_resnet18", "camvid_resnet18"),
        ("cityscapes_resnet18", "cityscapes_resnet18"),
    ]
    assert {row["weights"] for row in rows if row["config"] == DEFAULT_WEIGHTS.stem} == {DEFAULT_WEIGHTS.name}
    assert {row["weights"] for row in rows if row["config"] != DEFAULT_WEIGHTS.stem} == {"random"}


def test_the_published_network_has_the_classes_of_the_one_measured_against_it() -> None:
    assert published(model_config("vspw_mitb2")) == model_config("vspw_mitb2")
    assert published(model_config("camvid_lite2")) == model_config("camvid_resnet18")
    own = replace(model_config("camvid_lite0"), num_classes=4, label_set="")
    assert (published(own).backbone, published(own).num_classes, published(own).name) == ("resnet18", 4, "resnet18")


def _pushes(*milliseconds: float) -> Pushes:
    """One keyframe in five, with stages that leave 1 ms of each push."""
    return Pushes(
        [
            Push(value, number % 5 == 0, dict.fromkeys(STAGES, 0.0) | {"shallow": value - 1})
            for number, value in enumerate(milliseconds)
        ]
    )


def test_pushes_have_means_and_percentiles_of_each_kind() -> None:
    pushes = _pushes(40, 10, 11, 12, 11, 60, 10, 11, 12, 11)
    assert pushes.mean_at(5) == pytest.approx(statistics.mean(pushes.milliseconds("all")))
    assert pushes.mean_at(1) == 50
    assert pushes.mean_at(10) == pytest.approx((50 + 9 * 11) / 10)
    shown = {(kind, stage): values for kind, stage, *values in pushes.percentiles()}
    assert list(shown) == [
        *(("keyframe", "push"), ("keyframe", "shallow"), ("other", "push"), ("other", "shallow"), ("all", "push")),
    ]
    assert shown["keyframe", "push"] == pytest.approx([50, 59, 59.8])
    assert shown["other", "shallow"] == pytest.approx([10, 11, 11])
    assert shown["all", "push"][0] == 11


@pytest.mark.parametrize(
    ("milliseconds", "budget_ms", "interval"),
    [
        ((50, 10, 10, 10, 10), 50, 1),
        ((50, 10, 10, 10, 10), 30, 2),
        ((50, 10, 10, 10, 10), 29.9, 3),
        ((50, 10, 10, 10, 10), 11, 40),
        ((50, 10, 10, 10, 10), 10, None),
        ((8, 10, 10, 10, 10), 8, 1),  # of small networks, aligning may cost more than it saves
        ((8, 10, 10, 10, 10), 7.9, None),
    ],
)
def test_a_budget_has_the_smallest_interval_within_it(
    milliseconds: tuple[float, ...], budget_ms: float, interval: int | None
) -> None:
    pushes = _pushes(*milliseconds)
    assert pushes.interval_within(budget_ms) == interval
    if interval is not None:
        assert pushes.mean_at(interval) <= budget_ms
        assert interval == 1 or pushes.mean_at(interval - 1) > budget_ms


def test_a_budget_that_nothing_keeps_is_said(called: Call, weights: Path) -> None:
    on = ("--backend", "torch", "--precision", "fp32")
    done = called("bench", "--weights", str(weights), *on, *QUICK, "--budget-ms", "0.0001")
    assert "torch fp32: no K keeps the mean push within 0.0001 ms" in " ".join(done.stdout.split())
    none = called("bench", "--budget-ms", "0")
    assert none.returncode == 2 and "--budget-ms" in none.stderr


def test_a_size_is_checked(called: Call, weights: Path) -> None:
    done = called("bench", "--weights", str(weights), "--input-size", "64", *QUICK)
    assert done.returncode == 2
    assert "'64'" in done.stderr and "384x480" in done.stderr


def test_recordings_are_measured_beside_the_network_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench_recording, "_SIZE", (64, 96))
    monkeypatch.setattr(bench_recording, "_FRAMES", 2)
    monkeypatch.setattr(bench_recording, "_ROUNDS", 1)
    table = bench_recording.recording_table("cpu", 1)
    saved, rates, processor = (list(column.cells) for column in table.columns)
    assert saved == ["nothing: the network alone", "masks,csv", "masks,overlay,bag,csv"]
    assert rates[0] == "100%"
    assert all(float(str(cell)) > 0 for cell in processor)


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
    frames = [Frame(np.full((32, 32, 3), number, np.uint8), "rgb", number) for number in range(4)]
    played = [forth_and_back(frames, number, 10.0) for number in range(9)]
    places = [next(i for i, frame in enumerate(frames) if frame.pixels is shown.pixels) for shown in played]
    assert places == [0, 1, 2, 3, 2, 1, 0, 1, 2]
    assert [later.stamp_ns - one.stamp_ns for one, later in pairwise(played)] == [10**8] * 8
