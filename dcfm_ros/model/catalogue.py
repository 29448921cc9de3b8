"""The configurations that exist, by name. Needs no torch."""

from __future__ import annotations

from dataclasses import dataclass

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

BACKBONES = ("resnet18", "resnet50", "resnet101", "mit_b0", "mit_b1", "mit_b2", "mit_b3", "mit_b4", "mit_b5")


@dataclass(frozen=True)
class ModelConfig:
    """Everything that fixes a network and how it is fed. Written into a weights file's metadata.

    name: the configuration's name; backbone: one of BACKBONES.
    num_classes: width of the logits. label_set: which classes these are ("camvid", "cityscapes", "vspw"), or "".
    common_channels: C' of the common feature F_co. shallow_channels: how many channels of F_in the fusion reads.
    head_hidden: whether the head has a hidden 1x1 convolution (Cityscapes, CamVid) or none (VSPW).
    input_size: (height, width) in pixels that the weights were trained or tested at.
    resize_first: order of F_in's resizing and L2 normalisation; False is the authors' inference, True their training.
    mean, std: normalisation of RGB in 0..1. class_names, palette: own classes; empty means those of `label_set`.

    Raises ValueError when a value is impossible.
    """

    name: str
    backbone: str
    num_classes: int
    label_set: str
    common_channels: int
    shallow_channels: int
    input_size: tuple[int, int]
    head_hidden: bool = True
    resize_first: bool = False
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD
    class_names: tuple[str, ...] = ()
    palette: tuple[tuple[int, int, int], ...] = ()

    def __post_init__(self) -> None:
        if self.backbone not in BACKBONES:
            raise ValueError(f"backbone is {self.backbone!r}; expected one of {', '.join(BACKBONES)}")
        if not 1 <= self.num_classes <= 255:
            raise ValueError(f"num_classes is {self.num_classes}; expected 1 to 255 (ids are 8 bit, 255 is unlabelled)")
        if min(self.input_size) < self.size_multiple:
            raise ValueError(f"input_size is {self.input_size}; expected at least {self.size_multiple} a side")
        for what, values in (("class_names", self.class_names), ("palette", self.palette)):
            if values and len(values) != self.num_classes:
                raise ValueError(f"{what} has {len(values)} entries; expected num_classes = {self.num_classes}")

    @property
    def size_multiple(self) -> int:
        """Sides of the network's input are multiples of this: 8 for PSPNet, 32 for SegFormer."""
        return 32 if self.backbone.startswith("mit_") else 8


def available_models() -> tuple[str, ...]:
    """Names that `create_model` takes: the seven published configurations first."""
    return tuple(_CATALOGUE)


def model_config(name: str) -> ModelConfig:
    """The configuration of that name. Raises ValueError, naming those that exist, for any other."""
    if name not in _CATALOGUE:
        raise ValueError(f"there is no model {name!r}; expected one of {', '.join(_CATALOGUE)}")
    return _CATALOGUE[name]


def _pspnet(name: str, depth: int, num_classes: int, input_size: tuple[int, int]) -> ModelConfig:
    label_set = name.split("_")[0]
    common, shallow = (320, 32) if depth == 18 else (1280, 128)
    return ModelConfig(name, f"resnet{depth}", num_classes, label_set, common, shallow, input_size)


def _segformer(name: str, num_classes: int, input_size: tuple[int, int], head_hidden: bool) -> ModelConfig:
    label_set, backbone = name.split("_mit")
    return ModelConfig(name, f"mit_{backbone}", num_classes, label_set, 256, 32, input_size, head_hidden)


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
        _pspnet("camvid_resnet18", 18, 11, (360, 480)),
        _segformer("camvid_mitb0", 11, (360, 480), head_hidden=True),
    )
}
