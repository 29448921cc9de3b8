"""TensorRT engines from the network's ONNX graphs, by what the Python API of TensorRT 10.3 and of 11 have in common."""

from __future__ import annotations

import hashlib
import logging
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Generic, NamedTuple, TypeVar

import tensorrt
import torch

from dcfm_ros.deploy.engine_cache import TENSORRT, EngineCache, EngineKey, supports_tensorrt
from dcfm_ros.model import ModelConfig
from dcfm_ros.model.catalogue import Size

Cancelled = Callable[[], bool]
T = TypeVar("T")

WORKSPACE_BYTES = 1 << 30
# The types in the graph then hold, each layer's and the engine's: it alone says the precision. All TensorRT 11 has.
_STRONGLY_TYPED = 1 << int(tensorrt.NetworkDefinitionCreationFlag.STRONGLY_TYPED)
_SHOWN_MESSAGES = 3

log = logging.getLogger(__name__)

if not supports_tensorrt(tensorrt.__version__):
    raise ImportError(f"TensorRT is {tensorrt.__version__}; expected {TENSORRT}")


class EngineError(ValueError):
    """An engine that TensorRT does not build or load; the message holds the first of its own."""


class BuildCancelled(Exception):
    """The build was cancelled; nothing of the engine it was at is left."""


class Progress(NamedTuple):
    """How far a build of engines has come.

    graph: the one being built, number `number` of `graphs`, from 1. phase: TensorRT's own words, or "cached".
    fraction: of the whole, from 0 to 1; it never falls.
    """

    graph: str
    number: int
    graphs: int
    phase: str
    fraction: float


Report = Callable[[Progress], None]


class Gpu(NamedTuple):
    """The GPU that an engine is built for."""

    name: str
    compute_capability: str
    multiprocessors: int


@dataclass(frozen=True)
class EngineOptions:
    """size: (height, width) of the network's input. gpu: the current device, see `gpu_of`.

    workspace_bytes: scratch memory of a layer.
    """

    size: Size
    gpu: Gpu
    workspace_bytes: int = WORKSPACE_BYTES

    def key(self, content: bytes) -> EngineKey:
        """Return the key in the cache of the engine that is built in this way from `content`, an ONNX graph."""
        return EngineKey(
            graph_sha256=hashlib.sha256(content).hexdigest(),
            size=self.size,
            tensorrt=tensorrt.__version__,
            gpu=self.gpu.name,
            compute_capability=self.gpu.compute_capability,
            multiprocessors=self.gpu.multiprocessors,
            workspace_bytes=self.workspace_bytes,
        )


def gpu_of(device: torch.device) -> Gpu:
    """Raises EngineError when torch sees no such device."""
    if device.type != "cuda" or (device.index or 0) >= torch.cuda.device_count():
        raise EngineError(f"device is {str(device)!r}, but torch sees {torch.cuda.device_count()} CUDA devices here")
    properties = torch.cuda.get_device_properties(device)
    return Gpu(properties.name, f"{properties.major}.{properties.minor}", properties.multi_processor_count)


def build_engines(
    graphs: Mapping[str, bytes],
    config: ModelConfig,
    options: EngineOptions,
    cache: EngineCache | None = None,
    report: Report = lambda progress: None,
    cancelled: Cancelled = lambda: False,
) -> dict[str, tensorrt.ICudaEngine]:
    """Return the engine of every graph, by its name.

    Engines come from `cache` (default: the user's), or are built, which takes minutes, and kept there.

    graphs: as `deploy.onnx_graphs` gives them, of one size or with sides left open; engines compute in the precision
    that these are in. report may come from threads of TensorRT. cancelled is asked at every step of a build.
    Raises EngineError, BuildCancelled, OSError when the cache cannot be written, and whatever `report` raises.
    """
    cache = cache or EngineCache()
    engines = {}
    for number, (name, graph) in enumerate(graphs.items(), 1):
        if cancelled():
            raise BuildCancelled
        monitor = _Monitor(name, number, len(graphs), report, cancelled)
        key = options.key(graph)
        engine = _cached(cache, key)
        if engine is None:
            log.warning("TensorRT builds the engine of %s, %d of %d: minutes, once", name, number, len(graphs))
            serialized = _built(name, graph, config, options, cache, monitor)
            cache.store(key, serialized)
            engine = _loaded(serialized)
        else:
            report(Progress(name, number, len(graphs), "cached", number / len(graphs)))
        if engine is None:
            raise EngineError(f"TensorRT does not load its own engine of {name}: {_LOG.first()}")
        engines[name] = engine
    return engines


