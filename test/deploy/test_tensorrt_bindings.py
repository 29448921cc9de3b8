"""Every name of TensorRT that the package uses is one that its own modules, of 10.3 to 11.4, have where it is used."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tensorrt_bindings import NAMES

ROOT = Path(__file__).parents[2]
SOURCES = [
    path
    for path in sorted((ROOT / "dcfm_ros").rglob("*.py"))
    if re.search(r"^ *(import|from) tensorrt\b", path.read_text(), re.MULTILINE)
]
DOUBLE = sorted((ROOT / "test" / "tensorrt_double").glob("*.py"))


Declared = dict[str, list[ast.stmt]]  # a name, and what is said of it: as often as it is overloaded


@pytest.fixture(scope="module")
def module() -> Declared:
    return declarations(ast.parse(NAMES.read_text()).body)


@pytest.fixture(scope="module")
def stub(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("types") / "tensorrt" / "__init__.pyi"
    path.parent.mkdir()
    path.write_text(NAMES.read_text())
    return path


def declarations(body: list[ast.stmt]) -> Declared:
    found: Declared = {}
    for node in body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef):
            found.setdefault(node.name, []).append(node)
        elif isinstance(node, ast.AnnAssign):
            found.setdefault(ast.unparse(node.target), []).append(node)
    return found


def members(declared: list[ast.stmt]) -> Declared:
    return declarations([inner for node in declared if isinstance(node, ast.ClassDef) for inner in node.body])


def complaints(paths: list[Path], stub: Path) -> list[str]:
    """What mypy says of the files, knowing of all that they import TensorRT alone."""
    # What it finds of Python's own modules is kept for the next call.
    cache = f"--cache-dir={stub.parents[1] / 'cache'}"
    options = ["--config-file=", "--follow-imports=skip", cache, "--no-error-summary"]
    command = [sys.executable, "-m", "mypy", *options, *map(str, paths), str(stub)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert not done.stderr
    return done.stdout.splitlines()


def names_in(declared: Declared) -> Iterator[str]:
    for name, said in declared.items():
        yield name
        yield from names_in(members(said))


def test_two_modules_use_tensorrt() -> None:
    assert [path.name for path in SOURCES] == ["tensorrt_engines.py", "tensorrt_backend.py"]


def test_what_is_used_is_there(stub: Path) -> None:
    assert complaints(SOURCES, stub) == []


def test_a_name_that_is_not_there_is_found_wherever_one_is_used(module: Declared, stub: Path, tmp_path: Path) -> None:
    """Every attribute with a name of TensorRT's is misspelt once. Names of one word may also be torch's."""
    known = {name for name in names_in(module) if "_" in name.strip("_")}
    misspelt: dict[str, str] = {}
    for source in SOURCES:
        text = source.read_text()
        used = {node.attr for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Attribute)}
        for name in sorted(used & known):
            path = tmp_path / f"{source.stem}_{name}.py"
            path.write_text(text.replace(f".{name}", f".{name}_made_up", 1))
            misspelt[path.name] = name
    assert {"build_serialized_network", "execute_async_v3", "node_operator", "STRONGLY_TYPED"} <= {*misspelt.values()}
    said = complaints([tmp_path / name for name in misspelt], stub)
    found = {Path(line.split(":")[0]).name for line in said if "_made_up" in line}
    assert found == set(misspelt)


def test_what_one_of_the_versions_lacks_is_found(stub: Path, tmp_path: Path) -> None:
    lines = [
        "engine.num_bindings",  # gone in 10
        "context.execute_async_v2([], 0)",
        "context.execute_async_v3()",
        "tensorrt.MemoryPoolType.SCRATCH",
        "tensorrt.BuilderFlag.FP16",  # gone in 11, from here on
        "tensorrt.BuilderFlag.INT8",
        "tensorrt.BuilderFlag.PREFER_PRECISION_CONSTRAINTS",
        "tensorrt.NetworkDefinitionCreationFlag.EXPLICIT_BATCH",
        "tensorrt.IInt8EntropyCalibrator2",
        "config.int8_calibrator",
        "tensor.dtype = tensorrt.float16",
        "tensor.set_dynamic_range(-1, 1)",
        "layer.precision = tensorrt.float32",
        "layer.set_output_type(0, tensorrt.float32)",
        "builder.platform_has_fast_fp16",
        "network.add_attention_v2",  # came in 11
    ]
    used = ("ICudaEngine", "IExecutionContext", "IBuilderConfig", "ITensor", "ILayer", "Builder", "INetworkDefinition")
    names = ("engine", "context", "config", "tensor", "layer", "builder", "network")
    parameters = ", ".join(f"{name}: tensorrt.{of}" for name, of in zip(names, used, strict=True))
    path = tmp_path / "other.py"
    path.write_text("\n    ".join(["import tensorrt\ndef other(" + parameters + ") -> None:", *lines]) + "\n")
    assert [int(line.split(":")[1]) - 3 for line in complaints([path], stub)] == list(range(len(lines)))


@pytest.mark.parametrize("path", DOUBLE, ids=lambda path: path.stem)
def test_the_double_has_nothing_that_tensorrt_has_not(path: Path, module: Declared) -> None:
    wrong = [line for line in not_in(ast.parse(path.read_text()).body, module) if line]
    assert wrong == []


def test_what_the_double_invents_would_be_found(module: Declared) -> None:
    invented = (
        "class IMadeUp: ...\n"
        "class Runtime:\n"
        "    def __init__(self, invented) -> None:\n"
        "        self.made_up = 1\n"
        "    def deserialize_cuda_engine(self, engine): ...\n"
        "class TensorIOMode:\n"
        "    MADE_UP = 1\n"
    )
    assert list(not_in(ast.parse(invented).body, module)) == [
        "IMadeUp",
        "Runtime.__init__(invented)",
        "Runtime.made_up",
        "Runtime.deserialize_cuda_engine(engine)",
        "TensorIOMode.MADE_UP",
    ]


def not_in(body: list[ast.stmt], declared: Declared, inside: str = "") -> Iterator[str]:
    """Public classes, methods with their parameters, and attributes of source code that `declared` does not have."""
    for node in body:
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            if (found := declared.get(node.name)) is None:
                yield inside + node.name
            else:
                yield from not_in(node.body, members(found), f"{inside}{node.name}.")
        elif isinstance(node, ast.FunctionDef) and inside:
            yield from _not_in_function(node, declared, inside)
        elif isinstance(node, ast.Assign) and inside:
            yield from (inside + t.id for t in node.targets if isinstance(t, ast.Name) and t.id not in declared)


def _not_in_function(node: ast.FunctionDef, declared: Declared, inside: str) -> Iterator[str]:
    parameters = _parameters(node)
    found = declared.get(node.name, [])
    allowed = [_parameters(one) for one in found if isinstance(one, ast.FunctionDef) and not one.args.vararg]
    is_invented = not found and not node.name.startswith("_")
    # Where there is no signature TensorRT alone makes the objects.
    if is_invented or (allowed and parameters not in [names[: len(parameters)] for names in allowed]):
        yield f"{inside}{node.name}({', '.join(parameters)})"
    attributes = (inner for inner in ast.walk(node) if isinstance(inner, ast.Attribute))
    for inner in attributes:
        is_own = isinstance(inner.ctx, ast.Store) and ast.unparse(inner.value) == "self"
        if is_own and inner.attr not in declared and inner.attr[0] != "_":
            yield inside + inner.attr


def _parameters(function: ast.FunctionDef) -> list[str]:
    return [argument.arg for argument in function.args.args[1:]]
