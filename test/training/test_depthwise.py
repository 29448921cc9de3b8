"""Depthwise convolutions that train in bf16: the same as torch's own, with gradients at least as close to the exact."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from dcfm_ros.training.depthwise import quicken_depthwise


def _gradients(conv: nn.Module, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The result and the gradients of input and weight, of a loss that weighs each place of the result alike or not."""
    x = x.clone().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        result = conv(x)
    places = torch.linspace(-1, 1, result.numel()).view_as(result)
    (result.float() * places).sum().backward()
    assert x.grad is not None and isinstance(conv.weight, nn.Parameter) and conv.weight.grad is not None
    return result.detach(), x.grad, conv.weight.grad


def _exact(conv: nn.Conv2d, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The same in float64, from the values that bf16 holds of the input and the weight."""
    conv = copy.deepcopy(conv)
    conv.weight.data = conv.weight.data.bfloat16()
    conv.double()
    x = x.bfloat16().double().requires_grad_()
    result = conv(x)
    (result * torch.linspace(-1, 1, result.numel()).view_as(result)).sum().backward()
    assert x.grad is not None and conv.weight.grad is not None
    return result.detach(), x.grad, conv.weight.grad


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(("kernel", "stride"), [(3, 1), (3, 2), (5, 1), (5, 2)])
def test_gradients_are_as_close_to_the_exact_ones_as_torchs_own(kernel: int, stride: int, dtype: torch.dtype) -> None:
    torch.manual_seed(kernel + stride)
    plain = nn.Conv2d(24, 24, kernel, stride, kernel // 2, groups=24, bias=False)
    plain.to(memory_format=torch.channels_last)  # type: ignore[call-overload] # torch takes it, its types do not
    quick = copy.deepcopy(plain)
    quicken_depthwise(quick)
    x = torch.randn(2, 24, 19, 22).to(dtype).to(memory_format=torch.channels_last)

    for exact, torchs, ours in zip(_exact(plain, x), _gradients(plain, x), _gradients(quick, x), strict=True):
        assert (ours.dtype, ours.shape) == (torchs.dtype, torchs.shape)
        error = (torchs - exact).abs().max()
        assert (ours - exact).abs().max() <= 1.05 * error + 1e-3 * exact.abs().max()


def test_what_gains_nothing_is_left_alone() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(8, 8, 5, padding=2), nn.Conv2d(8, 8, 3, padding=1, groups=8, bias=False))
    x = torch.randn(1, 8, 6, 6)
    before = model(x)
    quicken_depthwise(model)
    assert not any("forward" in vars(module) for module in model)
    torch.testing.assert_close(model(x), before, rtol=0, atol=0)


def test_the_first_layer_needs_no_gradient_of_its_input() -> None:
    conv = nn.Conv2d(8, 8, 5, stride=2, padding=2, groups=8, bias=False)
    quicken_depthwise(conv)
    with torch.autocast("cpu", torch.bfloat16):
        result = conv(torch.randn(1, 8, 9, 9))
    result.float().sum().backward()
    assert conv.weight.grad is not None and conv.weight.grad.isfinite().all()


def test_without_autocast_and_in_a_copy_it_is_the_convolution_that_it_was() -> None:
    plain = nn.Conv2d(8, 8, 5, stride=2, padding=2, groups=8, bias=False)
    quick = copy.deepcopy(plain)
    quicken_depthwise(quick)
    x = torch.randn(1, 8, 9, 9)
    torch.testing.assert_close(quick(x), plain(x), rtol=0, atol=0)
    other = copy.deepcopy(quick)
    nn.init.zeros_(other.weight)
    assert not other(x).any() and quick(x).any()
