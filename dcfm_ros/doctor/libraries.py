"""Whether the Python packages that the node uses work here, and fit each other."""

from __future__ import annotations

import importlib.metadata
import platform
import re
from collections.abc import Iterator, Mapping
from itertools import takewhile
from typing import Any

from dcfm_ros.deploy.engine_cache import TENSORRT, supports_tensorrt
from dcfm_ros.doctor.ask import Answer
from dcfm_ros.doctor.line import Level, Line
from dcfm_ros.machine.libraries import installed_of, version_of

SECTION = "Libraries"
LIBRARIES = {
    "numpy": "numpy",
    "cv2": "opencv-python-headless",
    "torch": "torch",
    "onnx": "onnx",
    "onnxruntime": "onnxruntime",
    "openvino": "openvino",
    "tensorrt": "'tensorrt<12'",
}
"""By the name that is imported: what pip is asked for."""

_REQUIRED = ("numpy", "cv2")
_NAMES = {"cv2": "OpenCV", "torch": "PyTorch", "onnx": "ONNX", "onnxruntime": "ONNX Runtime", "openvino": "OpenVINO"}
_NAMES |= {"numpy": "NumPy", "tensorrt": "TensorRT"}
_USES = {
    "torch": "makes graphs from weights, and runs them",
    "onnx": "makes graphs from weights",
    "onnxruntime": "runs graphs",
    "openvino": "the fastest on CPUs of Intel and AMD",
    "tensorrt": "the fastest on NVIDIA's GPUs",
}
_GPU_ONLY = ("tensorrt",)
_ONE_OF = (
    ("opencv-python", "opencv-python-headless", "opencv-contrib-python", "opencv-contrib-python-headless"),
    ("onnxruntime", "onnxruntime-gpu", "onnxruntime-openvino", "onnxruntime-directml"),
)
_BUILT_FOR_OTHER_NUMPY = re.compile(r"numpy\.core\.multiarray|_ARRAY_API|numpy\.dtype size changed|NumPy 1\.x")


def check_libraries(answers: Mapping[str, Answer], driver: str) -> list[Line]:
    """Judge the probe's answers about LIBRARIES. driver: as of `nvidia_driver`, empty where there is no GPU."""
    lines = [
        _line(name, answer, bool(driver))
        for name, answer in answers.items()
        if driver or answer.facts or name not in _GPU_ONLY
    ]
    return [*lines, *_misfits({name: answer.facts for name, answer in answers.items()}, driver)]


def _line(name: str, answer: Answer, has_gpu: bool) -> Line:
    title, package = _NAMES[name], LIBRARIES[name]
    if answer.missing == name:
        told = "not installed" + (f"; {_USES[name]}" if name in _USES else "")
        if name in _REQUIRED:
            return Line(SECTION, title, "error", told, f"{pip_install(name)}, or from apt: python3-{_APT[name]}")
        return Line(SECTION, title, "note", told, pip_install(name))
    if answer.error:
        remedy = f"install it anew: pip install --force-reinstall {package}"
        if _BUILT_FOR_OTHER_NUMPY.search(answer.error):
            remedy = "it was built for NumPy 1: pip install 'numpy<2', or install a newer build of it"
        elif name == "tensorrt":
            remedy = "TensorRT comes with JetPack 6.1 and later; elsewhere pip install 'tensorrt<12'"
        level: Level = "error" if name in _REQUIRED else "warning"
        return Line(SECTION, title, level, f"installed, but cannot be imported: {answer.error}", remedy)
    version = answer.facts["version"].partition("-")[0]
    if least := _least(name, version):
        return Line(SECTION, title, "warning", f"{version}; expected {least} or newer", f"pip install -U {package}")
    if name == "tensorrt" and not supports_tensorrt(version):
        remedy = "pip install 'tensorrt<12', or JetPack 6.1 or later on a Jetson"
        return Line(SECTION, title, "warning", f"{version}; expected {TENSORRT}", remedy)
    return Line(SECTION, title, "ok", version)


_APT = {"numpy": "numpy", "cv2": "opencv"}


def pip_install(module: str) -> str:
    """How to get the package of a module, by the name that is imported."""
    if module == "torch" and platform.machine() == "aarch64":
        return "pip install torch; on a Jetson NVIDIA's own build, see docs/jetson.md"
    return f"pip install {(LIBRARIES | {'yaml': 'pyyaml'}).get(module, module)}"


