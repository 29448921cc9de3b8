"""The little of the Python API of TensorRT 10.3 to 11 that the package uses, for machines without its libraries.

It has nothing that 11.4 lacks, and holds to the documentation in what can go wrong: types, graphs, shapes, addresses.
An engine here is its ONNX graph, which ONNX Runtime runs on host memory. A test compares names and parameters with
TensorRT's own modules. What begins with an underscore is for tests.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

from tensorrt_double.building import Builder, IBuilderConfig, IOptimizationProfile, ITimingCache, _built
from tensorrt_double.network import INetworkDefinition, ITensor, OnnxParser, ParserError
from tensorrt_double.running import ICudaEngine, IExecutionContext, Runtime, _captured
from tensorrt_double.values import (
    BuilderFlag,
    DataType,
    IHostMemory,
    ILogger,
    IProgressMonitor,
    MemoryPoolType,
    NetworkDefinitionCreationFlag,
    TensorIOMode,
    float16,
    float32,
    version,
)

__all__ = [
    "Builder",
    "BuilderFlag",
    "DataType",
    "IBuilderConfig",
    "ICudaEngine",
    "IExecutionContext",
    "IHostMemory",
    "ILogger",
    "INetworkDefinition",
    "IOptimizationProfile",
    "IProgressMonitor",
    "ITensor",
    "ITimingCache",
    "MemoryPoolType",
    "NetworkDefinitionCreationFlag",
    "OnnxParser",
    "ParserError",
    "Runtime",
    "TensorIOMode",
    "__version__",
    "_captured",
    "float16",
    "float32",
]

__version__ = version[0]

_USERS = (
    "dcfm_ros.deploy.tensorrt_engines",
    "dcfm_ros.streaming.backends.tensorrt_backend",
)


@contextmanager
def _installed(of: str = "10.3.0") -> Iterator[ModuleType]:
    """In TensorRT's place, as version `of`; the package's modules that use it are imported anew inside, and forgotten
    afterwards.
    """
    names = ("tensorrt", *_USERS)
    before = {name: sys.modules.pop(name, None) for name in names}
    sys.modules["tensorrt"] = this = sys.modules[__name__]
    vars(this)["__version__"] = version[0] = of
    _built.clear()
    try:
        yield this
    finally:
        for name in names:
            sys.modules.pop(name, None)
        sys.modules.update({name: module for name, module in before.items() if module is not None})
