"""Every name of TensorRT that the package uses is one that TensorRT's own module has, where it is used."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tensorrt_bindings import Described, declared, signatures, type_stub

ROOT = Path(__file__).parents[2]
SOURCES = [
    path
    for path in sorted((ROOT / "dcfm_ros").rglob("*.py"))
    if re.search(r"^ *(import|from) tensorrt\b", path.read_text(), re.MULTILINE)
]
DOUBLE = sorted((ROOT / "test" / "tensorrt_double").glob("*.py"))


@pytest.fixture(scope="module")
def module(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Described]:
    return declared(tmp_path_factory.mktemp("libraries"))


@pytest.fixture(scope="module")
def stub(module: dict[str, Described], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("types") / "tensorrt" / "__init__.pyi"
    path.parent.mkdir()
    path.write_text(type_stub(module))
    return path


def complaints(paths: list[Path], stub: Path) -> list[str]:
    """What mypy says of the files, knowing of all that they import TensorRT alone."""
    options = ["--config-file=", "--follow-imports=skip", "--cache-dir=/dev/null", "--no-error-summary"]
    command = [sys.executable, "-m", "mypy", *options, *map(str, paths), str(stub)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert not done.stderr
    return done.stdout.splitlines()


def names_in(described: dict[str, Described]) -> Iterator[str]:
    for name, one in described.items():
        yield name
        yield from names_in(one.get("members", {}))


def test_two_modules_use_tensorrt() -> None:
    assert [path.name for path in SOURCES] == ["tensorrt_engines.py", "tensorrt_backend.py"]


def test_what_is_used_is_there(stub: Path) -> None:
    assert complaints(SOURCES, stub) == []


def test_a_name_that_is_not_there_is_found_wherever_one_is_used(
    module: dict[str, Described], stub: Path, tmp_path: Path
) -> None:
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
    assert {"build_serialized_network", "execute_async_v3", "node_operator", "PREFER_PRECISION_CONSTRAINTS"} <= {
        *misspelt.values()
    }
    said = complaints([tmp_path / name for name in misspelt], stub)
    found = {Path(line.split(":")[0]).name for line in said if "_made_up" in line}
    assert found == set(misspelt)


def test_tensorrt_8s_names_are_found(stub: Path, tmp_path: Path) -> None:
    path = tmp_path / "old.py"
    path.write_text(
        "import tensorrt\n"
        "def old(engine: tensorrt.ICudaEngine, context: tensorrt.IExecutionContext) -> None:\n"
        "    engine.num_bindings\n"
        "    context.execute_async_v2([], 0)\n"
        "    context.execute_async_v3()\n"
        "    tensorrt.MemoryPoolType.SCRATCH\n"
    )
    assert [line.split(":")[1] for line in complaints([path], stub)] == ["3", "4", "5", "6"]


@pytest.mark.parametrize("path", DOUBLE, ids=lambda path: path.stem)
def test_the_double_has_nothing_that_tensorrt_has_not(path: Path, module: dict[str, Described]) -> None:
    wrong = [line for line in not_in(ast.parse(path.read_text()).body, module) if line]
    assert wrong == []


def test_what_the_double_invents_would_be_found(module: dict[str, Described]) -> None:
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


def not_in(body: list[ast.stmt], described: dict[str, Described], inside: str = "") -> Iterator[str]:
    """Public classes, methods with their parameters, and attributes of source code that `described` does not have."""
    for node in body:
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            if (found := described.get(node.name)) is None:
                yield inside + node.name
            else:
                yield from not_in(node.body, found["members"], f"{inside}{node.name}.")
        elif isinstance(node, ast.FunctionDef) and inside:
            yield from _not_in_function(node, described, inside)
        elif isinstance(node, ast.Assign) and inside:
            yield from (inside + t.id for t in node.targets if isinstance(t, ast.Name) and t.id not in described)


def _not_in_function(node: ast.FunctionDef, described: dict[str, Described], inside: str) -> Iterator[str]:
    parameters = [argument.arg for argument in node.args.args[1:]]
    found = described.get(node.name, {"kind": "none"})
    allowed = [[name for name, *_ in of][1:] for of, _ in signatures(found)] if found["kind"] == "function" else []
    is_invented = found["kind"] == "none" and not node.name.startswith("_")
    # Where there is no signature TensorRT alone makes the objects.
    if is_invented or (allowed and parameters not in [names[: len(parameters)] for names in allowed]):
        yield f"{inside}{node.name}({', '.join(parameters)})"
    for inner in ast.walk(node):
        is_set = isinstance(inner, ast.Attribute) and isinstance(inner.ctx, ast.Store)
        if is_set and ast.unparse(inner.value) == "self" and inner.attr not in described and inner.attr[0] != "_":
            yield inside + inner.attr