def first_errors() -> str:
    """Return the errors that TensorRT reported first in its last piece of work, for a message."""
    return _LOG.first()


class EngineBuild(Generic[T]):
    """Something that takes minutes, `work`, in a thread of its own.

    work: called with what to report to and what to ask whether it was cancelled, as `build_engines` takes them.
    """

    def __init__(self, work: Callable[[Report, Cancelled], T], report: Report = lambda progress: None) -> None:
        self._work = work
        self._report = report
        self._cancelled = threading.Event()
        self._done: Future[T] = Future()
        self._progress = Progress("", 0, 0, "", 0.0)

    def start(self) -> EngineBuild[T]:
        """Begin. Raises RuntimeError at a second call."""
        self._done.set_running_or_notify_cancel()
        threading.Thread(target=self._run, name="engine build", daemon=True).start()
        return self

    @property
    def progress(self) -> Progress:
        """The last that was reported."""
        return self._progress

    def cancel(self) -> None:
        """Ask it to end; TensorRT does at its next step."""
        self._cancelled.set()

    def result(self, timeout_s: float | None = None) -> T:
        """Wait for the work, and return its result.

        Raises what the work raised, BuildCancelled when it was cancelled, and TimeoutError.
        """
        return self._done.result(timeout_s)

    def _run(self) -> None:
        try:
            self._done.set_result(self._work(self._noted, self._cancelled.is_set))
        except BaseException as error:
            self._done.set_exception(error)

    def _noted(self, progress: Progress) -> None:
        self._progress = progress
        self._report(progress)


class _Log(tensorrt.ILogger):
    """TensorRT knows one logger in a process, the first it was given; so there is one here."""

    def __init__(self) -> None:
        tensorrt.ILogger.__init__(self)
        self._errors: list[str] = []

    def log(self, severity: tensorrt.ILogger.Severity, msg: str) -> None:
        """Called by TensorRT, from any thread."""
        if severity in (tensorrt.ILogger.Severity.INTERNAL_ERROR, tensorrt.ILogger.Severity.ERROR):
            self._errors.append(msg)
            log.error("TensorRT: %s", msg)
        else:
            log.debug("TensorRT: %s", msg)

    def forget(self) -> None:
        """Forget all errors so far: those that come from now on belong to another piece of work."""
        self._errors.clear()

    def first(self) -> str:
        """The first errors since."""
        return "; ".join(self._errors[:_SHOWN_MESSAGES]) or "it does not say why"


_LOG = _Log()


class _Monitor(tensorrt.IProgressMonitor):
    """Tells of one graph's build, and ends it. An exception must not pass through TensorRT: it is kept for after."""

    def __init__(self, graph: str, number: int, graphs: int, report: Report, cancelled: Cancelled) -> None:
        tensorrt.IProgressMonitor.__init__(self)
        self.error: BaseException | None = None
        self._about = (graph, number, graphs)
        self._report = report
        self.cancelled = cancelled
        self._outermost: dict[str, int] = {}
        self._within = 0.0
        self._lock = threading.Lock()

    def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
        """Called by TensorRT, from any thread, as are the next two."""
        with self._lock:
            if parent_phase is None:
                self._outermost[phase_name] = num_steps
            self._tell(phase_name)

    def step_complete(self, phase_name: str, step: int) -> bool:
        """Whether to go on."""
        with self._lock:
            if steps := self._outermost.get(phase_name):
                self._within = max(self._within, min(1.0, (step + 1) / steps))
            self._tell(phase_name)
            return self.error is None and not self.cancelled()

    def phase_finish(self, phase_name: str) -> None:
        """Nothing is told: the last step was."""

    def _tell(self, phase: str) -> None:
        graph, number, graphs = self._about
        try:
            self._report(Progress(graph, number, graphs, phase, (number - 1 + self._within) / graphs))
        except BaseException as error:
            self.error = self.error or error


