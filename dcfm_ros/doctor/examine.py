"""All that the doctor looks at, in the order in which it is shown."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Any

from dcfm_ros import __version__
from dcfm_ros.doctor.ask import Answer, ask
from dcfm_ros.doctor.backend import check_backend, check_weights
from dcfm_ros.doctor.libraries import LIBRARIES, check_libraries
from dcfm_ros.doctor.line import Line
from dcfm_ros.doctor.machine import check_machine
from dcfm_ros.doctor.ros import check_ros, check_transport
from dcfm_ros.machine.hardware import nvidia_driver
from dcfm_ros.machine.resources import Resources, read_resources

_AT_ONCE = 4


@dataclass(frozen=True)
class Wanted:
    """The way in which the node would be started; the names and values are those of its parameters.

    camera: (height, width) of the camera's images in pixels.
    """

    weights: str = ""
    backend: str = "auto"
    device: str = "auto"
    precision: str = "auto"
    num_threads: int = 0
    camera: tuple[int, int] = (720, 1280)


@dataclass(frozen=True)
class Examination:
    """lines: to be shown. answers: of the probe, by question. resources: of the machine."""

    lines: tuple[Line, ...]
    answers: Mapping[str, Answer]
    resources: Resources

    @property
    def starts(self) -> bool:
        """Whether the node would start."""
        return all(line.level != "error" for line in self.lines)

    def document(self) -> dict[str, Any]:
        """All of it, for JSON."""
        return {
            "dcfm_ros": __version__,
            "python": platform.python_version(),
            "platform": platform.platform(),
            "starts": self.starts,
            "lines": [asdict(line) for line in self.lines],
            "answers": {question: asdict(answer) for question, answer in self.answers.items()},
            "resources": asdict(self.resources),
            "environment": {name: value for name, value in sorted(os.environ.items()) if _is_told(name)},
        }


def examine(wanted: Wanted) -> Examination:
    """Find out whether the node would start as `wanted`, and with what; takes as long as loading all libraries."""
    resources, driver = read_resources(), nvidia_driver()
    questions = {name: ("library", name) for name in LIBRARIES} | {"ros": ("ros",), "node": ("node",)}
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        answers = dict(zip(questions, pool.map(lambda question: ask(*question), questions.values()), strict=True))
    torch, openvino = answers["torch"].facts, answers["openvino"].facts
    is_open = wanted.backend == wanted.device == "auto"
    on_gpu = _run(wanted, "cuda") if is_open and (driver or torch.get("devices")) else None
    run = on_gpu if on_gpu is not None and not on_gpu.error else _run(wanted, wanted.device)
    answers |= {"backend": run} | ({"backend on the GPU": on_gpu} if on_gpu is not None else {})
    weights = check_weights(run, wanted.weights)
    lines = (
        *check_ros(answers["ros"], None if answers["ros"].error else answers["node"]),
        *check_transport(answers["ros"], resources, wanted.camera),
        *check_libraries({name: answers[name] for name in LIBRARIES}, driver),
        *check_machine(resources, driver, torch, openvino, wanted.num_threads),
        # Without weights no backend runs, which says nothing about the backends.
        *(() if weights.level == "error" else check_backend(run, on_gpu, wanted.backend, wanted.device)),
        weights,
    )
    return Examination(lines, answers, resources)


def _run(wanted: Wanted, device: str) -> Answer:
    options = {
        "weights": wanted.weights,
        "name": wanted.backend,
        "device": device,
        "num_threads": wanted.num_threads,
        "precision": wanted.precision,
    }
    return ask("backend", json.dumps(options))


def _is_told(variable: str) -> bool:
    """Only what matters here: the rest of an environment may be secret."""
    return variable.startswith(("ROS_", "RMW_", "FASTRTPS_", "FASTDDS_", "CYCLONEDDS_", "OMP_", "CUDA_", "DCFM_ENGINE"))
