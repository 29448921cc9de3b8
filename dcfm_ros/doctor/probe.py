"""Questions that the doctor asks a process of its own: a library that crashes or exits takes nothing else with it.

`python -m dcfm_ros.doctor.probe QUESTION ARGUMENTS` prints its answer, a JSON object, as its last line.
"""

from __future__ import annotations

import importlib
import json
import sys
import warnings
from collections.abc import Callable, Mapping
from typing import Any

from dcfm_ros.processes import end_with_parent


def main() -> None:
    """Answer one question; what is raised is an answer too, with the keys `error` and `missing`, a module's name."""
    end_with_parent()
    question, *arguments = sys.argv[1:]
    try:
        answer = _QUESTIONS[question](*arguments)
    except Exception as error:  # whatever a library does: it is what was asked for
        told = str(error) if isinstance(error, (ValueError, ImportError)) else repr(error)
        missing = error.name if isinstance(error, ModuleNotFoundError) else None
        answer = {"error": told or repr(error), "missing": missing or ""}
    print(f"\n{json.dumps(answer)}")


def _library(name: str) -> dict[str, Any]:
    """A library's version, and the devices that it sees."""
    module = importlib.import_module(name)
    return {"version": str(module.__version__), **_MORE.get(name, lambda module: {})(module)}


def _torch(torch: Any) -> dict[str, Any]:
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        sees_gpu = torch.cuda.is_available()
    devices = [
        {"name": torch.cuda.get_device_name(index), "capability": torch.cuda.get_device_capability(index)}
        for index in range(torch.cuda.device_count() if sees_gpu else 0)
    ]
    try:
        torch.zeros(1).numpy()
        takes_numpy = True
    except RuntimeError:
        takes_numpy = False
    return {
        "cuda": torch.version.cuda or "",
        "cuda_problem": str(told[0].message) if told else "",
        "devices": devices,
        "architectures": torch.cuda.get_arch_list() if sees_gpu else [],
        "takes_numpy": takes_numpy,
        "threads": torch.get_num_threads(),
    }


def _onnxruntime(onnxruntime: Any) -> dict[str, Any]:
    return {"providers": onnxruntime.get_available_providers()}


def _openvino(openvino: Any) -> dict[str, Any]:
    core = openvino.Core()
    return {"devices": {name: core.get_property(name, "FULL_DEVICE_NAME") for name in core.available_devices}}


_MORE: Mapping[str, Callable[[Any], dict[str, Any]]] = {
    "torch": _torch,
    "onnxruntime": _onnxruntime,
    "openvino": _openvino,
}


def _ros() -> dict[str, Any]:
    from dcfm_ros.node.installation import describe_ros

    return describe_ros()


def _node() -> dict[str, Any]:
    import dcfm_ros.node.segmentation_node  # noqa: F401  with all that it imports

    return {}


def _backend(options: str) -> dict[str, Any]:
    """Load the weights as the node does, and put one frame through; engines that take minutes are not built."""
    import numpy as np

    from dcfm_ros.imaging.geometry import network_size
    from dcfm_ros.streaming.backends.base import BuildsEngines
    from dcfm_ros.streaming.backends.select import create_backend

    backend = create_backend(**json.loads(options))
    config = backend.config
    size = network_size(*config.input_size, config.input_size, config.size_multiple)
    if not isinstance(backend, BuildsEngines):
        shallow = backend.encode_shallow(np.zeros((*size, 3), np.uint8))
        backend.decide([backend.encode_common(shallow)], shallow, size, confidence=False)
    return {
        "description": backend.description,
        "selection": backend.selection,
        "builds_engines": isinstance(backend, BuildsEngines),
        "model": config.name,
        "classes": config.num_classes,
        "labels": config.label_set,
        "input_size": size,
    }


_QUESTIONS: Mapping[str, Callable[..., dict[str, Any]]] = {
    "library": _library,
    "ros": _ros,
    "node": _node,
    "backend": _backend,
}

if __name__ == "__main__":
    main()
