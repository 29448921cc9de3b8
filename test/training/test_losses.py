"""The losses and their gradients against the authors' code."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from reference_data import filled_model, load_module

from dcfm_ros.training.cross_entropy import cross_entropy
from dcfm_ros.training.losses import dcfm_losses


@pytest.mark.parametrize("name", ["cityscapes_resnet18", "vspw_mitb2"])
def test_losses_and_gradients_are_the_authors(shared_reference: Path, name: str) -> None:
    expected = json.loads((shared_reference / f"train_{name}.json").read_text())
    inputs = load_module(shared_reference / "inputs.py")
    height, width = expected["size"]
    clips = [inputs.frames(2, height, width, seed) for seed in (0, 1)]
    neighbour, labelled = (torch.from_numpy(np.stack([clip[i] for clip in clips])) for i in (0, 1))
    target = torch.from_numpy(inputs.labels(2, height, width, expected["classes"], 0))
    model = filled_model(shared_reference, name)

    losses = dcfm_losses(model, labelled, neighbour, target, resize_first=True)
    losses.total.backward()

    values = {key: loss["value"] for key, loss in expected["losses"].items()}
    assert losses.individual.item() == pytest.approx(values["celoss_I"], rel=1e-5)
    assert losses.reused.item() == pytest.approx(values["celoss_B"], rel=1e-5)
    assert losses.consistency.item() == pytest.approx(values["Loss_PC"], rel=1e-3)
    assert losses.total.item() == pytest.approx(expected["total"], rel=1e-5)
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    norm = torch.stack([g.norm() for g in gradients]).norm().item()
    assert norm == pytest.approx(expected["grad_norm_total"], rel=1e-3)
    if name == "cityscapes_resnet18":
        named = expected["grad_norm_named"]
        head = model.get_parameter("head.4.weight").grad
        stem = model.get_parameter("encoder.layer0.0.weight").grad
        assert head is not None and stem is not None
        assert head.norm().item() == pytest.approx(named["decoder:final.4.weight"], rel=1e-3)
        assert stem.norm().item() == pytest.approx(named["encoder:backbone.layer0.0.weight"], rel=1e-3)


def test_nothing_labelled_costs_nothing() -> None:
    logits = torch.randn(1, 11, 4, 4, requires_grad=True)
    loss = cross_entropy(logits, torch.full((1, 8, 8), 255))
    loss.backward()
    assert loss.item() == 0
    assert logits.grad is not None
    assert not logits.grad.any()


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_the_cross_entropy_and_its_gradient_are_torchs(weighted: bool, dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(5)
    logits = (torch.randn(2, 11, 6, 8, generator=generator) * 40).to(dtype)
    target = torch.randint(0, 11, (2, 24, 32), generator=generator)
    target[torch.rand(target.shape, generator=generator) < 0.2] = 255
    weights = torch.rand(11, generator=generator) if weighted else None

    def torchs(logits: torch.Tensor) -> torch.Tensor:
        precise = logits if dtype == torch.float64 else logits.float()
        resized = F.interpolate(precise, target.shape[1:], mode="bilinear", align_corners=False)
        return F.cross_entropy(
            resized, target, None if weights is None else weights.to(resized.dtype), ignore_index=255
        )

    found = logits.clone().requires_grad_()
    expected = logits.clone().requires_grad_()
    (3 * cross_entropy(found, target, weights)).backward()
    (3 * torchs(expected)).backward()
    assert found.grad is not None and expected.grad is not None
    torch.testing.assert_close(cross_entropy(logits, target, weights), torchs(logits))
    torch.testing.assert_close(found.grad, expected.grad, rtol=1e-4, atol=1e-6)
