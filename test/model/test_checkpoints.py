"""Own weights files: what is saved comes back, and what cannot be used is refused whole, with a reason."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from weights_checks import State, WritesWhenUnpickled, assert_equal, refusal

from dcfm_ros.model import (
    DCFM,
    create_model,
    load_weights,
    model_config,
    save_weights,
)
from dcfm_ros.model.checkpoints import read_provenance


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


def test_weights_can_be_read_by_other_users(model: DCFM, tmp_path: Path) -> None:
    save_weights(model, tmp_path / "mine.safetensors")
    assert (tmp_path / "mine.safetensors").stat().st_mode & 0o777 == 0o644


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
        network.head[-1].get_parameter("weight")[0, 0] = value
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
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
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
        ("fusion", "concat"),
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
