"""From a network to a serialised engine, which holds its graph."""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from typing import Any

from tensorrt_double.network import INetworkDefinition
from tensorrt_double.values import (
    BuilderFlag,
    DataType,
    IHostMemory,
    ILogger,
    IProgressMonitor,
    MemoryPoolType,
    NetworkDefinitionCreationFlag,
    version,
)

_TIMINGS = b"timing cache of the double"


class IOptimizationProfile:
    def __init__(self) -> None:
        self._shapes: dict[str, list[Sequence[int]]] = {}

    def set_shape(self, input: str, min: Sequence[int], opt: Sequence[int], max: Sequence[int]) -> None:
        self._shapes[input] = [min, opt, max]


class ITimingCache:
    def __init__(self, content: bytes) -> None:
        self._content = content

    def serialize(self) -> IHostMemory:
        return IHostMemory(self._content)


class IBuilderConfig:
    def __init__(self) -> None:
        self.progress_monitor: IProgressMonitor | None = None
        self._flags = {BuilderFlag.TF32}
        self._profiles: list[IOptimizationProfile] = []
        self._workspace = -1
        self._timings = ITimingCache(b"")

    def set_flag(self, flag: BuilderFlag) -> None:
        self._flags.add(flag)

    def clear_flag(self, flag: BuilderFlag) -> None:
        self._flags.discard(flag)

    def set_memory_pool_limit(self, pool: MemoryPoolType, pool_size: int) -> None:
        self._workspace = pool_size

    def add_optimization_profile(self, profile: IOptimizationProfile) -> int:
        self._profiles.append(profile)
        return len(self._profiles) - 1

    def create_timing_cache(self, serialized_timing_cache: bytes) -> ITimingCache:
        return ITimingCache(bytes(serialized_timing_cache))

    def set_timing_cache(self, cache: ITimingCache, ignore_mismatch: bool) -> bool:
        if cache._content not in (b"", _TIMINGS):
            return False
        self._timings = cache
        return True

    def get_timing_cache(self) -> ITimingCache:
        return self._timings


class _Built:
    """What a test may ask of a build that came to its end."""

    def __init__(self, network: INetworkDefinition, config: IBuilderConfig) -> None:
        self.inputs = [tensor.name for tensor in network._inputs]
        self.outputs = [tensor.name for tensor in network._outputs]
        self.flags = set(config._flags)
        self.workspace = config._workspace
        self.had_timings = config._timings._content == _TIMINGS


_built: list[_Built] = []


class Builder:
    def __init__(self, logger: ILogger) -> None:
        self._logger = logger

    def create_network(self, flags: int = 0) -> INetworkDefinition:
        is_asked_for = bool(flags & 1 << NetworkDefinitionCreationFlag.STRONGLY_TYPED)
        return INetworkDefinition(is_asked_for or not version[0].startswith("10."))

    def create_builder_config(self) -> IBuilderConfig:
        return IBuilderConfig()

    def create_optimization_profile(self) -> IOptimizationProfile:
        return IOptimizationProfile()

    def build_serialized_network(self, network: INetworkDefinition, config: IBuilderConfig) -> IHostMemory | None:
        shapes = config._profiles[0]._shapes if config._profiles else {}
        if problem := _build_problem(network, config, shapes):
            self._logger.log(ILogger.Severity.ERROR, problem)
            return None
        if config.progress_monitor is not None and not _stepped(config.progress_monitor):
            return None
        _built.append(_Built(network, config))
        config._timings._content = _TIMINGS
        tensors = [
            {"name": tensor.name, "dtype": tensor.dtype.name, "shape": tensor.shape, "profile": shapes.get(tensor.name)}
            for tensor in (*network._inputs, *network._outputs)
        ]
        plan = {"version": version[0], "inputs": len(network._inputs), "tensors": tensors}
        return IHostMemory(json.dumps(plan).encode() + b"\n" + network._model)


def _build_problem(network: INetworkDefinition, config: IBuilderConfig, shapes: dict[str, Any]) -> str:
    for tensor in network._inputs:
        if -1 in tensor.shape and tensor.name not in shapes:
            return "Network has dynamic or shape inputs, but no optimization profile has been defined."
        for shape in shapes.get(tensor.name, ()):
            if [side for side in tensor.shape if side != -1] != [
                side for side, named in zip(shape, tensor.shape, strict=True) if named != -1
            ]:
                return f"{tensor.name}: the profile's {shape} does not fit {tensor.shape}"
    if network._is_strongly_typed:
        return ""
    # Weakly typed, as TensorRT 10 can be and 11 cannot. The flags are not in this double, as 11 does not have them.
    if any(tensor.dtype == DataType.HALF for tensor in (*network._inputs, *network._outputs)):
        return "Network has float16 tensors, but the FP16 flag is not set."
    if b"QuantizeLinear" in network._model:
        return "Network has quantised layers, but the INT8 flag is not set."
    return ""


def _stepped(monitor: IProgressMonitor) -> bool:
    """Two phases, one within the other, told from a thread of TensorRT's own; False when the monitor ends it."""
    going_on = True

    def steps() -> None:
        nonlocal going_on
        monitor.phase_start("Building Engine", None, 2)
        monitor.phase_start("Timing Graph Nodes", "Building Engine", 3)
        going_on = all(monitor.step_complete("Timing Graph Nodes", step) for step in range(3))
        monitor.phase_finish("Timing Graph Nodes")
        going_on = going_on and all(monitor.step_complete("Building Engine", step) for step in range(2))
        monitor.phase_finish("Building Engine")

    thread = threading.Thread(target=steps)
    thread.start()
    thread.join()
    return going_on
