"""How the parts may depend on each other, and what the files of the package must agree on."""

from __future__ import annotations

import ast
import configparser
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from dcfm_ros import __version__

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "dcfm_ros"
SOURCES = sorted(PACKAGE.rglob("*.py"))
MAX_LINES = 450

# What each part may import of the others: of a whole part, or of one module. No arrow runs up: a part names only parts
# above its own line. The plain data (the version, and where the weights are) and files are everybody's.
MAY_IMPORT = {
    "processes": set[str](),
    "machine": set[str](),
    "model": set[str](),
    "imaging": set[str](),
    "deploy": {"model"},
    "streaming": {"model", "imaging", "deploy", "machine"},
    "recordings": {"imaging"},
    "datasets": {"imaging"},
    "evaluation": {"streaming", "datasets", "recordings", "imaging"},
    "offline": {"streaming", "recordings", "imaging", "processes"},
    "training": {"model", "datasets", "imaging", "evaluation.metrics", "machine"},
    "node": {"streaming", "imaging", "recordings", "processes", "machine"},
    "doctor": {"streaming", "imaging", "node", "processes", "machine", "deploy.engine_cache"},
    "cli": {
        *("model", "imaging", "deploy", "streaming", "recordings", "datasets", "evaluation", "offline"),
        *("training", "node", "processes", "machine", "doctor"),
    },
}
PLAIN_DATA = ("", "files", "weights")

# Which modules may import what may be missing on a machine; a module's name covers what is in it. A command of the
# command line is loaded when it is called, so its file may import what it needs.
_ROS = ("node",)
ONLY_IN = {
    "torch": ("model", "deploy", "streaming.backends", "evaluation.metrics", "training", "cli"),
    "torchmetrics": ("evaluation.metrics", "training"),
    "plotly": ("evaluation.report",),
    "jinja2": ("evaluation.report",),
    "ray": ("offline.fleet",),
    "onnx": ("deploy", "cli"),
    "onnxruntime": ("deploy.quantise", "streaming.backends.onnxruntime_backend"),
    "openvino": ("deploy.openvino_files", "streaming.backends.openvino_backend"),
    "tensorrt": ("deploy", "streaming.backends"),
    "pynvml": ("machine.hardware",),
    "triton": ("streaming.backends.triton_decide",),
    "safetensors": ("model", "training"),
    "cv2": (
        *("imaging", "streaming", "recordings", "datasets", "evaluation", "offline", "training", "node", "cli"),
        "machine.libraries",
    ),
    "rosbags": ("recordings",),
    "mcap": ("recordings.storage",),
    "rclpy": _ROS,
    "cv_bridge": _ROS,
    "ament_index_python": _ROS,
    "builtin_interfaces": _ROS,
    "diagnostic_msgs": _ROS,
    "lifecycle_msgs": _ROS,
    "rcl_interfaces": _ROS,
    "rosgraph_msgs": _ROS,
    "sensor_msgs": _ROS,
    "std_msgs": _ROS,
    "std_srvs": _ROS,
    "vision_msgs": _ROS,
}


@dataclass(frozen=True)
class Import:
    module: str
    line: int


def imports_of(path: Path) -> Iterator[Import]:
    """Every module that a file imports, functions included; `from a import b` counts as a.b where that is a module."""
    package = path.relative_to(ROOT).parent.parts

    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(alias.name, node.lineno)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else ()
            module = ".".join([*above, *([node.module] if node.module else [])])
            for alias in node.names:
                inside = f"{module}.{alias.name}"
                yield Import(inside if _is_module(inside) else module, node.lineno)


def _is_module(name: str) -> bool:
    path = ROOT.joinpath(*name.split("."))
    return path.is_dir() or path.with_suffix(".py").is_file()


