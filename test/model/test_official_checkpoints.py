"""The authors' checkpoints: loaded as they are, or refused whole, with a reason."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from reference_data import filled_model, load_module, shapes
from weights_checks import State, WritesWhenUnpickled, assert_equal, copy_of, drop, put, refusal

from dcfm_ros.model import (
    DCFM,
    create_model,
    load_official_checkpoint,
)

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
    assert torch.equal(network.head[-1].get_parameter("weight"), written["module.final.1.weight"])
    assert torch.equal(network.fusion.conv.get_parameter("bias"), written["module.ffm.convblk.conv.bias"])
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
