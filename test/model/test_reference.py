"""The network against tensors made by the authors' code on deterministic weights and inputs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from reference_data import filled_model, load_module

from dcfm_ros.model import DCFM, available_models, fold_batch_norm

PUBLISHED = available_models()[:7]


class Reference:
    """One .npz: `check` holds a tensor against what is stored of it."""

    def __init__(self, path: Path) -> None:
        self.data = np.load(path)
        self.size = tuple(int(side) for side in self.data["size"])

    def check(self, name: str, tensor: torch.Tensor, tolerance: float = 5e-5) -> None:
        values = tensor.numpy()
        assert values.shape == tuple(self.data[f"{name}__shape"]), name
        sampled = values.ravel()[:: int(self.data[f"{name}__stride"])]
        np.testing.assert_allclose(sampled, self.data[f"{name}__sub"], rtol=0, atol=tolerance, err_msg=name)
        self.check_statistics(name, values, tolerance)

    def check_statistics(self, name: str, values: np.ndarray, tolerance: float) -> None:
        assert values.mean(dtype=np.float64) == pytest.approx(float(self.data[f"{name}__mean"]), abs=tolerance)
        assert values.std(dtype=np.float64) == pytest.approx(float(self.data[f"{name}__std"]), abs=tolerance)
        if f"{name}__argmax" in self.data:
            assert (values.argmax(1) != self.data[f"{name}__argmax"]).sum() <= 2, name


@pytest.mark.parametrize("name", PUBLISHED)
def test_names_and_shapes_are_the_published_ones(shared_reference: Path, name: str) -> None:
    filled_model(shared_reference, name)  # refuses a missing, an extra or a misshapen tensor


@pytest.fixture(scope="module", params=["cityscapes_resnet18", "cityscapes_resnet18_odd", "vspw_mitb2"])
def case(request: pytest.FixtureRequest, shared_reference: Path) -> tuple[DCFM, torch.Tensor, Reference]:
    reference = Reference(shared_reference / f"{request.param}.npz")
    frames = load_module(shared_reference / "inputs.py").frames(4, *reference.size, 0)
    return filled_model(shared_reference, request.param.removesuffix("_odd")), torch.from_numpy(frames), reference


@torch.inference_mode()
def check_every_tensor(model: DCFM, frames: torch.Tensor, reference: Reference) -> None:
    size = frames.shape[-2:]

    def up(logits: torch.Tensor) -> torch.Tensor:
        return F.interpolate(logits, size, mode="bilinear", align_corners=False)

    shallow = [model.encode_shallow(frame[None]) for frame in frames]
    common = [model.encode_common(s) for s in shallow]
    logits = {(k, i): model.fuse(common[k], shallow[i]) for k in range(4) for i in range(4)}

    reference.check("key0", model(frames[:1]))
    reference.check("key0_low", logits[0, 0])
    reference.check("key3", up(logits[3, 3]))
    reference.check("common0", common[0])
    reference.check("indep1", F.normalize(shallow[1], dim=1))
    reference.check("fused1", model.fused_feature(common[0], shallow[1]))
    reference.check("causal1_low", logits[0, 1])
    for i in (1, 2, 3):
        reference.check(f"causal{i}", up(logits[0, i]))
    for i in (1, 2):
        reference.check(f"bi{i}", up(logits[0, i]) + up(logits[3, i]))


def test_float32(case: tuple[DCFM, torch.Tensor, Reference]) -> None:
    check_every_tensor(*case)


def test_float32_with_batch_norm_folded(case: tuple[DCFM, torch.Tensor, Reference]) -> None:
    model, frames, reference = case
    folded = DCFM(model.config)
    folded.load_state_dict(model.state_dict())
    fold_batch_norm(folded)
    assert not any(isinstance(module, torch.nn.BatchNorm2d) for module in folded.modules())
    check_every_tensor(folded, frames, reference)


@torch.inference_mode()
def test_float64(case: tuple[DCFM, torch.Tensor, Reference]) -> None:
    model, frames, reference = case
    double = DCFM(model.config)
    double.load_state_dict(model.state_dict())
    double.double()
    inputs = frames.double()
    shallow = [double.encode_shallow(frame[None]) for frame in inputs[:2]]
    common = double.encode_common(shallow[0])
    reference.check("key0_f64", double(inputs[:1]), 1e-6)
    reference.check("common0_f64", common, 1e-6)
    causal = F.interpolate(double.fuse(common, shallow[1]), inputs.shape[-2:], mode="bilinear", align_corners=False)
    reference.check("causal1_f64", causal, 1e-6)


@torch.inference_mode()
@pytest.mark.parametrize("phase", [0, 1])
def test_bidirectional_phases_at_interval_two(case: tuple[DCFM, torch.Tensor, Reference], phase: int) -> None:
    """Phase p has keyframes p, p + 2, ...; a frame sums the logits of the keyframes before and after it."""
    model, frames, reference = case
    keyframes = [i for i in range(4) if i % 2 == phase]
    common = {k: model.encode_common(model.encode_shallow(frames[k][None])) for k in keyframes}
    for i in range(4):
        around = {i} if i in keyframes else {k for k in keyframes if abs(k - i) == 1}
        shallow = model.encode_shallow(frames[i][None])
        low = torch.stack([model.fuse(common[k], shallow) for k in sorted(around)]).sum(0)
        logits = F.interpolate(low, frames.shape[-2:], mode="bilinear", align_corners=False)
        reference.check_statistics(f"k2_phase{phase}_frame{i}", logits.numpy(), 5e-5)