def module_of(path: Path) -> str:
    """The module's name inside dcfm_ros: `streaming.backends.base`, `node`, or nothing for dcfm_ros itself."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _covers(name: str, module: str) -> bool:
    return module == name or module.startswith(f"{name}.")


def _is_allowed(module: str, used: Import) -> bool:
    top, _, inside = used.module.partition(".")
    part = module.partition(".")[0]
    if top == "dcfm_ros":
        if inside in PLAIN_DATA or _covers(part, inside):
            return True
        return any(_covers(name, inside) for name in MAY_IMPORT.get(part, ()))
    return top not in ONLY_IN or any(_covers(name, module) for name in ONLY_IN[top])


@pytest.mark.parametrize("path", SOURCES, ids=module_of)
def test_imports(path: Path) -> None:
    module = module_of(path)
    assert module.partition(".")[0] in {*MAY_IMPORT, *PLAIN_DATA}, f"{module} is in none of the parts"
    wrong = [f"{used.module} (line {used.line})" for used in imports_of(path) if not _is_allowed(module, used)]
    assert not wrong, f"{module} must not import {', '.join(wrong)}"


def test_no_arrow_runs_up() -> None:
    above: set[str] = set()
    for part, allowed in MAY_IMPORT.items():
        assert {name.partition(".")[0] for name in allowed} <= above
        above.add(part)


@pytest.mark.parametrize(
    "statement, module",
    [
        ("import torch", "dcfm_ros.imaging"),
        ("def f():\n    import torch", "dcfm_ros.recordings"),
        ("from rclpy.node import Node", "dcfm_ros.streaming"),
        ("from ..model import dcfm", "dcfm_ros.imaging"),
        ("from dcfm_ros import node", "dcfm_ros.streaming"),
        ("from dcfm_ros.evaluation import runs", "dcfm_ros.training"),
        ("def f():\n    import rclpy", "dcfm_ros.cli"),
    ],
)
def test_a_forbidden_import_is_found(
    statement: str, module: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.modules[__name__], "ROOT", tmp_path)
    for folder in ("imaging", "recordings", "streaming", "training", "evaluation", "node", "model", "cli"):
        (tmp_path / "dcfm_ros" / folder).mkdir(parents=True)
    path = tmp_path.joinpath(*module.split("."), "example.py")
    path.write_text(f"import os\n{statement}\n")
    (found,) = [used for used in imports_of(path) if used.module != "os"]
    assert not _is_allowed(module.partition(".")[2] + ".example", found)


@pytest.mark.parametrize("path", SOURCES, ids=module_of)
def test_no_process_outlives_what_started_it(path: Path) -> None:
    if module_of(path) == "processes":  # which starts them so that they end
        return
    starters = {f"subprocess.{name}" for name in ("Popen", "run", "call", "check_call", "check_output")}
    calls = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
    loose = [call.lineno for call in calls if ast.unparse(call.func) in starters]
    assert not loose, f"lines {loose} start a process; expected dcfm_ros.processes.start"


@pytest.mark.parametrize("module", ["dcfm_ros.cli.main", "dcfm_ros.cli.models", "dcfm_ros.cli.doctor"])
def test_the_command_line_starts_without_what_may_be_missing(module: str) -> None:
    script = f"import sys, {module}; print(sorted({{'torch', 'cv2', 'rclpy', 'rosbags'}} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT, timeout=60)
    assert (done.returncode, done.stdout.strip()) == (0, "[]"), done.stderr


def test_package_xml_and_setup_cfg_agree() -> None:
    manifest = ElementTree.parse(ROOT / "package.xml").getroot()
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    metadata = config["metadata"]
    maintainer = manifest.find("maintainer")
    assert maintainer is not None
    said = {
        "name": manifest.findtext("name"),
        "version": manifest.findtext("version"),
        "license": manifest.findtext("license"),
        "author": maintainer.text,
        "author_email": maintainer.get("email"),
    }
    assert said == {key: metadata[key] for key in said}
    assert __version__ == metadata["version"]


def test_package_xml_names_every_ros_package_that_is_imported() -> None:
    named = {depend.text for depend in ElementTree.parse(ROOT / "package.xml").iterfind("exec_depend")}
    paths = [*(PACKAGE / "node").rglob("*.py"), *(ROOT / "launch").glob("*.py")]
    ros = {*(name for name, modules in ONLY_IN.items() if modules == _ROS), "launch", "launch_ros"}
    imported = {used.module.partition(".")[0] for path in paths for used in imports_of(path)}
    assert imported & ros <= named


@pytest.mark.parametrize("path", sorted({*SOURCES, *(ROOT / "test").rglob("*.py")}), ids=lambda path: path.stem)
def test_files_are_short_enough_to_read(path: Path) -> None:
    lines = len(path.read_text().splitlines())
    assert lines <= MAX_LINES, f"{path.relative_to(ROOT)} has {lines} lines; split it"
