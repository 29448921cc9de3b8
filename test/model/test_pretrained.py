"""An encoder trained on ImageNet as a starting point."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from weights_checks import State, assert_equal, copy_of, drop, put, refusal

from dcfm_ros.model import DCFM, create_model, save_weights
from dcfm_ros.model.pretrained import initialise


@pytest.fixture(scope="module")
def imagenet() -> State:
    """A ResNet-18 with torchvision's names."""
    torch.manual_seed(6)
    layers = create_model("camvid_resnet18").encoder.state_dict()
    renamed = {
        name.replace("layer0.0.", "conv1.").replace("layer0.1.", "bn1."): torch.rand_like(tensor.float())
        for name, tensor in layers.items()
        if name.startswith("layer") and not name.endswith("num_batches_tracked")
    }
    return renamed | {"fc.weight": torch.zeros(1000, 512), "fc.bias": torch.zeros(1000)}


def test_an_imagenet_resnet_fills_the_encoder_and_nothing_else(imagenet: State, tmp_path: Path) -> None:
    network = create_model("camvid_resnet18")
    before = copy_of(network)
    counters = {"bn1.num_batches_tracked": torch.tensor(9)}  # some files hold them
    save_file(imagenet | counters, tmp_path / "r.safetensors")
    initialise(network, tmp_path / "r.safetensors")
    after = network.state_dict()
    assert torch.equal(after["encoder.layer0.0.weight"], imagenet["conv1.weight"])
    assert torch.equal(after["encoder.layer0.1.running_var"], imagenet["bn1.running_var"])
    assert torch.equal(after["encoder.layer4.1.conv2.weight"], imagenet["layer4.1.conv2.weight"])
    assert torch.equal(after["encoder.layer2.0.downsample.0.weight"], imagenet["layer2.0.downsample.0.weight"])
    rest = [name for name in before if not name.startswith("encoder.layer")]
    assert_equal({name: after[name] for name in rest}, {name: before[name] for name in rest})


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (drop("layer4.1.bn2.bias"), "layer4.1.bn2.bias"),
        (put("layer5.0.conv1.weight", torch.zeros(1)), "layer5.0.conv1.weight"),
        (put("layer4.1.bn2.bias", torch.zeros(3)), "layer4.1.bn2.bias is (3,); expected (512,)"),
        (put("layer4.1.bn2.bias", torch.full((512,), float("nan"))), "layer4.1.bn2.bias"),
    ],
)
def test_another_imagenet_network_is_refused_and_nothing_is_loaded(
    imagenet: State, tmp_path: Path, change: Callable[[State], None], said: str
) -> None:
    tensors = dict(imagenet)
    change(tensors)
    save_file(tensors, tmp_path / "r.safetensors")
    network = create_model("camvid_resnet18")
    before = copy_of(network)
    message = refusal(lambda: initialise(network, tmp_path / "r.safetensors"))
    assert said in message and str(tmp_path) in message
    assert_equal(network.state_dict(), before)


def test_imagenet_files_that_cannot_be_read_are_refused(tmp_path: Path) -> None:
    network = create_model("camvid_resnet18")
    path = tmp_path / "r.safetensors"
    assert str(path) in refusal(lambda: initialise(network, path))
    path.write_bytes(b"\0" * 30)
    assert str(path) in refusal(lambda: initialise(network, path))


def test_an_encoder_of_another_backbone_is_refused(other: DCFM, imagenet: State, tmp_path: Path) -> None:
    save_file(imagenet, tmp_path / "r.safetensors")
    message = refusal(lambda: initialise(other, tmp_path / "r.safetensors"))
    assert "mit_b0" in message


def test_a_mit_encoder_is_loaded_from_a_file_of_torch(tmp_path: Path) -> None:
    source, network = create_model("camvid_mitb0"), create_model("camvid_mitb0")
    theirs = {
        name.removeprefix("encoder.mit.").replace("mlp.dwconv.", "mlp.dwconv.dwconv."): tensor
        for name, tensor in source.state_dict().items()
        if name.startswith("encoder.mit.")
    }
    torch.save({"state_dict": theirs | {"head.weight": torch.zeros(1000, 256)}}, tmp_path / "mit_b0.pth")
    left = initialise(network, tmp_path / "mit_b0.pth")
    name = "encoder.mit.block4.1.mlp.dwconv.weight"
    assert torch.equal(network.get_parameter(name), source.get_parameter(name))
    assert left and not any(name.startswith("encoder.mit.") for name in left)


def test_the_deep_stem_of_a_resnet_50_is_left_at_random(tmp_path: Path) -> None:
    network = create_model("camvid_resnet50")
    theirs = {
        name.removeprefix("encoder."): torch.rand_like(tensor)
        for name, tensor in network.state_dict().items()
        if name.startswith("encoder.layer") and "layer0" not in name and not name.endswith("num_batches_tracked")
    }
    theirs |= {"conv1.weight": torch.rand(64, 3, 7, 7), "layer1.0.conv1.weight": torch.rand(64, 64, 1, 1)}
    theirs |= {"layer1.0.downsample.0.weight": torch.rand(256, 64, 1, 1)}
    save_file(theirs, tmp_path / "resnet50.safetensors")
    left = initialise(network, tmp_path / "resnet50.safetensors")
    assert torch.equal(network.state_dict()["encoder.layer4.2.conv3.weight"], theirs["layer4.2.conv3.weight"])
    assert {"encoder.layer0.0.weight", "encoder.layer1.0.conv1.weight"} <= set(left)
    assert not any(name.startswith("encoder.layer2") for name in left)


def test_own_weights_for_other_classes_leave_the_classifier_at_random(model: DCFM, tmp_path: Path) -> None:
    save_weights(model, tmp_path / "own.safetensors")
    same, more = create_model("camvid_mitb0"), create_model("camvid_mitb0", num_classes=20)
    assert initialise(same, tmp_path / "own.safetensors") == []
    assert torch.equal(same.head[-1].get_parameter("weight"), model.head[-1].get_parameter("weight"))
    assert initialise(more, tmp_path / "own.safetensors") == ["head.4.weight"]
    assert torch.equal(more.fusion.conv.weight, model.fusion.conv.weight)
