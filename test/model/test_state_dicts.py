"""State dicts as training tools leave them are taken, and it is said what was taken away."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from dcfm_ros.model.pretrained import initialise
from dcfm_ros.model.state_dicts import unwrapped

WRAPPINGS = {
    "DataParallel": lambda state: {f"module.{name}": value for name, value in state.items()},
    "Lightning": lambda state: {"state_dict": {f"model.{name}": value for name, value in state.items()}, "epoch": 3},
    "both": lambda state: {"model": {f"module.net.{name}": value for name, value in state.items()}},
    "compiled": lambda state: {"net": {f"_orig_mod.{name}": value for name, value in state.items()}},
}


@pytest.mark.parametrize("name", WRAPPINGS)
def test_a_wrapped_state_dict_is_the_one_inside(name: str, caplog: pytest.LogCaptureFixture) -> None:
    state = {"conv1.weight": torch.ones(2), "fc.bias": torch.zeros(3)}
    with caplog.at_level(logging.WARNING):
        assert unwrapped(WRAPPINGS[name](state), "a.pth") == state
    assert caplog.records[0].getMessage().startswith("a.pth: taken without ")
    caplog.clear()
    assert unwrapped(state, "a.pth") == state
    assert not caplog.records, "nothing is said where nothing was taken away"


def test_a_name_that_not_all_begin_with_stays() -> None:
    state = {"model.weight": torch.ones(1), "head.weight": torch.ones(1)}
    assert unwrapped(state, "a.pth") is state


@pytest.mark.parametrize("form", ["pth", "safetensors"])
def test_initial_weights_of_any_wrapping_are_taken(tmp_path: Path, form: str) -> None:
    from dcfm_ros.model import create_model

    written, model = create_model("camvid_resnet18"), create_model("camvid_resnet18")
    state = WRAPPINGS["DataParallel"](written.state_dict())
    path = tmp_path / f"a.{form}"
    save_file(state, path) if form == "safetensors" else torch.save({"state_dict": state}, path)
    assert initialise(model, path) == []
    for name, value in written.state_dict().items():
        assert torch.equal(model.state_dict()[name], value) or name.endswith("num_batches_tracked")
