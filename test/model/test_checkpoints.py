"""Weights in and out: what is saved comes back, and what cannot be used is refused whole, with a reason."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from reference_data import filled_model, load_module, shapes
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from dcfm_ros.model import (
    DCFM,
    ModelConfig,
    WeightsError,
    available_models,
    create_model,
    load_official_checkpoint,
    load_weights,
    model_config,
    save_weights,
)
from dcfm_ros.model.checkpoints import read_provenance
from dcfm_ros.model.pretrained import load_imagenet_resnet

State = dict[str, Tensor]

# Ours -> theirs, written down again here: the opposite direction of what is tested.
_TO_OFFICIAL = (
    (r"encoder\.mit\.(block.*)\.dwconv\.(\w+)", r"backbone.encoder.\1.dwconv.dwconv.\2"),
    (r"encoder\.mit\.(.*)", r"backbone.encoder.\1"),
    (r"encoder\.decoder\.fuse\.0\.(.*)", r"backbone.decoder.linear_fuse.conv.\1"),
    (r"encoder\.decoder\.fuse\.1\.(.*)", r"backbone.decoder.linear_fuse.bn.\1"),
    (r"encoder\.decoder\.projections\.0\.(.*)", r"backbone.decoder.linear_c1.proj.\1"),
    (r"encoder\.decoder\.projections\.1\.(.*)", r"backbone.decoder.linear_c2.proj.\1"),
    (r"encoder\.decoder\.projections\.2\.(.*)", r"backbone.decoder.linear_c3.proj.\1"),
    (r"encoder\.decoder\.projections\.3\.(.*)", r"backbone.decoder.linear_c4.proj.\1"),
    (r"encoder\.(.*)", r"backbone.\1"),
    (r"projection\.(.*)", r"bot_aspp.\1"),
    (r"fusion\.(.*)", r"ffm.convblk.\1"),
    (r"head\.(.*)", r"final.\1"),
)


def official_states(model: DCFM, prefix: str = "module.") -> tuple[State, State]:
    """The encoder's and the decoder's state dict as the authors' code names them."""
    encoder: State = {}
    decoder: State = {}
    for name, tensor in model.state_dict().items():
        pattern, theirs = next(pair for pair in _TO_OFFICIAL if re.fullmatch(pair[0], name))
        part = encoder if name.startswith("encoder.") else decoder
        part[prefix + re.sub(pattern, theirs, name)] = tensor.clone()
    return encoder, decoder


@pytest.fixture(scope="module")
def model() -> DCFM:
    """Small, with nothing at its default: running means and counters too."""
    torch.manual_seed(3)
    network = create_model("camvid_mitb0")
    network.train()(torch.randn(2, 3, 64, 64))
    return network.eval()


