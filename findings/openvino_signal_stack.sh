#!/usr/bin/env bash
# Two OpenVINO Cores that were freed leave the thread a stack for signal handlers in memory that is no longer mapped: the
# CPU plugin of each sets one (sigaltstack), and puts back the one that it found. Looked at only, no signal is sent.
# Exits with 0 as long as that is so.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet openvino==2026.4.1 numpy==2.2.6
cd "$folder"

cat > try.py <<'PYTHON'
import ctypes
from pathlib import Path

import openvino


class Stack(ctypes.Structure):
    _fields_ = [("address", ctypes.c_void_p), ("flags", ctypes.c_int), ("size", ctypes.c_size_t)]


def signal_stack():
    stack = Stack()
    assert ctypes.CDLL(None).sigaltstack(None, ctypes.byref(stack)) == 0
    return stack.address or 0


def is_mapped(address):
    ranges = (line.split()[0].split("-") for line in Path("/proc/self/maps").read_text().splitlines())
    return any(int(first, 16) <= address < int(last, 16) for first, last in ranges)


print("openvino", openvino.__version__)
print("before: the stack for signal handlers is at", hex(signal_stack()))
first, second = openvino.Core(), openvino.Core()
for core in (first, second):
    core.get_property("CPU", "FULL_DEVICE_NAME")
print("with two cores:", hex(signal_stack()), "mapped" if is_mapped(signal_stack()) else "not mapped")
del core, first
del second
after = signal_stack()
print("expected after both are freed: the one of before, or one that is mapped")
print("seen:", hex(after), "mapped" if is_mapped(after) else "not mapped")
raise SystemExit(after == 0 or is_mapped(after))
PYTHON
"$folder/venv/bin/python" try.py
