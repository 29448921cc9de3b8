"""Writes tensorrt_names.pyi: what TensorRT's own Python modules, of all the versions that are supported, declare alike.

    pip download --no-deps tensorrt_cu12_bindings==10.3.0       # and the others, for this machine's Python
    python test/tensorrt_bindings.py tensorrt_cu12_bindings-*.whl

A module only loads beside TensorRT's libraries, which are not here. It calls nothing of them while it loads, so that
libraries with the right names of functions in them, and nothing behind these, will do.
"""

from __future__ import annotations

import ast
import json
import os
import platform
import re
import struct
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

NAMES = Path(__file__).with_name("tensorrt_names.pyi")

_LIBRARIES = ("libnvinfer.so", "libnvinfer_plugin.so", "libnvonnxparser.so")
_FUNCTIONS = (
    *("createInferBuilder_INTERNAL", "createInferRefitter_INTERNAL", "createInferRuntime_INTERNAL"),
    *("createNvOnnxParser_INTERNAL", "createNvOnnxParserRefitter_INTERNAL", "getNvOnnxParserVersion"),
    *("getPluginRegistry", "getBuilderPluginRegistry", "initLibNvInferPlugins"),
)
_DESCRIBE = """
import importlib.machinery, importlib.util, json, sys
loader = importlib.machinery.ExtensionFileLoader("tensorrt", sys.argv[1])
module = importlib.util.module_from_spec(importlib.util.spec_from_file_location("tensorrt", sys.argv[1], loader=loader))
loader.exec_module(module)

def described(value):
    if isinstance(value, type):
        bases = [base.__name__ for base in value.__bases__ if base.__module__ == "tensorrt"]
        own = [name for name in vars(value) if name[0] != "_" or name in ("__init__", "__int__")]
        members = {name: described(getattr(value, name)) for name in own}
        return {"kind": "class", "bases": bases, "members": members}
    if isinstance(value, property):
        return {"kind": "property", "doc": value.fget.__doc__, "is_writable": value.fset is not None}
    if callable(value):
        return {"kind": "function", "doc": value.__doc__}
    return {"kind": "value", "type": type(value).__qualname__}

names = [name for name in dir(module) if not name.startswith("_")]
print(json.dumps({name: described(getattr(module, name)) for name in names}))
"""

Described = dict[str, Any]  # "kind", and what is known of such: see _DESCRIBE


def declared(wheel: Path) -> dict[str, Described]:
    """Everything in the module that a wheel of the bindings holds, by name."""
    with tempfile.TemporaryDirectory() as folder, zipfile.ZipFile(wheel) as content:
        extension = content.extract("tensorrt_bindings/tensorrt.so", folder)
        for name in _LIBRARIES:
            (Path(folder) / f"{name}.{_version(wheel).partition('.')[0]}").write_bytes(_library(_FUNCTIONS))
        environment = {**os.environ, "LD_LIBRARY_PATH": folder}
        command = [sys.executable, "-c", _DESCRIBE, extension]
        done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=60)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def _version(wheel: Path) -> str:
    return wheel.name.split("-")[1]


def signatures(described: Described) -> list[tuple[list[tuple[str, str, bool]], str]]:
    """Each overload of a function or property: parameters (name, type, whether it has a default), and the result."""
    found = re.findall(r"^(?:\d+\. )?\w*\((.*)\) -> (.+)$", described["doc"] or "", re.MULTILINE)
    return [([_parameter(text) for text in _split(parameters)], result) for parameters, result in found]


def type_stub(modules: list[dict[str, Described]]) -> list[str]:
    """The lines of a .pyi file of what all have; what signatures leave open, or do not say in Python, is Any."""
    common = _common(modules)
    classes = {name for name, each in common.items() if each[0]["kind"] == "class"}
    lines = [
        "# mypy: ignore-errors",
        "# ruff: noqa",
        "# fmt: off",
        "from typing import Any, overload",
        "__version__: str",
    ]
    for name, each in common.items():
        lines += _declaration(name, each, classes)
    return lines


def _common(of: list[dict[str, Described]]) -> dict[str, list[Described]]:
    each = {name: [one[name] for one in of] for name in of[0] if all(name in one for one in of)}
    return {name: alike for name, alike in each.items() if len({described["kind"] for described in alike}) == 1}


