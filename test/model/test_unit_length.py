"""Features of unit length, also in float16, which neither their squares nor the least length fit in."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from dcfm_ros.model.unit_length import unit_length


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
@pytest.mark.parametrize("largest", [1e-3, 1.0, 3000.0])
def test_every_place_has_a_length_of_one(dtype: torch.dtype, largest: float) -> None:
    feature = (largest * torch.rand(1, 64, 3, 5, generator=torch.Generator().manual_seed(0))).to(dtype)
    found = unit_length(feature)
    assert (found.dtype, found.shape) == (dtype, feature.shape)
    torch.testing.assert_close(found.double(), F.normalize(feature.double(), dim=1), rtol=0.02, atol=1e-3)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_where_nothing_is_there_stays_nothing(dtype: torch.dtype) -> None:
    assert (unit_length(torch.zeros(1, 8, 2, 2, dtype=dtype)) == 0).all()
