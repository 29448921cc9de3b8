"""The doctor's lines about the network: what would run it, with which weights, and why."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from dcfm_ros.doctor.ask import Answer
from dcfm_ros.doctor.libraries import pip_install
from dcfm_ros.doctor.line import Line
from dcfm_ros.weights import DEFAULT_WEIGHTS, LICENCE, SHIPPED_MAY_BE_USED

SECTION = "Network"


def check_backend(answer: Answer, on_gpu: Answer | None, asked_for: str, device: str) -> Iterator[Line]:
    """Judge the probe's answers about running the weights.

    on_gpu: the answer for the GPU alone, where there is one that `answer` need not be of. asked_for: the backend,
    on `device`.
    """
    if answer.missing:
        told = f"the network needs {answer.missing}, which is not installed"
        yield Line(SECTION, "Backend", "error", told, pip_install(answer.missing))
        return
    if answer.error:
        remedy = "install what the sentence names; without a GPU: pip install 'dcfm_ros[openvino,torch]'"
        if answer.error.startswith("the process "):
            remedy = "install the library anew that crashes: dcfm doctor --backend torch (or another) tells which"
        yield Line(SECTION, "Backend", "error", answer.error, remedy)
        return
    if on_gpu is not None and on_gpu.error:
        remedy = "do what one of these asks for; device:=cpu says that the CPU is meant"
        yield Line(SECTION, "GPU", "warning", f"it is not used: {on_gpu.error}", remedy)
    yield Line(SECTION, "Backend", "ok", answer.facts["description"])
    yield Line(SECTION, "Why", "ok", _why(answer, on_gpu, asked_for, device))
    if answer.facts["builds_engines"]:
        told = "engines are built at the first start, which takes minutes, and kept"
        yield Line(SECTION, "Engines", "note", told, "dcfm export --format tensorrt builds them before")


def _why(answer: Answer, on_gpu: Answer | None, asked_for: str, device: str) -> str:
    if asked_for != "auto":
        return f"{asked_for} was asked for"
    selection = str(answer.facts["selection"])
    if device != "auto":
        return f"{selection.partition(';')[0]} on {device}, which was asked for"
    if on_gpu is None:  # then what it lacks is no news
        return f"{selection.partition(';')[0]}, where there is no NVIDIA GPU"
    return selection


def check_weights(answer: Answer, weights: str) -> Line:
    """Say what the weights are, and whether they may be used."""
    path = Path(weights or DEFAULT_WEIGHTS)
    if not path.exists():
        told = f"{path} is not there; expected a weights file, or a folder that `dcfm export` wrote"
        return Line(SECTION, "Weights", "error", told, "name one that is there, or none for the weights that ship")
    what = "not loaded, as no backend runs them"
    if not answer.error:
        height, width = answer.facts["input_size"]
        facts = answer.facts
        what = f"{facts['model']}, {facts['classes']} classes ({facts['labels']}), trained at {width}x{height}"
    if path.parent.resolve() == DEFAULT_WEIGHTS.parent.resolve():
        return Line(SECTION, "Weights", "note", f"{what}; {SHIPPED_MAY_BE_USED}", f"read {LICENCE}; or train your own")
    return Line(SECTION, "Weights", "ok", f"{path}: {what}; their licence is as their maker says")
