"""`dcfm curve` as a user calls it, with small networks of random weights."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest
import torch
from dataset_files import write_pixels

from dcfm_ros.datasets.street import StreetConfig, StreetDrive
from dcfm_ros.model import DCFM, model_config, save_weights

Call = Callable[..., CompletedProcess[str]]
SIZE = (32, 64)
FRAMES = 6


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Of two networks whose classes are CamVid's."""
    folder, files = tmp_path_factory.mktemp("weights"), []
    for seed, name in enumerate(("camvid_lite0", "camvid_mitb0")):
        torch.manual_seed(seed)
        model = DCFM(replace(model_config(name), input_size=SIZE))
        with torch.no_grad():  # random weights give nearly equal logits: larger ones make clear winners
            model.head[-1].get_parameter("weight").mul_(50)
        save_weights(model, folder / f"{name}.safetensors")
        files.append(str(folder / f"{name}.safetensors"))
    return files


@cache
def street() -> StreetDrive:
    return StreetDrive(StreetConfig(seed=2, frames=300, height=SIZE[0], width=SIZE[1]))


def drive(root: Path, labelled: Callable[[int], bool]) -> Path:
    for number in range(FRAMES):
        frame, label = next(street().labelled(200 + number))
        write_pixels(root / "images" / f"{number:03d}.png", frame.pixels)
        if labelled(number):
            write_pixels(root / "labels" / f"{number:03d}.png", label)
    return root


@pytest.mark.parametrize("share", ["every frame", "the last"])
def test_each_network_has_a_point_for_each_interval(
    called: Call, tmp_path: Path, weights: list[str], share: str
) -> None:
    root = drive(tmp_path / "street", lambda number: share == "every frame" or number == FRAMES - 1)
    file = tmp_path / "figures" / "curve.json"
    common = [str(root), "--backend", "torch"]
    both = [argument for path in weights for argument in ("--weights", path)]
    done = called("curve", *common, *both, "--intervals", "3, 1,3", "--json", str(file))
    assert done.returncode == 0, done.stderr
    document = json.loads(file.read_text())
    points: list[dict[str, Any]] = document["points"]
    assert [(point["weights"], point["config"], point["interval"]) for point in points] == [
        *((path, Path(path).stem, interval) for path in weights for interval in (1, 3)),
    ]
    for point in points:
        one = tmp_path / "one.json"
        full = ("--mode", "full") if point["interval"] == 1 else ("--keyframe-interval", "3")
        assert called("evaluate", *common, "--weights", point["weights"], *full, "--json", str(one)).returncode == 0
        scores = json.loads(one.read_text())
        assert (point["miou"], point["miou_present"]) == (scores["mIoU"], scores["mIoU_present"])
        assert point["keyframe_ms"] > 0
        if point["interval"] == 1:
            assert point["other_ms"] is None and scores["other_ms"] is None
            assert point["mean_ms"] == point["keyframe_ms"]
        else:
            assert scores["other_ms"] > 0
            assert point["mean_ms"] == pytest.approx((point["keyframe_ms"] + 2 * point["other_ms"]) / 3)
    assert document["align"] == "flow" and document["versions"]["torch"]
    shown = " ".join(done.stdout.split())
    for path in weights:
        assert Path(path).stem in shown
    lost = 100 * (points[0]["miou"] - points[1]["miou"])
    assert f" 3 {points[1]['miou']:.3f} {lost:.1f} {points[1]['keyframe_ms']:.1f} " in shown


def test_only_frames_that_follow_each_other_make_a_curve(called: Call, tmp_path: Path, weights: list[str]) -> None:
    root = drive(tmp_path / "street", lambda number: True)
    done = called("curve", str(root), "--weights", weights[0], "--backend", "torch", "--only", "*3")
    assert done.returncode == 1
    assert f"no frame of {root} that is used follows another; expected clips" in done.stderr


@pytest.mark.parametrize("intervals", ["0", "1,x", "5,", "1001"])
def test_intervals_are_checked(called: Call, tmp_path: Path, intervals: str) -> None:
    done = called("curve", str(tmp_path), "--intervals", intervals)
    assert done.returncode == 2
    assert f"'{intervals}' is no list of intervals; expected frames, 1 to 1000" in " ".join(done.stderr.split())
