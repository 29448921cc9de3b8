"""The file that a run goes on from: it is on the disk before it has its name, and holds the scaler of fp16."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
from torch.optim.lr_scheduler import LambdaLR
from torch.optim.swa_utils import AveragedModel

from dcfm_ros.model import create_model
from dcfm_ros.training.checkpoint import RunState
from dcfm_ros.training.recipe import Recipe, SourceRecipe

RECIPE = Recipe((SourceRecipe("street", 1.0),), model="camvid_mitb0", precision="fp16")


def state_of(scaler: torch.amp.GradScaler | None = None) -> RunState:
    model = create_model(RECIPE.model)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    schedule = LambdaLR(optimizer, lambda step: 1.0)
    return RunState(model, AveragedModel(model), optimizer, schedule, RECIPE, scaler)


def test_the_scale_of_fp16_is_gone_on_with(tmp_path: Path) -> None:
    def scaler(scale: float) -> torch.amp.GradScaler:
        found = torch.amp.GradScaler("cpu", init_scale=scale)
        found.scale(torch.zeros(()))  # only then does it have one
        return found

    state_of(scaler(1024.0)).save(tmp_path / "checkpoint.pt")
    fresh = scaler(65536.0)
    state_of(fresh).load(tmp_path / "checkpoint.pt", torch.device("cpu"))
    assert fresh.get_scale() == 1024.0


def test_a_checkpoint_is_on_the_disk_before_it_has_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []
    sync, replace = os.fsync, Path.replace

    def synced(file: int) -> None:
        done.append(f"synced {Path(f'/proc/self/fd/{file}').readlink().name} of {os.fstat(file).st_size} bytes")
        sync(file)

    def replaced(self: Path, target: Path) -> Path:
        done.append(f"replaced by {self.name} of {self.stat().st_size} bytes")
        return replace(self, target)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(Path, "replace", replaced)
    state_of().save(tmp_path / "checkpoint.pt")
    size = (tmp_path / "checkpoint.pt").stat().st_size
    assert size > 1_000_000
    assert done == [
        f"synced checkpoint.pt.partial of {size} bytes",
        f"replaced by checkpoint.pt.partial of {size} bytes",
    ]
