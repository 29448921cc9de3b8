"""The network's seams: shapes, norms, order of resizing, what training mode changes."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dcfm_ros.model import DCFM, create_model, fold_batch_norm, model_config
from dcfm_ros.model.backbones.mix_transformer import Block

NAMES = ("camvid_resnet18", "camvid_mitb0")


def network(name: str) -> DCFM:
    """Random weights, and running statistics that are not those of a fresh batch norm."""
    torch.manual_seed(1)
    model = create_model(name)
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                assert module.running_mean is not None and module.running_var is not None
                module.running_mean.normal_(0, 0.1)
                module.running_var.uniform_(0.5, 1.5)
                module.weight.uniform_(0.5, 1.5)
                module.bias.normal_(0, 0.1)
    return model


@pytest.fixture(scope="module", params=(*NAMES, "camvid_lite0"))
def model(request: pytest.FixtureRequest) -> DCFM:
    return network(request.param)


def image(height: int, width: int, seed: int = 0) -> Tensor:
    return torch.randn(2, 3, height, width, generator=torch.Generator().manual_seed(seed))


@torch.inference_mode()
@pytest.mark.parametrize(
    ("name", "size", "shallow_shape", "common_shape"),
    [
        ("camvid_resnet18", (64, 96), (64, 16, 24), (320, 8, 12)),
        ("camvid_resnet18", (61, 75), (64, 16, 19), (320, 8, 10)),
        ("camvid_mitb0", (64, 96), (32, 16, 24), (256, 16, 24)),
        ("camvid_mitb0", (61, 75), (32, 16, 19), (256, 16, 19)),
    ],
)
def test_shapes_of_each_stage(
    name: str, size: tuple[int, int], shallow_shape: tuple[int, ...], common_shape: tuple[int, ...]
) -> None:
    model = network(name)
    shallow = model.encode_shallow(image(*size))
    common = model.encode_common(shallow)
    assert shallow.shape == (2, *shallow_shape)
    assert common.shape == (2, *common_shape)
    assert model.fused_feature(common, shallow).shape == (2, *common_shape)
    assert model.fuse(common, shallow).shape == (2, 11, *common_shape[1:])
    assert model(image(*size)).shape == (2, 11, *size)


@torch.inference_mode()
def test_common_and_fused_features_have_unit_length(model: DCFM) -> None:
    shallow = model.encode_shallow(image(64, 96))
    common = model.encode_common(shallow)
    for feature in (common, model.fused_feature(common, shallow)):
        torch.testing.assert_close(feature.norm(dim=1), torch.ones(2, *feature.shape[2:]))


@torch.inference_mode()
def test_the_shallow_feature_is_raw_and_its_length_does_not_matter(model: DCFM) -> None:
    shallow = model.encode_shallow(image(64, 96))
    assert (shallow.norm(dim=1) - 1).abs().mean() > 1e-2
    common = model.encode_common(shallow)
    torch.testing.assert_close(model.fuse(common, 3 * shallow), model.fuse(common, shallow), rtol=1e-4, atol=1e-5)


@torch.inference_mode()
@pytest.mark.parametrize("size", [(64, 96), (61, 75)])
def test_a_keyframe_is_its_own_common_feature_fused_and_upsampled(model: DCFM, size: tuple[int, int]) -> None:
    frames = image(*size)
    shallow = model.encode_shallow(frames)
    low = model.fuse(model.encode_common(shallow), shallow)
    torch.testing.assert_close(model(frames), F.interpolate(low, size, mode="bilinear", align_corners=False))


@torch.inference_mode()
def test_other_frames_depend_on_both_features(model: DCFM) -> None:
    key, other = (model.encode_shallow(image(64, 96, seed)) for seed in (0, 1))
    reused = model.fuse(model.encode_common(key), other)
    assert not torch.equal(reused, model.fuse(model.encode_common(key), key))
    assert not torch.equal(reused, model.fuse(model.encode_common(other), other))


@torch.inference_mode()
@pytest.mark.parametrize("size", [(64, 96), (61, 75)])
def test_the_order_of_resizing_and_normalising_matters_where_the_grids_differ(size: tuple[int, int]) -> None:
    pspnet, segformer = (network(name) for name in NAMES)
    for model, differs in ((pspnet, True), (segformer, False)):
        shallow = model.encode_shallow(image(*size))
        common = model.encode_common(shallow)
        first, last = (model.fuse(common, shallow, resize_first=order) for order in (True, False))
        assert torch.equal(first, last) is not differs
        assert torch.equal(model.fuse(common, shallow), last)  # the catalogue's order is the authors' inference


@torch.inference_mode()
def test_weights_run_in_the_order_that_their_configuration_says() -> None:
    model = network("camvid_resnet18")
    own = DCFM(replace(model.config, resize_first=True))
    own.load_state_dict(model.state_dict())
    shallow = model.encode_shallow(image(61, 75))
    common = model.encode_common(shallow)
    torch.testing.assert_close(own.fuse(common, shallow), model.fuse(common, shallow, resize_first=True))


@torch.inference_mode()
def test_only_the_first_shallow_channels_are_fused_after_all_were_normalised() -> None:
    model = network("camvid_resnet18")
    shallow = model.encode_shallow(image(64, 96))
    read = model.fusion.independent(shallow, (16, 24), resize_first=False)
    torch.testing.assert_close(read, F.normalize(shallow, dim=1)[:, :32])


@torch.inference_mode()
def test_folding_batch_norm_keeps_the_function(model: DCFM) -> None:
    folded = DCFM(model.config)
    folded.load_state_dict(model.state_dict())
    fold_batch_norm(folded)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in folded.modules())
    expected = model(image(61, 75))
    torch.testing.assert_close(folded(image(61, 75)), expected, rtol=1e-3, atol=1e-4)


def test_folding_batch_norm_is_refused_in_training_mode() -> None:
    model = create_model("camvid_mitb0").train()
    names = {name: type(module) for name, module in model.named_modules()}
    with pytest.raises(ValueError, match="training mode"):
        fold_batch_norm(model)
    assert {name: type(module) for name, module in model.named_modules()} == names


@torch.no_grad()
def test_dropout_and_drop_path_act_in_training_only() -> None:
    model = network("camvid_mitb0")
    frames = image(64, 96)
    assert torch.equal(model(frames), model(frames))
    # Batch norm stays as it is, so that nothing but chance can make a difference.
    for module in model.modules():
        module.training = not isinstance(module, nn.BatchNorm2d)
    shallow = [model.encode_shallow(frames) for _ in range(2)]
    assert torch.equal(*shallow)  # the first block's drop path is 0
    common = [model.encode_common(shallow[0]) for _ in range(2)]
    assert not torch.equal(*common)
    assert not torch.equal(model.fuse(common[0], shallow[0]), model.fuse(common[0], shallow[0]))


@torch.no_grad()
def test_a_dropped_path_leaves_the_residual_and_the_rest_makes_up_for_it() -> None:
    block = network("camvid_mitb0").encoder.get_submodule("mit.block4.1")
    assert isinstance(block, Block)
    nn.init.zeros_(block.mlp.fc2.weight)
    nn.init.zeros_(block.mlp.fc2.bias)  # which leaves the attention's path alone
    tokens = torch.randn(400, 6, 256)
    path = block(tokens, (2, 3)) - tokens
    trained = block.train()(tokens, (2, 3)) - tokens
    kept = trained.flatten(1).any(1)
    assert 0.02 < 1 - kept.float().mean() < 0.25  # the last block's rate is 0.1
    torch.testing.assert_close(trained[kept], path[kept] / 0.9, rtol=1e-3, atol=1e-5)


def test_more_shallow_channels_than_the_backbone_has_are_refused() -> None:
    with pytest.raises(ValueError, match="shallow_channels is 65; resnet18 has 64"):
        DCFM(replace(model_config("camvid_resnet18"), shallow_channels=65))
