"""The node's parameters as data: the declaration, the shipped file, the docs and the tests are held against it."""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from dcfm_ros.streaming.backends.base import PRECISIONS
from dcfm_ros.streaming.backends.select import BACKENDS
from dcfm_ros.streaming.options import Choice, refusal, stream_choices


@dataclass(frozen=True)
class Parameter(Choice):
    """One row: a choice whose default is of the type that ROS declares it as.

    What is not changeable is read when the node is configured, or, where read_only, when it is started. per_camera:
    with several cameras, `<camera>.<name>` is there too, and goes before this one.
    A list of strings that is empty holds one empty string: ROS cannot tell what an empty list is a list of.
    """

    read_only: bool = False
    per_camera: bool = False

    def taken(self, value: Any) -> Any:
        """A value as the type that is declared, where its meaning is plain; anything else as it is.

        YAML's ways to write none, which ROS gives as None or as text, are the default, which is none or as good. An
        integer is a number, as is text that holds one; one text is a list of one.
        """
        is_list = isinstance(value, (list, tuple, array))
        values = list(value) if is_list else [value]
        none = (None, *_NONE) if isinstance(self.default, str) else (None, *_NONE, "")
        if all(each in none for each in values):
            return self.default
        kind = type(_first(self.default))
        converted = [_as(kind, each) for each in values]
        if isinstance(self.default, list):
            return converted if is_list or kind is str else value
        return value if is_list else converted[0]

    def problem_with(self, value: Any) -> str:
        """Why `value` is refused, as a sentence; empty when it is allowed."""
        is_list, kind = isinstance(value, (list, tuple, array)), type(_first(self.default))
        values = list(value) if is_list else [value]
        if is_list != isinstance(self.default, list) or any(type(each) is not kind for each in values):
            expected = _LISTS[kind] if isinstance(self.default, list) else _SINGLES[kind]
            return f"{self.name} is {values if is_list else value!r}; expected {expected}"
        if isinstance(self.default, list) and self.default != [""] and len(value) != len(self.default):
            return f"{self.name} has {len(value)} values; expected {len(self.default)}"
        return refusal(self.name, value if not is_list else values, self.choices, self.minimum, self.maximum)


_NONE = ("~", "null", "Null", "NULL")
"""The words that YAML calls null; ROS reads them as text."""

_TRUTHS = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}
_SINGLES = {str: "text", bool: "true or false", int: "a whole number", float: "a number"}
_LISTS = {str: "a list of texts", int: "a list of whole numbers", float: "a list of numbers"}


def _first(default: Any) -> Any:
    return default[0] if isinstance(default, list) else default


def _as(kind: type, value: Any) -> Any:
    """One value as another kind where it is the same in all but form; else as it is."""
    if isinstance(value, (bool, kind)):
        return value
    if kind is bool:
        return _TRUTHS.get(value.lower(), value) if isinstance(value, str) else value
    if kind is str or not isinstance(value, (str, int, float)):
        return value
    try:
        number = float(value)
        if kind is float:
            return number
        whole = int(value) if isinstance(value, str) and not _is_fraction(value) else int(number)
    except (ValueError, OverflowError):
        return value
    return whole if whole == number and -(2**63) <= whole < 2**63 else value


def _is_fraction(text: str) -> bool:
    return any(sign in text.lower() for sign in ".e")


def _stream_parameters() -> Iterator[Parameter]:
    """A row for each of the stream's options. What looks ahead is for recordings, so no node offers it."""
    for choice in stream_choices():
        default = [0, 0] if choice.default is None else choice.default
        choices = tuple(each for each in choice.choices if each != "bidirectional")
        yield Parameter(**vars(choice) | {"default": default, "choices": choices})


