"""The numbers that `dcfm models` shows are those of the networks."""

from __future__ import annotations

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from dcfm_ros.imaging.geometry import network_size
from dcfm_ros.model import DCFM, available_models, model_config
from dcfm_ros.model.costs import cost_of


def gmac(counter: FlopCounterMode) -> float:
    return counter.get_total_flops() / 2e9


@torch.inference_mode()
@pytest.mark.parametrize("name", available_models())
def test_the_kept_numbers_are_the_networks(name: str) -> None:
    config = model_config(name)
    with torch.device("meta"):  # shapes alone: nothing is computed
        model = DCFM(config)
        image = torch.empty(1, 3, *network_size(*config.input_size, config.input_size, config.size_multiple))
        with FlopCounterMode(display=False) as of_shallow:
            shallow = model.encode_shallow(image)
        with FlopCounterMode(display=False) as of_common:
            common = model.encode_common(shallow)
        with FlopCounterMode(display=False) as of_fusion:
            model.fuse(common, shallow)
    half_of_common = common.shape[2] * common.shape[3] * common.shape[1] * model.fusion.conv.out_channels / 1e9
    cost = cost_of(name)
    assert cost.parameters == sum(parameter.numel() for parameter in model.parameters())
    other = gmac(of_shallow) + gmac(of_fusion) - half_of_common
    assert cost.other_gmac == pytest.approx(other, abs=0.006)
    assert cost.keyframe_gmac == pytest.approx(other + gmac(of_common) + half_of_common, abs=0.006)