def _declaration(name: str, each: list[Described], classes: set[str]) -> list[str]:
    """Of what every version describes."""
    first = each[0]
    if first["kind"] == "class":
        common = _common([described["members"] for described in each])
        members = [line for item in common.items() for line in _declaration(*item, classes)]
        if name == "IHostMemory":  # it is a buffer, which no attribute tells
            members.append("def __buffer__(self, flags: int, /) -> memoryview: ...")
        bases = [base for base in first["bases"] if base in classes]
        return [f"class {name}({', '.join(bases)}):", *(f"    {line}" for line in [*members, "..."])]
    if first["kind"] == "function":
        overloads = [[_function(name, *one, classes) for one in signatures(described)] for described in each]
        lines = [line for line in dict.fromkeys(overloads[0]) if all(line in others for others in overloads)]
        if not lines or not all(map(_is_python, lines)):
            return [f"def {name}(self, *args: Any, **named: Any) -> Any: ..."]
        return lines if len(lines) == 1 else [line for overload in lines for line in ("@overload", overload)]
    if first["kind"] == "property":
        results = {_type(next((result for _, result in signatures(one)), "Any"), classes) for one in each}
        of = results.pop() if len(results) == 1 else "Any"
        is_writable = all(described["is_writable"] for described in each)
        return [f"{name}: {of}"] if is_writable else ["@property", f"def {name}(self) -> {of}: ..."]
    return [f"{name}: {_type(first['type'], classes)}"]


def _function(name: str, parameters: list[tuple[str, str, bool]], result: str, classes: set[str]) -> str:
    texts = [
        parameter if parameter == "self" else f"{parameter}: {_type(of, classes)}{' = ...' if has_default else ''}"
        for parameter, of, has_default in parameters
    ]
    return f"def {name}({', '.join(texts)}) -> {_type(result, classes)}: ..."


def _is_python(line: str) -> bool:
    try:
        ast.parse(line)
    except SyntaxError:
        return False
    return True


def _type(text: str, classes: set[str]) -> str:
    text = text.strip().replace("tensorrt.", "").replace("List[", "list[")
    if text.startswith("list["):
        return f"list[{_type(text[5:-1], classes)}]"
    if text in ("Dims", "tuple", "list"):  # they are converted from and to one another
        return "tuple[int, ...]"
    if text == "typing.SupportsInt":
        return "int"
    return text if text in {*classes, "int", "float", "str", "bool", "None"} else "Any"


def _parameter(text: str) -> tuple[str, str, bool]:
    declaration, _, default = text.partition(" = ")
    name, _, of = declaration.partition(": ")
    return name.strip(), of, bool(default)


def _split(parameters: str) -> Iterator[str]:
    """At commas outside brackets."""
    depth, text = 0, ""
    for character in parameters:
        depth += (character in "[(<{") - (character in "])>}")
        if character == "," and depth == 0:
            yield text
            text = ""
        else:
            text += character
    if text.strip():
        yield text


def _library(functions: tuple[str, ...]) -> bytes:
    """A shared library (ELF, 64 bit) that has these functions as far as the loader looks: their names."""
    names = b"\0" + b"".join(name.encode() + b"\0" for name in functions)
    offsets = [names.index(b"\0" + name.encode() + b"\0") + 1 for name in functions]
    symbols = bytes(24) + b"".join(struct.pack("<IBBHQQ", at, 0x12, 0, 1, 64, 0) for at in offsets)
    # One bucket, which chains all symbols.
    count = len(functions) + 1
    table = struct.pack(f"<{3 + count}I", 1, count, 1, 0, *range(2, count), 0)
    start = 64 + 2 * 56
    symbols_at, table_at = start, start + len(symbols)
    names_at = table_at + len(table)
    dynamic_at = -(-(names_at + len(names)) // 8) * 8
    entries = [(4, table_at), (5, names_at), (6, symbols_at), (10, len(names)), (11, 24), (0, 0)]
    dynamic = b"".join(struct.pack("<QQ", *entry) for entry in entries)
    size = dynamic_at + len(dynamic)
    machine = {"x86_64": 62, "aarch64": 183}[platform.machine()]
    header = struct.pack("<16sHHIQQQIHHHHHH", b"\x7fELF\x02\x01\x01", 3, machine, 1, 0, 64, 0, 0, 64, 56, 2, 0, 0, 0)
    load = struct.pack("<IIQQQQQQ", 1, 6, 0, 0, 0, size, size, 0x10000)
    pointer = struct.pack("<IIQQQQQQ", 2, 6, dynamic_at, dynamic_at, dynamic_at, len(dynamic), len(dynamic), 8)
    content = header + load + pointer + symbols + table + names
    return content.ljust(dynamic_at, b"\0") + dynamic


def main(wheels: list[Path]) -> None:
    """Write NAMES."""
    wheels.sort(key=lambda wheel: [int(part) for part in _version(wheel).split(".")])
    versions = ", ".join(map(_version, wheels))
    lines = type_stub([declared(wheel) for wheel in wheels])
    NAMES.write_text("\n".join([f"# Written by tensorrt_bindings.py of versions {versions}.", *lines]) + "\n")


if __name__ == "__main__":
    main([Path(argument) for argument in sys.argv[1:]])
