"""Pixels: message buffers to arrays, resizing and back, label sets and palettes, overlays.

The names below are loaded when first asked for: label sets then work on a machine without OpenCV. `overlay` is not
among them, for its module has the same name: `from dcfm_ros.imaging.overlay import overlay`.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dcfm_ros.imaging.compressed import decode_compressed, encode_jpeg, encode_png
    from dcfm_ros.imaging.encodings import SUPPORTED_ENCODINGS, EncodingError, decode_frame, to_rgb
    from dcfm_ros.imaging.frame import ChannelOrder, Frame
    from dcfm_ros.imaging.geometry import mask_to_size, network_size, resize_to_network
    from dcfm_ros.imaging.labels import CAMVID, CITYSCAPES, UNLABELLED, VSPW, LabelSet, load_labels
    from dcfm_ros.imaging.overlay import colorize

__all__ = [
    "CAMVID",
    "CITYSCAPES",
    "SUPPORTED_ENCODINGS",
    "UNLABELLED",
    "VSPW",
    "ChannelOrder",
    "EncodingError",
    "Frame",
    "LabelSet",
    "colorize",
    "decode_compressed",
    "decode_frame",
    "encode_jpeg",
    "encode_png",
    "load_labels",
    "mask_to_size",
    "network_size",
    "resize_to_network",
    "to_rgb",
]

_NAMES_OF_MODULES = {
    "compressed": ("decode_compressed", "encode_jpeg", "encode_png"),
    "encodings": ("SUPPORTED_ENCODINGS", "EncodingError", "decode_frame", "to_rgb"),
    "frame": ("ChannelOrder", "Frame"),
    "geometry": ("mask_to_size", "network_size", "resize_to_network"),
    "labels": ("CAMVID", "CITYSCAPES", "UNLABELLED", "VSPW", "LabelSet", "load_labels"),
    "overlay": ("colorize",),
}
_MODULE_OF = {name: module for module, names in _NAMES_OF_MODULES.items() for name in names}


def __getattr__(name: str) -> object:
    """Load a public name with its module (PEP 562)."""
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULE_OF[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
