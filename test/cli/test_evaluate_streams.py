"""`dcfm evaluate` with other streams than the fixed interval against labels."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest
from dataset_files import write_pixels

from dcfm_ros.datasets.street import StreetConfig, StreetDrive
from dcfm_ros.model import load_weights, save_weights
from dcfm_ros.weights import DEFAULT_WEIGHTS

Call = Callable[..., CompletedProcess[str]]
FRAMES = 8


@pytest.fixture(scope="module")
def drive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A rendered street at speed; one frame in four has a label."""
    root = tmp_path_factory.mktemp("street")
    street = StreetDrive(StreetConfig(seed=2, frames=300, height=96, width=128))
    for number in range(FRAMES):
        frame, label = next(street.labelled(200 + number))
        write_pixels(root / "images" / f"{number:03d}.png", frame.pixels)
        if number % 4 == 3:
            write_pixels(root / "labels" / f"{number:03d}.png", label)
    return root


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Those that ship, for small pictures: they know a street."""
    model = load_weights(DEFAULT_WEIGHTS)
    model.config = replace(model.config, input_size=(96, 128))
    path = tmp_path_factory.mktemp("weights") / "small.safetensors"
    save_weights(model, path)
    return path


@pytest.fixture
def called(called: Call) -> Call:
    """`dcfm evaluate` by PyTorch, which has no graphs to make and compile: seconds for each network."""
    return lambda command, *arguments: called(command, "--backend", "torch", *arguments)


@pytest.fixture
def scored(called: Call, drive: Path, weights: Path, tmp_path: Path) -> Callable[..., dict[str, Any]]:
    def call(*arguments: str) -> dict[str, Any]:
        done = called(
            "evaluate", str(drive), "--weights", str(weights), *arguments, "--json", str(tmp_path / "scores.json")
        )
        assert done.returncode == 0, done.stderr
        return json.loads((tmp_path / "scores.json").read_text())

    return call


def test_masks_are_held_against_those_of_the_full_network(scored: Callable[..., dict[str, Any]]) -> None:
    scores = scored("--against", "full", "--keyframe-interval", "4", "--align", "none")
    assert scores["labelled_by_distance"] == {"0": 2, "1": 2, "2": 2, "3": 2}
    assert scored("--against", "full", "--mode", "full")["mIoU_present"] == 1
    at_keyframes = 11 * scores["by_distance"]["0"]  # of 11 classes those that are seen count 1, the others 0
    assert at_keyframes == pytest.approx(round(at_keyframes))
    assert scores["by_distance"]["3"] < scores["by_distance"]["0"]
    assert (scores["sparse"], scores["against"], scores["keyframes"]) == (False, "full", 2)
    assert scores["ms_per_frame"] == pytest.approx(1e3 * scores["seconds"] / FRAMES)


def test_alignment_brings_reused_features_nearer_to_the_full_network(scored: Callable[..., dict[str, Any]]) -> None:
    common = ("--against", "full", "--keyframe-interval", "8")
    none, flow = (scored(*common, "--align", align) for align in ("none", "flow"))
    assert flow["mIoU_present"] > none["mIoU_present"]
    assert flow["options"]["align"] == "flow"


def test_another_schedule_makes_an_ordinary_run(scored: Callable[..., dict[str, Any]]) -> None:
    scores = scored("--schedule", "adaptive", "--schedule-threshold", "0.03", "--schedule-min-interval", "2")
    assert scores["sparse"] is False
    assert sum(scores["labelled_by_distance"].values()) == 2
    assert 1 < scores["keyframes"] <= 4
    chosen = {"schedule": "adaptive", "schedule_threshold": 0.03, "schedule_min_interval": 2, "schedule_max_age_s": 0}
    assert {name: scores["options"][name] for name in chosen} == chosen


def test_asynchronous_keyframes_are_older(scored: Callable[..., dict[str, Any]]) -> None:
    scores = scored("--against", "full", "--keyframe-interval", "4", "--keyframe-mode", "async", "--swap-after", "2")
    assert scores["labelled_by_distance"] == {"0": 1, "1": 1, "2": 2, "3": 2, "4": 1, "5": 1}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--keyframe-mode", "async"), "--keyframe-mode async needs --swap-after here"),
        (("--schedule", "max_age"), "schedule is max_age and schedule_max_age_s is 0; expected an age in seconds"),
        (("--backend", "openvino", "--device", "cuda"), "cuda"),
    ],
)
def test_what_cannot_be_is_refused(called: Call, drive: Path, arguments: tuple[str, ...], said: str) -> None:
    done = called("evaluate", str(drive), *arguments)
    assert done.returncode != 0
    assert said in done.stderr
    assert "Traceback" not in done.stderr
