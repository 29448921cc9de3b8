"""The configurations that exist, by name. Needs no torch."""

from __future__ import annotations

import math
import reprlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

BACKBONES = (
    *("resnet18", "resnet50", "resnet101"),
    *("mit_b0", "mit_b1", "mit_b2", "mit_b3", "mit_b4", "mit_b5"),
    *("efficientnet_lite0", "efficientnet_lite1", "efficientnet_lite2"),
)
FUSIONS = ("ffm", "fine")

Size = tuple[int, int]  # height, width


@dataclass(frozen=True)
class ModelConfig:
    """Everything that fixes a network and how it is fed. Written into a weights file's metadata.

    name: the configuration's name; backbone: one of BACKBONES.
    num_classes: width of the logits. label_set: which classes these are ("camvid", "cityscapes", "vspw"), or "".
    common_channels: C' of the common feature F_co. shallow_channels: how many channels of F_in the fusion reads.
    head_hidden: whether the head has a hidden 1x1 convolution (Cityscapes, CamVid) or none (VSPW).
    input_size: (height, width) in pixels that the weights were trained or tested at.
    fusion: "ffm", the method's; or "fine", the same on F_in's grid, of the real-time networks. See `model.fusion`.
    fused_width: channels of what the head reads, with "fine"; 0, and the others: as many as F_co's.
    resize_first: order of F_in's resizing and L2 normalisation; False is the authors' inference, True their training.
    mean, std: normalisation of RGB in 0..1. class_names, palette: own classes; empty means those of `label_set`.

    Raises ValueError when a value is of the wrong type or impossible: it may come from a file that anybody wrote.
    """

    name: str
    backbone: str
    num_classes: int
    label_set: str
    common_channels: int
    shallow_channels: int
    input_size: Size
    head_hidden: bool = True
    fusion: str = "ffm"
    fused_width: int = 0
    resize_first: bool = False
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD
    class_names: tuple[str, ...] = ()
    palette: tuple[tuple[int, int, int], ...] = ()

    @classmethod
    def from_json(cls, fields: dict[str, Any]) -> ModelConfig:
        """From fields as JSON gives them back, with lists for tuples. Raises TypeError for fields it does not have."""
        return cls(**{name: _as_tuple(value) for name, value in fields.items()})

    def __post_init__(self) -> None:
        if self.backbone not in BACKBONES:
            raise ValueError(f"backbone is {self.backbone!r}; expected one of {', '.join(BACKBONES)}")
        least = self.size_multiple
        rules = {
            "name": (_is_text(self.name), "a string"),
            "num_classes": (_is_whole(self.num_classes, 1, 255), "1 to 255 (ids are 8 bit, 255 is unlabelled)"),
            "label_set": (_is_text(self.label_set), "a string"),
            "common_channels": (_is_whole(self.common_channels, 1, 4096), "1 to 4096"),
            "shallow_channels": (_is_whole(self.shallow_channels, 1, 4096), "1 to 4096"),
            "input_size": (
                _are(self.input_size, 2, lambda side: _is_whole(side, least, 65535)),
                f"a height and a width of at least {least}",
            ),
            "head_hidden": (isinstance(self.head_hidden, bool), "true or false"),
            "fusion": (self.fusion in FUSIONS, f"one of {', '.join(FUSIONS)}"),
            "fused_width": (_is_whole(self.fused_width, 0, 4096), "0 to 4096"),
            "resize_first": (isinstance(self.resize_first, bool), "true or false"),
            "mean": (_are(self.mean, 3, _is_finite), "three numbers"),
            "std": (_are(self.std, 3, lambda value: _is_finite(value) and value > 0), "three numbers above 0"),
            "class_names": (
                self.class_names == () or _are(self.class_names, self.num_classes, _is_text),
                f"{self.num_classes} names, as num_classes says",
            ),
            "palette": (
                self.palette == () or _are(self.palette, self.num_classes, _is_colour),
                f"{self.num_classes} colours of three values in 0..255, as num_classes says",
            ),
        }
        for field, (fits, expected) in rules.items():
            if not fits:
                raise ValueError(f"{field} is {reprlib.repr(getattr(self, field))}; expected {expected}")

    @property
    def size_multiple(self) -> int:
        """Sides of the network's input are multiples of this: 8 for PSPNet, 32 for the others."""
        return 8 if self.backbone.startswith("resnet") else 32

    def check_input_size(self, size: tuple[int, int]) -> None:
        """Raises ValueError, with the nearest that fits, unless (height, width) are multiples of `size_multiple`."""
        multiple = self.size_multiple
        height, width = (max(multiple, (side + multiple // 2) // multiple * multiple) for side in size)
        if size != (height, width):
            raise ValueError(
                f"input_size is {size[0]}x{size[1]}; expected positive multiples of {multiple}, "
                f"such as {height}x{width} (height x width)"
            )

    @property
    def common_stride(self) -> int:
        """Pixels of the network's input for each place of F_co's grid: 4 for SegFormer, 8 for the others."""
        return 4 if self.backbone.startswith("mit_") else 8

    @property
    def fused_channels(self) -> int:
        """Channels of what the head reads."""
        return (self.fusion == "fine" and self.fused_width) or self.common_channels


def available_models() -> tuple[str, ...]:
    """Names that `create_model` takes: the seven published configurations first."""
    return tuple(_CATALOGUE)


def model_config(name: str) -> ModelConfig:
    """The configuration of that name. Raises ValueError, naming those that exist, for any other."""
    if name not in _CATALOGUE:
        raise ValueError(f"there is no model {name!r}; expected one of {', '.join(_CATALOGUE)}")
    return _CATALOGUE[name]


def _as_tuple(value: Any) -> Any:
    return tuple(_as_tuple(item) for item in value) if isinstance(value, list) else value


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_whole(value: Any, low: int, high: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and low <= value <= high


def _is_finite(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _is_colour(value: Any) -> bool:
    return _are(value, 3, lambda part: _is_whole(part, 0, 255))


def _are(values: Any, count: Any, fits: Callable[[Any], bool]) -> bool:
    return isinstance(values, tuple) and len(values) == count and all(fits(value) for value in values)


def _pspnet(name: str, depth: int, num_classes: int, input_size: tuple[int, int]) -> ModelConfig:
    label_set = name.split("_")[0]
    common, shallow = (320, 32) if depth == 18 else (1280, 128)
    return ModelConfig(name, f"resnet{depth}", num_classes, label_set, common, shallow, input_size)


def _segformer(name: str, num_classes: int, input_size: tuple[int, int], head_hidden: bool) -> ModelConfig:
    label_set, backbone = name.split("_mit")
    return ModelConfig(name, f"mit_{backbone}", num_classes, label_set, 256, 32, input_size, head_hidden)


def _lite(name: str, num_classes: int, input_size: tuple[int, int]) -> ModelConfig:
    label_set, size = name.split("_")
    mean, std = 127 / 255, 128 / 255  # EfficientNet-Lite's: (value - 127) / 128
    return ModelConfig(
        name,
        f"efficientnet_{size}",
        num_classes,
        label_set,
        common_channels=96,
        shallow_channels=48,
        input_size=input_size,
        fusion="fine",
        fused_width=64,
        mean=(mean, mean, mean),
        std=(std, std, std),
    )


_CATALOGUE = {
    config.name: config
    for config in (
        _segformer("vspw_mitb2", 124, (480, 853), head_hidden=False),
        _segformer("vspw_mitb5", 124, (480, 853), head_hidden=False),
        _pspnet("cityscapes_resnet18", 18, 19, (1024, 2048)),
        _pspnet("cityscapes_resnet50", 50, 19, (768, 1536)),
        _pspnet("cityscapes_resnet101", 101, 19, (768, 1536)),
        _segformer("cityscapes_mitb1", 19, (512, 1024), head_hidden=True),
        _pspnet("camvid_resnet50", 50, 11, (720, 960)),
        _lite("camvid_lite0", 11, (360, 480)),
        _lite("camvid_lite2", 11, (360, 480)),
        _lite("cityscapes_lite0", 19, (512, 1024)),
        _pspnet("camvid_resnet18", 18, 11, (360, 480)),
        _segformer("camvid_mitb0", 11, (360, 480), head_hidden=True),
    )
}
