"""The real-time networks: EfficientNet-Lite, its ladder, and the fusion on the finer grid."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from weights_checks import assert_equal, copy_of

from dcfm_ros.model import DCFM, ModelConfig, create_model, load_weights, model_config, save_weights
from dcfm_ros.model.fusion import FineFusion


@pytest.fixture(scope="module")
def lite() -> DCFM:
    """Random weights, and running statistics that are not those of a fresh batch norm. No test may change it."""
    torch.manual_seed(1)
    model = create_model("camvid_lite0")
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                assert module.running_mean is not None and module.running_var is not None
                module.running_mean.normal_(0, 0.1)
                module.running_var.uniform_(0.5, 1.5)
                module.bias.normal_(0, 0.1)
    return model


@torch.inference_mode()
@pytest.mark.parametrize("size", [(32, 32), (96, 160), (61, 75)])
def test_shapes_of_each_stage(lite: DCFM, size: tuple[int, int]) -> None:
    def of(stride: int) -> tuple[int, int]:
        return -(-size[0] // stride), -(-size[1] // stride)

    images = torch.randn(2, 3, *size)
    shallow = lite.encode_shallow(images)
    common = lite.encode_common(shallow)
    assert shallow.shape == (2, 48, *of(4))
    assert common.shape == (2, 96, *of(8))
    assert lite.fused_feature(common, shallow).shape == (2, 64, *of(4))
    assert lite.fuse(common, shallow).shape == (2, 11, *of(4))
    assert lite(images).shape == (2, 11, *size)


@torch.inference_mode()
@pytest.mark.parametrize("size", [(96, 160), (61, 75)])
def test_fusing_halves_is_the_published_fusion_of_an_enlarged_common_feature(lite: DCFM, size: tuple[int, int]) -> None:
    """The FFM of the paper on F_in's grid: concat, 1x1 convolution, batch norm, ReLU; then the 3x3 one beside it."""
    fusion = lite.fusion
    assert isinstance(fusion, FineFusion)
    shallow = lite.encode_shallow(torch.randn(2, 3, *size))
    common = lite.encode_common(shallow)
    enlarged = F.interpolate(common, shallow.shape[2:], mode="bilinear", align_corners=False)
    joined = fusion.conv(torch.cat([enlarged, F.normalize(shallow, dim=1)], dim=1))
    joined = F.relu(fusion.norm(joined))
    expected = F.normalize(F.relu(joined + fusion.spread_norm(fusion.spread(joined))), dim=1)
    torch.testing.assert_close(lite.fused_feature(common, shallow), expected, rtol=1e-4, atol=1e-5)


@torch.inference_mode()
def test_only_the_first_shallow_channels_are_fused_after_all_were_normalised(lite: DCFM) -> None:
    model = DCFM(replace(lite.config, shallow_channels=16))
    assert model.fusion.conv.weight.shape == (64, 96 + 16, 1, 1)
    shallow = model.encode_shallow(torch.randn(1, 3, 64, 96)) + 0.1
    common = model.encode_common(shallow)
    mirrored = torch.cat([shallow[:, :16], shallow[:, 16:].flip(1)], dim=1)  # the same length
    longer = torch.cat([shallow[:, :16], 2 * shallow[:, 16:]], dim=1)
    expected = model.fuse(common, shallow)
    torch.testing.assert_close(model.fuse(common, mirrored), expected, rtol=1e-4, atol=1e-5)
    assert (model.fuse(common, longer) - expected).abs().max() > 1e-4


@torch.inference_mode()
def test_the_ladder_sees_the_whole_picture(lite: DCFM) -> None:
    """One far corner changes F_co everywhere: the context has a mean over the picture."""
    image = torch.zeros(1, 3, 128, 256)
    other = image.clone()
    other[..., :32, :32] = 2
    one, two = (lite.encode_common(lite.encode_shallow(picture)) for picture in (image, other))
    assert ((one - two).abs().amax(1) > 0).all()


@pytest.mark.parametrize("size", ["lite0", "lite1", "lite2"])
def test_each_size_is_a_backbone_of_own_configurations(size: str) -> None:
    config = ModelConfig("mine", f"efficientnet_{size}", 3, "", 40, 48, (96, 160), fusion="fine", fused_width=24)
    torch.manual_seed(2)
    model = DCFM(config)
    blocks = {"lite0": 16, "lite1": 21, "lite2": 21}
    assert len(list(model.encoder.get_submodule("blocks").children())) == blocks[size]
    with torch.inference_mode():
        shallow = model.encode_shallow(torch.randn(1, 3, 64, 96))
        common = model.encode_common(shallow)
        assert common.shape == (1, 40, 8, 12)
        assert model.fused_feature(common, shallow).shape == (1, 24, 16, 24)
        assert model.fuse(common, shallow).shape == (1, 3, 16, 24)


@torch.inference_mode()
@pytest.mark.parametrize(
    ("backbone", "fusion", "fused_width", "fused", "grid"),
    [
        ("efficientnet_lite0", "fine", 0, 96, (16, 24)),  # no width: as wide as F_co
        ("efficientnet_lite0", "ffm", 64, 96, (8, 12)),
        ("resnet18", "fine", 24, 24, (16, 24)),
    ],
)
def test_encoders_and_fusions_can_be_swapped(
    backbone: str, fusion: str, fused_width: int, fused: int, grid: tuple[int, int]
) -> None:
    config = ModelConfig("mine", backbone, 3, "", 96, 32, (64, 96), fusion=fusion, fused_width=fused_width)
    model = DCFM(config)
    shallow = model.encode_shallow(torch.randn(1, 3, 64, 96))
    common = model.encode_common(shallow)
    assert config.fused_channels == fused
    assert model.fused_feature(common, shallow).shape == (1, fused, *grid)
    assert model(torch.randn(1, 3, 64, 96)).shape == (1, 3, 64, 96)


def test_more_shallow_channels_than_the_expansion_has_are_refused() -> None:
    with pytest.raises(ValueError, match="shallow_channels is 49; efficientnet_lite0 has 48"):
        DCFM(replace(model_config("camvid_lite0"), shallow_channels=49))


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("fused_width", -1, "fused_width is -1; expected 0 to 4096"),
        ("fused_width", 4097, "fused_width is 4097; expected 0 to 4096"),
        ("fused_width", True, "fused_width is True; expected 0 to 4096"),
        ("fused_width", 64.0, "fused_width is 64.0; expected 0 to 4096"),
        ("fusion", "coarse", "fusion is 'coarse'; expected one of ffm, fine"),
        ("backbone", "efficientnet_lite3", "backbone is 'efficientnet_lite3'; expected one of .*efficientnet_lite2"),
        ("input_size", (24, 480), "expected a height and a width of at least 32"),
    ],
)
def test_an_impossible_configuration_is_refused(field: str, value: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        replace(model_config("camvid_lite0"), **{field: value})


def test_weights_round_trip(lite: DCFM, tmp_path: Path) -> None:
    save_weights(lite, tmp_path / "lite.safetensors")
    loaded = load_weights(tmp_path / "lite.safetensors")
    assert loaded.config == model_config("camvid_lite0")
    assert_equal(loaded.state_dict(), copy_of(lite))


def test_a_configuration_from_before_the_fine_fusion_is_still_read() -> None:
    """Their configuration has no fused_width."""
    fields = {key: value for key, value in vars(model_config("camvid_resnet18")).items() if key != "fused_width"}
    assert ModelConfig.from_json(fields) == model_config("camvid_resnet18")
