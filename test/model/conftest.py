"""Networks that the tests of weights files share."""

from __future__ import annotations

import pytest
import torch

from dcfm_ros.model import (
    DCFM,
    create_model,
)


@pytest.fixture(scope="module")
def model() -> DCFM:
    """Small, with nothing at its default: running means and counters too."""
    torch.manual_seed(3)
    network = create_model("camvid_mitb0")
    network.train()(torch.randn(2, 3, 64, 64))
    return network.eval()


@pytest.fixture(scope="module")
def other() -> DCFM:
    """What is loaded into: of the same architecture as `model`, with other values. No test may change it."""
    torch.manual_seed(4)
    return create_model("camvid_mitb0")
