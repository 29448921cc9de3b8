"""EfficientNet-Lite's ImageNet weights as a starting point, with the names that their packages have."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from imagenet_files import efficientnet_lite
from safetensors.torch import save_file
from weights_checks import State, assert_equal, copy_of, drop, put, refusal

from dcfm_ros.model import create_model
from dcfm_ros.model.pretrained import imagenet_first_block, initialise

FUSED = "encoder.blocks.1."


def saved(state: State, folder: Path) -> Path:
    path = folder / "lite.pth"
    torch.save(state, path)
    return path


@pytest.mark.parametrize("name", ["camvid_lite0", "camvid_lite2"])
def test_every_block_but_the_fused_one_is_loaded(tmp_path: Path, name: str) -> None:
    theirs, network = efficientnet_lite(name), create_model(name)
    before = copy_of(network)
    left = initialise(network, saved(theirs, tmp_path))
    after = network.state_dict()
    last = max(int(key.split(".")[1]) for key in theirs if key.startswith("_blocks."))
    for own, of_theirs in (
        ("stem.weight", "_conv_stem.weight"),
        ("stem_norm.running_mean", "_bn0.running_mean"),
        ("blocks.0.depthwise.weight", "_blocks.0._depthwise_conv.weight"),
        ("blocks.0.depthwise_norm.bias", "_blocks.0._bn1.bias"),
        ("blocks.2.expand.weight", "_blocks.2._expand_conv.weight"),
        ("blocks.2.expand_norm.running_var", "_blocks.2._bn0.running_var"),
        (f"blocks.{last}.project.weight", f"_blocks.{last}._project_conv.weight"),
        (f"blocks.{last}.project_norm.weight", f"_blocks.{last}._bn2.weight"),
    ):
        assert torch.equal(after[f"encoder.{own}"], theirs[of_theirs]), own
    at_random = {
        key
        for key in before
        if key.startswith((FUSED, "encoder.ladder.", "fusion.", "head.")) and not key.endswith("num_batches_tracked")
    }
    assert set(left) == at_random
    assert f"{FUSED}expand.weight" in left and "encoder.ladder.mix8.0.weight" in left
    assert_equal({key: after[key] for key in at_random}, {key: before[key] for key in at_random})


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (drop("_blocks.5._bn2.bias"), "encoder.blocks.5.project_norm.bias"),
        (put("_blocks.5._bn2.bias", torch.zeros(3)), "encoder.blocks.5.project_norm.bias is (3,); expected (80,)"),
        (put("_bn0.running_var", torch.full((32,), float("nan"))), "encoder.stem_norm.running_var"),
        # EfficientNet-B0 has the same names, and squeeze-and-excitation.
        (put("_blocks.5._se_reduce.weight", torch.zeros(1)), "encoder.blocks.5._se_reduce.weight"),
        (put("_blocks.odd", torch.zeros(1)), "encoder.blocks.odd"),
    ],
)
def test_another_network_is_refused_and_nothing_is_loaded(
    tmp_path: Path, change: Callable[[State], None], said: str
) -> None:
    tensors = efficientnet_lite()
    change(tensors)
    network = create_model("camvid_lite0")
    before = copy_of(network)
    path = saved(tensors, tmp_path)
    assert said in refusal(lambda: initialise(network, path))
    assert_equal(network.state_dict(), before)


def test_a_file_of_another_size_is_refused_in_a_sentence(tmp_path: Path) -> None:
    path = saved(efficientnet_lite("camvid_lite2"), tmp_path)
    said = refusal(lambda: initialise(create_model("camvid_lite0"), path))
    assert said.startswith(f"{path} is not of efficientnet_lite0 as camvid_lite0 has it: encoder.blocks.")


@pytest.mark.parametrize("counters", [True, False])
def test_the_published_first_block_comes_from_the_same_file(tmp_path: Path, counters: bool) -> None:
    theirs = efficientnet_lite(counters=counters)
    path = tmp_path / "lite.safetensors"
    save_file(theirs, path)
    network = create_model("camvid_lite0")
    initialise(network, path)
    block = imagenet_first_block(network, path)
    assert block is not None and not block.training
    assert torch.equal(block.depthwise.weight, theirs["_blocks.1._depthwise_conv.weight"])
    assert torch.equal(block.project_norm.get_buffer("running_var"), theirs["_blocks.1._bn2.running_var"])
    assert block(torch.rand(1, 16, 8, 12)).shape == (1, 24, 4, 6)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (drop("_blocks.1._bn1.bias"), "encoder.blocks.1.depthwise_norm.bias"),
        (put("_blocks.1._bn1.bias", torch.zeros(3)), "encoder.blocks.1.depthwise_norm.bias is (3,); expected (96,)"),
    ],
)
def test_a_first_block_that_does_not_fit_is_refused(tmp_path: Path, change: Callable[[State], None], said: str) -> None:
    tensors = efficientnet_lite()
    change(tensors)
    path = saved(tensors, tmp_path)
    assert said in refusal(lambda: imagenet_first_block(create_model("camvid_lite0"), path))


def test_other_networks_have_no_such_block(tmp_path: Path) -> None:
    path = saved(efficientnet_lite(), tmp_path)
    assert imagenet_first_block(create_model("camvid_resnet18"), path) is None
