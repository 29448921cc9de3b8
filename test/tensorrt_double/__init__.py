"""The little of TensorRT 10's Python API that the package uses, for machines without its libraries.

It holds to the documentation in what can go wrong: graphs, flags, shapes and addresses. An engine here is its ONNX
graph, which ONNX Runtime runs on host memory. A test compares names and parameters with TensorRT's own module. What
begins with an underscore is for tests.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

from tensorrt_double.building import Builder, IBuilderConfig, IOptimizationProfile, ITimingCache, _built
from tensorrt_double.network import ILayer, INetworkDefinition, ITensor, OnnxParser, ParserError
from tensorrt_double.running import ICudaEngine, IExecutionContext, Runtime, _captured
from tensorrt_double.values import (
    BuilderFlag,
    DataType,
    IHostMemory,
    ILogger,
    IProgressMonitor,
    LayerType,
    MemoryPoolType,
    TensorIOMode,
    __version__,
    float16,
    float32,
)

__all__ = [
    "Builder",
    "BuilderFlag",
    "DataType",
    "IBuilderConfig",
    "ICudaEngine",
    "IExecutionContext",
    "IHostMemory",
    "ILayer",
    "ILogger",
    "INetworkDefinition",
    "IOptimizationProfile",
    "IProgressMonitor",
    "ITensor",
    "ITimingCache",
    "LayerType",
    "MemoryPoolType",
    "OnnxParser",
    "ParserError",
    "Runtime",
    "TensorIOMode",
    "__version__",
    "_captured",
    "float16",
    "float32",
]

_USERS = (
    "dcfm_ros.deploy.tensorrt_engines",
    "dcfm_ros.streaming.backends.tensorrt_backend",
)


@contextmanager
def _installed() -> Iterator[ModuleType]:
    """In TensorRT's place; the package's modules that use it are imported anew inside, and forgotten afterwards."""
    names = ("tensorrt", *_USERS)
    before = {name: sys.modules.pop(name, None) for name in names}
    sys.modules["tensorrt"] = this = sys.modules[__name__]
    _built.clear()
    try:
        yield this
    finally:
        for name in names:
            sys.modules.pop(name, None)
        sys.modules.update({name: module for name, module in before.items() if module is not None})
