"""What TensorRT's own Python module declares: classes, members and types, read from NVIDIA's wheel of the bindings.

The module only loads beside TensorRT's libraries, which are not here. It calls nothing of them while it loads, so that
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
from collections.abc import Iterator
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

_LIBRARIES = ("libnvinfer.so.10", "libnvinfer_plugin.so.10", "libnvonnxparser.so.10")
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
        own = [name for name in vars(value) if name[0] != "_" or name == "__init__"]
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


def declared(folder: Path) -> dict[str, Described]:
    """Everything in the module, by name. folder: an empty one for what is needed to load it."""
    for name in _LIBRARIES:
        (folder / name).write_bytes(_library(_FUNCTIONS))
    wheel = distribution("tensorrt_cu12_bindings")
    extension = wheel.locate_file("tensorrt_bindings/tensorrt.so")
    environment = {**os.environ, "LD_LIBRARY_PATH": str(folder)}
    command = [sys.executable, "-c", _DESCRIBE, str(extension)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=60)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def signatures(described: Described) -> list[tuple[list[tuple[str, str, bool]], str]]:
    """Each overload of a function or property: parameters (name, type, whether it has a default), and the result."""
    found = re.findall(r"^(?:\d+\. )?\w*\((.*)\) -> (.+)$", described["doc"] or "", re.MULTILINE)
    return [([_parameter(text) for text in _split(parameters)], result) for parameters, result in found]


def type_stub(module: dict[str, Described]) -> str:
    """The module as a .pyi file; what its signatures leave open, or do not say in Python, is Any."""
    classes = {name for name, described in module.items() if described["kind"] == "class"}
    lines = ["# mypy: ignore-errors", "from typing import Any, overload", "__version__: str"]
    for name, described in module.items():
        lines += _declaration(name, described, classes)
    return "\n".join(lines) + "\n"


def _declaration(name: str, described: Described, classes: set[str]) -> list[str]:
    if described["kind"] == "class":
        members = [line for item in described["members"].items() for line in _declaration(*item, classes)]
        if name == "IHostMemory":  # it is a buffer, which no attribute tells
            members.append("def __buffer__(self, flags: int, /) -> memoryview: ...")
        return [f"class {name}({', '.join(described['bases'])}):", *(f"    {line}" for line in [*members, "..."])]
    if described["kind"] == "function":
        overloads = list(dict.fromkeys(_function(name, *signature, classes) for signature in signatures(described)))
        lines = overloads if all(map(_is_python, overloads)) else []
        if len(lines) > 1:
            return [line for overload in lines for line in ("@overload", overload)]
        return lines or [f"def {name}(self, *args: Any, **named: Any) -> Any: ..."]
    if described["kind"] == "property":
        of = _type(next((result for _, result in signatures(described)), "Any"), classes)
        return [f"{name}: {of}"] if described["is_writable"] else ["@property", f"def {name}(self) -> {of}: ..."]
    return [f"{name}: {_type(described['type'], classes)}"]


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