PARAMETERS = (
    Parameter(
        "cameras",
        [""],
        "Names of cameras that share the device, with topics <camera>/image and ~/<camera>/mask; one empty name: one "
        "camera, without them.",
        read_only=True,
    ),
    Parameter(
        "input_transport",
        "raw",
        "Form that images come in. raw: sensor_msgs/Image. compressed: sensor_msgs/CompressedImage (JPEG, PNG) on "
        "<image>/compressed.",
        choices=("raw", "compressed"),
        per_camera=True,
    ),
    Parameter(
        "weights",
        "",
        "Weights file (safetensors), or a folder that dcfm export wrote; empty: the weights that ship.",
    ),
    Parameter(
        "backend",
        "auto",
        "Library that runs the network; auto: the fastest that runs here, and the log says why.",
        choices=BACKENDS,
    ),
    Parameter(
        "device",
        "auto",
        "Device that the network runs on: auto, cpu, cuda, cuda:N or gpu (Intel's). A device that is not there is an "
        "error, never replaced by another.",
    ),
    Parameter(
        "precision",
        "auto",
        "Precision that the network computes in. auto: as exported, else fp16 on CUDA, and on the CPU bf16 where "
        "OpenVINO and the CPU have it, or fp32. int8 is exported with dcfm export.",
        choices=PRECISIONS,
    ),
    Parameter("num_threads", 0, "CPU threads of the network; 0: the backend's own choice.", minimum=0, maximum=1024),
    *_stream_parameters(),
    Parameter(
        "max_image_pixels",
        50_000_000,
        "A compressed image of more pixels than this is rejected before it is decompressed.",
        minimum=1,
        maximum=1_000_000_000,
    ),
    Parameter(
        "region_of_interest",
        [0, 0, 0, 0],
        "Part of the image that is segmented: x, y, width and height in pixels. The rest of the mask is 255. All 0: "
        "the whole image.",
        minimum=0,
        maximum=65536,
        per_camera=True,
    ),
    Parameter(
        "ignore_mask",
        "",
        "Image file (PNG) whose pixels that are not black are 255 in the mask: the robot's own bonnet. Empty: none.",
        per_camera=True,
    ),
    Parameter(
        "output_size",
        [0, 0],
        "Height and width of what is published, by nearest pixels; [0, 0]: the image's own.",
        minimum=0,
        maximum=8192,
        changeable=True,
        per_camera=True,
    ),
    Parameter(
        "min_confidence",
        0.0,
        "Pixels whose most likely class has less than this probability are 255 in the mask; 0: none.",
        minimum=0.0,
        maximum=1.0,
        changeable=True,
    ),
    Parameter(
        "class_map",
        [""],
        "Classes that are merged or renamed, as road=ground; without a name behind the =, a class becomes 255.",
    ),
    Parameter(
        "labels", "", "YAML or JSON file with the classes' id, name and color; empty: as the weights' own file says."
    ),
    Parameter(
        "overlay_opacity", 0.5, "How strongly ~/overlay shows the classes.", minimum=0.0, maximum=1.0, changeable=True
    ),
    Parameter("jpeg_quality", 90, "JPEG quality of ~/overlay/compressed.", minimum=1, maximum=100, changeable=True),
    Parameter(
        "run_length_mask",
        False,
        "Whether there is ~/mask/run_length, the mask in the form that Autoware passes on.",
        read_only=True,
    ),
    Parameter("enabled", True, "Whether images are segmented; if not they are skipped.", changeable=True),
    Parameter(
        "max_latency_ms",
        0.0,
        "Milliseconds from receipt to publication (p95) above which diagnostics warn; 0: no limit.",
        minimum=0.0,
        maximum=100000.0,
        changeable=True,
    ),
    Parameter(
        "max_input_age_s",
        0.0,
        "Seconds that the stamp of the last image that was segmented may be behind the node's clock before diagnostics "
        "warn; 0: no limit.",
        minimum=0.0,
        maximum=100000.0,
        changeable=True,
    ),
    Parameter(
        "max_keyframe_age_s",
        0.0,
        "Age in seconds of the features in use above which diagnostics warn; 0: no limit.",
        minimum=0.0,
        maximum=100000.0,
        changeable=True,
    ),
    Parameter(
        "max_drop_ratio",
        0.0,
        "Part of the images that may be dropped before diagnostics warn; 0: no limit.",
        minimum=0.0,
        maximum=1.0,
        changeable=True,
    ),
    Parameter(
        "autostart",
        True,
        "Configure and activate at start, unless a lifecycle manager is there for it.",
        read_only=True,
    ),
)