def _least(name: str, version: str) -> str:
    """The version that this package's metadata asks for where `version` is older; empty where it is new enough."""
    try:
        wanted = importlib.metadata.requires("dcfm_ros") or []
    except importlib.metadata.PackageNotFoundError:  # run from a checkout that was never installed
        return ""
    for requirement in wanted:
        found = re.match(rf"{re.escape(LIBRARIES[name])}\s*>=\s*([\d.]+)", requirement)
        if found and _numbers(version) < _numbers(found[1]):
            return found[1]
    return ""


def _numbers(version: str) -> tuple[int, ...]:
    parts = (re.match(r"\d+", part) for part in version.split("."))
    return tuple(int(part[0]) for part in takewhile(bool, parts) if part)


def _misfits(facts: Mapping[str, Mapping[str, Any]], driver: str) -> Iterator[Line]:
    for group in _ONE_OF:
        if len(both := installed_of(group)) > 1:
            told = f"{' and '.join(both)} are both installed, and overwrite each other's files"
            remedy = f"pip uninstall {' '.join(both)}, then install one of them"
            yield Line(SECTION, "Fit", "warning", told, remedy)
    torch = facts.get("torch", {})
    if not torch:
        return
    if not torch["takes_numpy"]:
        numpy = facts.get("numpy", {}).get("version", "")
        told = f"PyTorch {torch['version']} was built for another NumPy than {numpy}"
        yield Line(SECTION, "Fit", "warning", told, "pip install 'numpy<2', or a newer PyTorch")
    yield from _torch_on_gpu(torch, driver)
    yield from _tensorrt_beside(torch, facts.get("tensorrt", {}))


def _torch_on_gpu(torch: Mapping[str, Any], driver: str) -> Iterator[Line]:
    own_build = "see pytorch.org/get-started; on a Jetson NVIDIA's own build, see docs/jetson.md"
    if driver and not torch["cuda"]:
        told = f"PyTorch {torch['version']} is a build without CUDA, and there is an NVIDIA GPU here ({driver})"
        yield Line(SECTION, "Fit", "warning", told, f"install PyTorch for CUDA: {own_build}")
    elif driver and not torch["devices"]:
        problem = torch["cuda_problem"].splitlines()[0] if torch["cuda_problem"] else "it does not say why"
        told = f"PyTorch for CUDA {torch['cuda']} finds no GPU ({driver}): {problem}"
        remedy = "start a container with the GPU (--gpus all), or bring driver and CUDA together: a newer driver, or "
        yield Line(SECTION, "Fit", "warning", told, f"{remedy}PyTorch for an older CUDA")
    for device in torch["devices"]:
        if not _runs_on(device["capability"], torch["architectures"]):
            major, minor = device["capability"]
            told = f"PyTorch {torch['version']} has no code for {device['name']} (compute capability {major}.{minor})"
            yield Line(SECTION, "Fit", "warning", told, f"install a build that has: {own_build}")


def _runs_on(capability: tuple[int, int], architectures: list[str]) -> bool:
    """Whether CUDA code for these architectures runs: of the same major and no newer minor, or as PTX of any older."""
    major, minor = capability
    for name in architectures:
        kind, _, digits = name.partition("_")
        found = re.match(r"(\d+)(\d)", digits)
        if not found:
            continue
        other = int(found[1]), int(found[2])
        if (kind == "sm" and other[0] == major and other[1] <= minor) or (
            kind == "compute" and other <= (major, minor)
        ):
            return True
    return not architectures


def _tensorrt_beside(torch: Mapping[str, Any], tensorrt: Mapping[str, Any]) -> Iterator[Line]:
    if not tensorrt:
        return
    cuda = _numbers(torch["cuda"])[:1]
    if not cuda:
        told = "TensorRT needs PyTorch with CUDA for the GPU's memory, and this one is a build without"
        yield Line(SECTION, "Fit", "warning", told, "install PyTorch for CUDA: see pytorch.org/get-started")
        return
    other = [each for each in ("11", "12", "13") if version_of(f"tensorrt_cu{each}") and int(each) != cuda[0]]
    if other:
        told = f"TensorRT is for CUDA {other[0]}, and PyTorch for CUDA {torch['cuda']}"
        yield Line(SECTION, "Fit", "warning", told, f"pip install 'tensorrt_cu{cuda[0]}<12'")