def _cached(cache: EngineCache, key: EngineKey) -> tensorrt.ICudaEngine | None:
    serialized = cache.load(key)
    if serialized is None:
        return None
    engine = _loaded(serialized)
    if engine is None:  # whole, but of another driver or GPU than its key says
        log.warning("TensorRT does not load %s any more (%s); it is built again", cache.path(key), _LOG.first())
        cache.discard(key)
    return engine


def _loaded(serialized: bytes) -> tensorrt.ICudaEngine | None:
    _LOG.forget()
    return tensorrt.Runtime(_LOG).deserialize_cuda_engine(serialized)


def _built(
    name: str, graph: bytes, config: ModelConfig, options: EngineOptions, cache: EngineCache, monitor: _Monitor
) -> bytes:
    _LOG.forget()
    builder = tensorrt.Builder(_LOG)
    network = builder.create_network(_STRONGLY_TYPED)
    parser = tensorrt.OnnxParser(network, _LOG)
    if not parser.parse(graph):
        raise EngineError(f"TensorRT does not read the graph of {name}: {_parser_errors(parser)}")
    building = builder.create_builder_config()
    building.set_memory_pool_limit(tensorrt.MemoryPoolType.WORKSPACE, options.workspace_bytes)
    building.progress_monitor = monitor
    building.clear_flag(tensorrt.BuilderFlag.TF32)  # else convolutions in float32 keep 10 bits of 23
    _fix_open_sides(builder, building, network, config, options.size)
    # How fast each kernel is was measured before for other engines of this machine: that is most of a build's time.
    timings = options.key(b"timings")
    building.set_timing_cache(building.create_timing_cache(cache.load(timings) or b""), False)
    serialized = builder.build_serialized_network(network, building)
    if monitor.error is not None:
        raise monitor.error
    if serialized is None:
        if monitor.cancelled():
            raise BuildCancelled
        raise EngineError(f"TensorRT does not build an engine of {name}: {_LOG.first()}")
    cache.store(timings, bytes(building.get_timing_cache().serialize()))
    return bytes(serialized)


def _parser_errors(parser: tensorrt.OnnxParser) -> str:
    return "; ".join(_in_words(parser.get_error(i)) for i in range(min(parser.num_errors, _SHOWN_MESSAGES)))


def _in_words(error: tensorrt.ParserError) -> str:
    return f"{error.node_operator()} {error.node_name()}: {error.desc()}"


def _fix_open_sides(
    builder: tensorrt.Builder,
    building: tensorrt.IBuilderConfig,
    network: tensorrt.INetworkDefinition,
    config: ModelConfig,
    size: Size,
) -> None:
    """An engine is of one size, also where its graph is of any: TensorRT then chooses for just that."""
    inputs = [network.get_input(i) for i in range(network.num_inputs)]
    open_inputs = [tensor for tensor in inputs if -1 in tuple(tensor.shape)]
    if not open_inputs:
        return
    profile = builder.create_optimization_profile()
    strides = {"image": 1, "shallow": 4, "reference": 4, "common": config.common_stride, "grid": config.common_stride}
    for tensor in open_inputs:
        sides = iter(side // strides[tensor.name] for side in size)
        shape = tuple(next(sides) if side == -1 else side for side in tensor.shape)
        profile.set_shape(tensor.name, shape, shape, shape)
    building.add_optimization_profile(profile)