@pytest.fixture(scope="module")
def good_file(model: DCFM, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "good.safetensors"
    save_weights(model, path, half=True, provenance={"data": "none"})
    return path


@pytest.fixture(scope="module")
def small_file(good_file: Path) -> Path:
    """The metadata of `good_file` with next to no tensors, for tests that do not get as far as those."""
    path = good_file.with_name("small.safetensors")
    with safe_open(str(good_file), framework="pt") as file:
        save_file({"none": torch.zeros(1)}, path, file.metadata())
    return path


@pytest.fixture(scope="module")
def other() -> DCFM:
    """What is loaded into: of the same architecture as `model`, with other values. No test may change it."""
    torch.manual_seed(4)
    return create_model("camvid_mitb0")


def copy_of(model: DCFM) -> State:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def assert_equal(state: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> None:
    assert state.keys() == expected.keys()
    for name, tensor in expected.items():
        assert state[name].dtype == tensor.dtype, name
        assert torch.equal(state[name], tensor), name


def refusal(call: Callable[[], object]) -> str:
    """The sentence of the WeightsError that `call` must raise."""
    with pytest.raises(WeightsError) as caught:
        call()
    message = str(caught.value)
    assert message and "\n" not in message
    return message


def rewritten(
    source: Path, target: Path, change_tensors: Callable[[State], object] = dict, **metadata: str | None
) -> Path:
    """`source` with its tensors or its metadata changed; a None takes a metadata entry away."""
    tensors = load_file(source)
    change_tensors(tensors)
    with safe_open(str(source), framework="pt") as file:
        entries = {**file.metadata(), **metadata}
    save_file(tensors, target, {key: value for key, value in entries.items() if value is not None})
    return target


def document_of(path: Path) -> dict[str, Any]:
    with safe_open(str(path), framework="pt") as file:
        return json.loads(file.metadata()["dcfm_ros"])


class WritesWhenUnpickled:
    """What an attacker would put into a .pth file."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.write_text, (self.target, "ran")


# What is saved comes back


def test_float32_comes_back_bit_for_bit(model: DCFM, tmp_path: Path) -> None:
    save_weights(model, tmp_path / "w.safetensors")
    loaded = load_weights(tmp_path / "w.safetensors")
    assert_equal(loaded.state_dict(), model.state_dict())
    assert not any(module.training for module in loaded.modules())
    assert {parameter.device.type for parameter in loaded.parameters()} == {"cpu"}


def test_half_comes_back_as_float32_rounded_to_float16(model: DCFM, good_file: Path, tmp_path: Path) -> None:
    expected = {
        name: tensor.half().float() if tensor.is_floating_point() else tensor
        for name, tensor in model.state_dict().items()
    }
    assert_equal(load_weights(good_file).state_dict(), expected)
    save_weights(model, tmp_path / "float32.safetensors")
    assert good_file.stat().st_size < 0.55 * (tmp_path / "float32.safetensors").stat().st_size


def test_the_configuration_and_the_provenance_come_back(tmp_path: Path) -> None:
    config = replace(
        model_config("camvid_mitb0"),
        name="yard",
        num_classes=3,
        label_set="",
        input_size=(64, 96),
        resize_first=True,
        mean=(0.1, 0.2, 0.3),
        std=(0.4, 0.5, 0.6),
        class_names=("ground", "crate", "Mensch ä"),
        palette=((1, 2, 3), (4, 5, 6), (255, 0, 0)),
    )
    provenance = {"miou": 0.5, "recipe": {"crop": [256, 320]}, "made_of": "ä"}
    save_weights(DCFM(config), tmp_path / "w.safetensors", half=True, provenance=provenance)
    assert load_weights(tmp_path / "w.safetensors").config == config
    assert read_provenance(tmp_path / "w.safetensors") == provenance


def test_weights_without_a_provenance_have_an_empty_one(model: DCFM, tmp_path: Path) -> None:
    save_weights(model, tmp_path / "w.safetensors")
    assert read_provenance(str(tmp_path / "w.safetensors")) == {}


def test_saving_replaces_the_old_file_and_leaves_nothing_else(model: DCFM, good_file: Path, tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    path.write_bytes(b"old")
    save_weights(model, path, half=True, provenance={"data": "none"})
    assert path.read_bytes() == good_file.read_bytes()
    assert list(tmp_path.iterdir()) == [path]


def test_a_save_that_is_interrupted_leaves_the_old_file(
    model: DCFM, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "w.safetensors"
    path.write_bytes(b"old")

    def full_disk(tensors: State, filename: str, metadata: dict[str, str]) -> None:
        Path(filename).write_bytes(b"half of it")
        raise OSError("no space left")

    monkeypatch.setattr("dcfm_ros.model.checkpoints.save_file", full_disk)
    with pytest.raises(OSError, match="no space"):
        save_weights(model, path)
    assert path.read_bytes() == b"old"


@pytest.mark.parametrize(("value", "half"), [(float("nan"), False), (1e6, True)])
def test_weights_that_could_not_be_loaded_again_are_not_written(tmp_path: Path, value: float, half: bool) -> None:
    network = create_model("camvid_mitb0")
    with torch.no_grad():
        network.head[-1].weight[0, 0] = value
    message = refusal(lambda: save_weights(network, tmp_path / "w.safetensors", half=half))
    assert "head.4.weight" in message and "not finite" in message
    assert not list(tmp_path.iterdir())


# Files that are not ours, or not whole


@pytest.mark.parametrize("read", [load_weights, read_provenance])
def test_a_missing_path_and_a_folder_are_refused(tmp_path: Path, read: Callable[[Path], object]) -> None:
    for path in (tmp_path / "nothing.safetensors", tmp_path):
        message = refusal(lambda path=path: read(path))
        assert str(path) in message and "expected a weights file" in message


@pytest.mark.parametrize("content", [b"", b"\0" * 8, b"\xff" * 64, b"PK\x03\x04 not safetensors at all"])
def test_a_file_of_another_kind_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "w.safetensors"
    path.write_bytes(content)
    assert f"{path} is not a whole safetensors file" in refusal(lambda: load_weights(path))


@given(st.data())
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_file_truncated_anywhere_is_refused(good_file: Path, tmp_path: Path, data: st.DataObject) -> None:
    whole = good_file.stat().st_size
    header = 8 + int.from_bytes(good_file.read_bytes()[:8], "little")
    kept = data.draw(st.integers(0, header) | st.integers(header, whole - 1), label="bytes kept")
    path = tmp_path / "w.safetensors"
    with good_file.open("rb") as source:
        path.write_bytes(source.read(kept))
    assert "is not a whole safetensors file" in refusal(lambda: load_weights(path))


def test_safetensors_of_somebody_else_are_refused(tmp_path: Path) -> None:
    save_file({"weight": torch.zeros(3)}, tmp_path / "w.safetensors")
    message = refusal(lambda: load_weights(tmp_path / "w.safetensors"))
    assert "'dcfm_ros' metadata" in message and "save_weights" in message


@pytest.mark.parametrize(
    ("metadata", "said"),
    [
        ("{", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ("[]", "format"),
        ("null", "format None"),
        ('{"config": {}}', "format None"),
        ('{"format": 2, "config": {}}', "format 2; this version reads format 1"),
        ('{"format": 1, "config": []}', "config of type list"),
        ('{"format": 1, "provenance": "me"}', "provenance of type str"),
        ('{"format": 1}', "configuration that cannot be used"),
        ('{"format": 1, "config": {"nonsense": 1}}', "nonsense"),
    ],
)
def test_odd_metadata_is_refused(small_file: Path, tmp_path: Path, metadata: str, said: str) -> None:
    path = rewritten(small_file, tmp_path / "w.safetensors", dcfm_ros=metadata)
    message = refusal(lambda: load_weights(path))
    assert str(path) in message and said in message


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", 5),
        ("label_set", None),
        ("backbone", "resnet34"),
        ("backbone", ["mit_b0"]),
        ("num_classes", "11"),
        ("num_classes", 11.5),
        ("num_classes", True),
        ("num_classes", 0),
        ("num_classes", 256),
        ("common_channels", "wide"),
        ("common_channels", 10**12),
        ("shallow_channels", -1),
        ("shallow_channels", 33),  # mit_b0's shallow feature has 32
        ("input_size", 480),
        ("input_size", [480]),
        ("input_size", ["360", "480"]),
        ("input_size", [16, 480]),
        ("head_hidden", "false"),
        ("resize_first", 1),
        ("mean", [0.5, 0.5]),
        ("mean", ["r", "g", "b"]),
        ("std", [0.2, 0.2, 0.0]),
        ("class_names", ["road"]),
        ("class_names", [1] * 11),
        ("class_names", "elevenchars"),
        ("palette", [[0, 0, 0]]),
        ("palette", [[0, 0, 256]] * 11),
        ("palette", [[0, 0]] * 11),
    ],
)
def test_an_impossible_configuration_is_refused_by_the_name_of_its_field(
    small_file: Path, tmp_path: Path, field: str, value: object
) -> None:
    document = document_of(small_file)
    document["config"][field] = value
    path = rewritten(small_file, tmp_path / "w.safetensors", dcfm_ros=json.dumps(document))
    message = refusal(lambda: load_weights(path))
    assert f"{field} is " in message
    assert len(message) < 400


def without_the_head(tensors: State) -> None:
    del tensors["head.4.weight"]


def with_one_more(tensors: State) -> None:
    tensors["head.5.weight"] = torch.zeros(1)


def with_a_nan(tensors: State) -> None:
    tensors["fusion.conv.bias"][7] = float("nan")


def with_whole_numbers(tensors: State) -> None:
    tensors["fusion.conv.bias"] = tensors["fusion.conv.bias"].long()


def with_another_shape(tensors: State) -> None:
    tensors["fusion.conv.bias"] = torch.zeros(4)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (without_the_head, "head.4.weight is missing"),
        (with_one_more, "head.5.weight is not part of camvid_mitb0"),
        (with_a_nan, "fusion.conv.bias holds values that are not finite"),
        (with_whole_numbers, "fusion.conv.bias is torch.int64"),
        (with_another_shape, "fusion.conv.bias has shape (4,)"),
    ],
)
def test_tensors_that_do_not_fit_are_refused(
    good_file: Path, tmp_path: Path, change: Callable[[State], None], said: str
) -> None:
    message = refusal(lambda: load_weights(rewritten(good_file, tmp_path / "w.safetensors", change)))
    assert said in message and str(tmp_path) in message


def test_a_configuration_of_another_network_is_refused(good_file: Path, tmp_path: Path) -> None:
    for name, said in (("cityscapes_mitb1", "has shape"), ("camvid_resnet18", "are missing")):
        document = document_of(good_file) | {"config": asdict(model_config(name))}
        path = rewritten(good_file, tmp_path / f"{name}.safetensors", dcfm_ros=json.dumps(document))
        message = refusal(lambda path=path: load_weights(path))
        assert said in message and name in message


def test_more_classes_in_the_configuration_than_in_the_tensors_are_refused(good_file: Path, tmp_path: Path) -> None:
    document = document_of(good_file)
    document["config"]["num_classes"] = 19
    path = rewritten(good_file, tmp_path / "w.safetensors", dcfm_ros=json.dumps(document))
    message = refusal(lambda: load_weights(path))
    assert "head.4.weight has shape (11, 256, 1, 1)" in message and "with 19 classes" in message


def test_a_pickle_given_as_own_weights_does_not_run(tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    torch.save({"weight": WritesWhenUnpickled(ran)}, tmp_path / "w.safetensors")
    assert "is not a whole safetensors file" in refusal(lambda: load_weights(tmp_path / "w.safetensors"))
    assert not ran.exists()


# The authors' checkpoints


@pytest.mark.parametrize(("name", "prefix"), [("camvid_mitb0", ""), ("camvid_resnet18", "module.")])
def test_the_authors_state_dicts_are_loaded(name: str, prefix: str) -> None:
    torch.manual_seed(5)
    source, target = create_model(name), create_model(name)
    encoder, decoder = official_states(source, prefix)
    assert load_official_checkpoint(target, encoder, decoder) is target
    assert_equal(target.state_dict(), source.state_dict())


def test_the_authors_files_are_loaded(model: DCFM, tmp_path: Path) -> None:
    network = create_model("camvid_mitb0")
    paths = tmp_path / "encoder_epoch_40000.pth", tmp_path / "decoder_epoch_40000.pth"
    encoder, decoder = official_states(model)
    # Their MiT files hold a head that nothing reads.
    encoder["module.backbone.decoder.conv_seg.weight"] = torch.zeros(150, 128, 1, 1)
    for path, state in zip(paths, (encoder, decoder), strict=True):
        torch.save(state, path)
    load_official_checkpoint(network, str(paths[0]), paths[1])
    assert_equal(network.state_dict(), model.state_dict())


def test_a_decoder_written_by_the_authors_code_is_loaded(shared_reference: Path) -> None:
    name = "vspw_mitb2"
    folder = shared_reference / "official_checkpoint_sample" / name / "logs"
    fill = load_module(shared_reference / "fill.py").fill
    encoder = {key: torch.from_numpy(value) for key, value in fill(shapes(shared_reference, name)["encoder"]).items()}
    network = load_official_checkpoint(create_model(name), encoder, folder / "decoder_epoch_160000.pth")
    written = torch.load(folder / "decoder_epoch_160000.pth", weights_only=True)
    assert torch.equal(network.head[-1].weight, written["module.final.1.weight"])
    assert torch.equal(network.fusion.conv.bias, written["module.ffm.convblk.conv.bias"])
    assert_equal(network.encoder.state_dict(), filled_model(shared_reference, name).encoder.state_dict())


def refused_official(target: DCFM, encoder: Any, decoder: Any) -> str:
    """The refusal; nothing of the files may be in `target` afterwards."""
    before = copy_of(target)
    message = refusal(lambda: load_official_checkpoint(target, encoder, decoder))
    assert_equal(target.state_dict(), before)
    return message


def test_swapped_files_are_refused_with_a_hint(model: DCFM, other: DCFM) -> None:
    encoder, decoder = official_states(model)
    assert "swapped" in refused_official(other, decoder, encoder)
    assert "the decoder's file" in refused_official(other, encoder, encoder)
    assert "the encoder's file" in refused_official(other, decoder, decoder)


def test_another_architecture_is_refused_by_name(model: DCFM) -> None:
    encoder, decoder = official_states(model)
    message = refused_official(create_model("camvid_resnet18"), encoder, decoder)
    assert "missing" in message and "camvid_resnet18" in message


def test_another_number_of_classes_is_refused(model: DCFM) -> None:
    message = refused_official(create_model("camvid_mitb0", num_classes=19), *official_states(model))
    assert "head.4.weight has shape (11, 256, 1, 1)" in message and "(19, 256, 1, 1)" in message


def drop(key: str) -> Callable[[State], None]:
    return lambda state: state.__delitem__(key)


def put(key: str, value: Any) -> Callable[[State], None]:
    return lambda state: state.__setitem__(key, value)


# The classifier is named last in the file: everything else fits, and must not have been copied.
_LAST = "module.final.4.weight"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (drop(_LAST), "head.4.weight is missing"),
        (put("module.final.9.weight", torch.zeros(1)), "head.9.weight is not part of camvid_mitb0"),
        (put("module.something.else", torch.zeros(1)), "'something.else'"),
        (put(_LAST, torch.full((11, 256, 1, 1), float("nan"))), "not finite"),
        (put(_LAST, torch.full((11, 256, 1, 1), float("inf"))), "not finite"),
        (put(_LAST, torch.zeros(11, 256, 1, 1, dtype=torch.int64)), "torch.int64"),
        (put(_LAST, torch.zeros(11, 256, 1, 1).to_sparse()), "sparse"),
        (put(_LAST, torch.zeros(11, 256, 1, 1, device="meta")), "head.4.weight"),
        (put("epoch", 7), "a int at 'epoch'"),
        (put("state_dict", {}), "a dict at 'state_dict'"),
    ],
)
def test_a_state_dict_with_one_thing_wrong_is_refused_and_nothing_is_loaded(
    model: DCFM, other: DCFM, change: Callable[[State], None], said: str
) -> None:
    encoder, decoder = official_states(model)
    change(decoder)
    assert said in refused_official(other, encoder, decoder)


@pytest.mark.parametrize("content", [[1, 2], torch.zeros(3), "text", None])
def test_something_else_than_a_state_dict_is_refused(model: DCFM, other: DCFM, tmp_path: Path, content: object) -> None:
    torch.save(content, tmp_path / "decoder.pth")
    message = refused_official(other, official_states(model)[0], tmp_path / "decoder.pth")
    assert f"holds a {type(content).__name__}; expected a state dict of the decoder" in message


@pytest.mark.parametrize("part", ["encoder", "decoder"])
def test_pickled_code_in_the_authors_files_does_not_run(model: DCFM, other: DCFM, tmp_path: Path, part: str) -> None:
    ran = tmp_path / "ran"
    parts: dict[str, Any] = dict(zip(("encoder", "decoder"), official_states(model), strict=True))
    torch.save({**parts[part], "module.more": WritesWhenUnpickled(ran)}, tmp_path / "bad.pth")
    parts[part] = tmp_path / "bad.pth"
    message = refused_official(other, parts["encoder"], parts["decoder"])
    assert str(tmp_path / "bad.pth") in message and f"the {part}'s state dict" in message
    assert not ran.exists()


def test_missing_empty_and_truncated_files_are_refused(model: DCFM, other: DCFM, tmp_path: Path) -> None:
    encoder, decoder = official_states(model)
    path = tmp_path / "decoder.pth"
    assert f"{path} is not there" in refused_official(other, encoder, path)
    torch.save(decoder, path)
    whole = path.read_bytes()
    for kept in (0, 1, 100, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:kept])
        assert f"{path} cannot be read as the decoder's state dict" in refused_official(other, encoder, path)


def test_a_zip_that_torch_did_not_write_is_refused(model: DCFM, other: DCFM, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "decoder.pth", "w") as archive:
        archive.writestr("readme.txt", "hello")
    message = refused_official(other, official_states(model)[0], tmp_path / "decoder.pth")
    assert "cannot be read as the decoder's state dict" in message


# An encoder trained on ImageNet


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
    load_imagenet_resnet(network, tmp_path / "r.safetensors")
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
    message = refusal(lambda: load_imagenet_resnet(network, tmp_path / "r.safetensors"))
    assert said in message and str(tmp_path) in message
    assert_equal(network.state_dict(), before)


def test_imagenet_files_that_cannot_be_read_are_refused(tmp_path: Path) -> None:
    network = create_model("camvid_resnet18")
    path = tmp_path / "r.safetensors"
    assert str(path) in refusal(lambda: load_imagenet_resnet(network, path))
    path.write_bytes(b"\0" * 30)
    assert str(path) in refusal(lambda: load_imagenet_resnet(network, path))


def test_imagenet_weights_for_another_backbone_are_refused(other: DCFM, tmp_path: Path) -> None:
    message = refusal(lambda: load_imagenet_resnet(other, tmp_path / "r.safetensors"))
    assert "mit_b0" in message and "expected resnet18" in message


# The catalogue


def test_the_published_configurations_come_first() -> None:
    published = (
        "vspw_mitb2 vspw_mitb5 cityscapes_resnet18 cityscapes_resnet50 cityscapes_resnet101 cityscapes_mitb1 "
        "camvid_resnet50"
    )
    assert available_models()[:7] == tuple(published.split())


@pytest.mark.parametrize("name", ["", "resnet18", "Camvid_resnet18"])
def test_an_unknown_model_is_refused_and_the_known_ones_are_named(name: str) -> None:
    with pytest.raises(ValueError, match=f"no model {name!r}.*vspw_mitb2.*camvid_resnet50"):
        create_model(name)


def test_own_classes_take_the_place_of_the_configurations() -> None:
    network = create_model("camvid_mitb0", num_classes=5)
    assert (network.config.num_classes, network.config.label_set) == (5, "")
    assert network.head[-1].weight.shape[0] == 5
    assert create_model("camvid_mitb0", num_classes=11).config == model_config("camvid_mitb0")
    assert not network.training


@pytest.mark.parametrize("classes", [0, -1, 256])
def test_an_impossible_number_of_classes_is_refused(classes: int) -> None:
    with pytest.raises(ValueError, match=f"num_classes is {classes}; expected 1 to 255"):
        create_model("camvid_mitb0", num_classes=classes)


def test_a_configuration_says_what_its_network_takes() -> None:
    with pytest.raises(ValueError, match=r"input_size is .*; expected a height and a width of at least 32"):
        replace(model_config("camvid_mitb0"), input_size=(24, 480))
    assert replace(model_config("camvid_resnet18"), input_size=(24, 480)).input_size == (24, 480)
    with pytest.raises(ValueError, match="class_names"):
        replace(model_config("camvid_resnet18"), class_names=("road",))
    assert isinstance(model_config("camvid_resnet18"), ModelConfig)


def test_the_catalogue_needs_no_torch() -> None:
    script = (
        "import sys; sys.modules['torch'] = None; from dcfm_ros.model import available_models as a; print(len(a()))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout.strip()) == (0, str(len(available_models()))), done.stderr
