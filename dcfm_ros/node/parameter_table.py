"""The node's parameters as data: the declaration, the shipped file, the docs and the tests are held against it."""

from __future__ import annotations

from array import array
from dataclasses import dataclass
from typing import Any

from dcfm_ros.imaging.motion import ALIGNMENTS
from dcfm_ros.streaming.backends.base import PRECISIONS
from dcfm_ros.streaming.backends.select import BACKENDS
from dcfm_ros.streaming.schedules import SCHEDULES
from dcfm_ros.streaming.segmenter import KEYFRAME_MODES


@dataclass(frozen=True)
class Parameter:
    """One row. choices: the strings that are allowed; minimum, maximum: the range of numbers (of each, in a list).

    changeable: takes effect between two frames; any other is read when the node is configured, or, where read_only,
    when it is started. per_camera: with several cameras, `<camera>.<name>` is there too, and goes before this one.
    A list of strings that is empty holds one empty string: ROS cannot tell what an empty list is a list of.
    """

    name: str
    default: str | bool | int | float | list[int] | list[float] | list[str]
    description: str
    choices: tuple[str, ...] = ()
    minimum: float | None = None
    maximum: float | None = None
    changeable: bool = False
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
        if self.choices and value not in self.choices:
            return f"{self.name} is {value!r}; expected one of {', '.join(self.choices)}"
        if isinstance(self.default, list) and self.default != [""] and len(value) != len(self.default):
            return f"{self.name} has {len(value)} values; expected {len(self.default)}"
        if self.minimum is not None and self.maximum is not None:
            numbers = value if isinstance(self.default, list) else [value]
            if not all(self.minimum <= number <= self.maximum for number in numbers):
                return f"{self.name} is {value}; expected {self.minimum} to {self.maximum}"
        return ""


_NONE = ("~", "null", "Null", "NULL")
"""What YAML calls null; ROS reads it as text."""

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
        "raw: sensor_msgs/Image. compressed: sensor_msgs/CompressedImage (JPEG, PNG) on <image>/compressed.",
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
        "auto, cpu, cuda, cuda:N or gpu (Intel's). A device that is not there is an error, never replaced by another.",
    ),
    Parameter(
        "precision",
        "auto",
        "What the network computes in; auto: as exported, else fp16 on CUDA, and on the CPU bf16 where OpenVINO and "
        "the CPU have it, or fp32. int8 is exported with dcfm export.",
        choices=PRECISIONS,
    ),
    Parameter("num_threads", 0, "CPU threads of the network; 0: the backend's own choice.", minimum=0, maximum=1024),
    Parameter(
        "mode",
        "causal",
        "causal: features of the last keyframe are reused. full: every frame is a keyframe.",
        choices=("causal", "full"),
    ),
    Parameter(
        "align",
        "flow",
        "How a keyframe's features are moved to where the picture is now: by optical flow, or not.",
        choices=ALIGNMENTS,
    ),
    Parameter(
        "keyframe_mode",
        "sync",
        "sync: a keyframe is waited for. async: it is computed beside the stream, which goes on with older features.",
        choices=KEYFRAME_MODES,
    ),
    Parameter(
        "swap_after",
        0,
        "Frames after which an asynchronous keyframe comes into use; 0: as soon as it is ready.",
        minimum=0,
        maximum=1000,
    ),
    Parameter(
        "schedule",
        "fixed",
        "When a keyframe is due. fixed: after keyframe_interval frames. max_age: once the last is schedule_max_age "
        "old. adaptive: once the picture has changed by schedule_threshold, which pays for robots that stop.",
        choices=SCHEDULES,
        changeable=True,
    ),
    Parameter(
        "keyframe_interval",
        5,
        "Frames from one keyframe to the next, in the schedule fixed.",
        minimum=1,
        maximum=1000,
        changeable=True,
    ),
    Parameter(
        "schedule_max_age",
        0.0,
        "Seconds by stamps after which a keyframe is due: of the schedule max_age, and a bound of the others; 0: none.",
        minimum=0.0,
        maximum=3600.0,
        changeable=True,
    ),
    Parameter(
        "schedule_min_interval",
        1,
        "Frames that keyframes are apart at least, in every schedule.",
        minimum=1,
        maximum=1000,
        changeable=True,
    ),
    Parameter(
        "schedule_threshold",
        0.06,
        "Change of the shallow features, summed over the frames since a keyframe, above which adaptive takes another.",
        minimum=0.0001,
        maximum=10.0,
        changeable=True,
    ),
    Parameter(
        "input_size",
        [0, 0],
        "Height and width of the network's input, multiples of 8 (MiT: 32); [0, 0]: the image's aspect at the number "
        "of pixels the weights were trained at.",
        minimum=0,
        maximum=8192,
    ),
    Parameter(
        "max_stamp_gap",
        2.0,
        "Seconds; a stamp further ahead than this begins a new stream, with a keyframe.",
        minimum=0.001,
        maximum=3600.0,
    ),
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
        "x, y, width and height of what is segmented, in pixels; the rest of the mask is 255. All 0: the whole image.",
        minimum=0,
        maximum=65536,
        per_camera=True,
    ),
    Parameter(
        "ignore_mask",
        "",
        "Image file (PNG) whose white pixels are 255 in the mask: the robot's own bonnet. Empty: none.",
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
        "Seconds that the newest image's stamp may be behind the node's clock before diagnostics warn; 0: no limit.",
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
    Parameter("autostart", True, "Configure and activate at start, without a lifecycle manager."),
)
