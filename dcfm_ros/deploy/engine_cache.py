"""Built engines on disk. One is used again only for exactly what it was built from, and only if it is whole."""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

MAX_BYTES = 4 << 30
_MAGIC = b"dcfm engine 1\n"
_DIGEST_BYTES = 32
_SUFFIX, _UNFINISHED = ".engine", ".part"
_ABANDONED_S = 24 * 3600.0

TENSORRT = "10.3 or later, or 11"
"""The versions that `supports_tensorrt` takes, in words."""

log = logging.getLogger(__name__)


def supports_tensorrt(version: str) -> bool:
    """Whether engines are built with that version of TensorRT, like "10.3.0". Raises ValueError for no version."""
    major, minor, *_ = map(int, version.split(".")[:2])
    return (major, minor) >= (10, 3) and major < 12


@dataclass(frozen=True)
class EngineKey:
    """All that decides what an engine is.

    graph_sha256: of the ONNX graph's bytes, which also hold the precision and all shapes but those that are open.
    size: (height, width) of the network's input, which fixes those. tensorrt: its version.
    gpu, compute_capability, multiprocessors: of the device; every Jetson Orin is called "Orin", and they differ in the
    last. workspace_bytes: the scratch memory that was allowed.
    """

    graph_sha256: str
    size: tuple[int, int]
    tensorrt: str
    gpu: str
    compute_capability: str
    multiprocessors: int
    workspace_bytes: int

    @property
    def digest(self) -> str:
        """Its name in the cache: 64 hexadecimal digits."""
        return hashlib.sha256(self.to_json()).hexdigest()

    def to_json(self) -> bytes:
        """The same bytes for equal keys."""
        return json.dumps(asdict(self), sort_keys=True).encode()


class EngineCache:
    """A folder of engines, one file each, that several processes may use at once.

    folder: by default $DCFM_ENGINE_CACHE, else dcfm_ros/engines in the user's cache folder (XDG_CACHE_HOME).
    max_bytes: when more is stored, the engines whose last use is longest ago go, but never the newest.
    A file holds _MAGIC, the SHA-256 of all that follows, the key as a line of JSON, and the engine.
    Raises ValueError unless max_bytes is positive.
    """

    def __init__(self, folder: str | os.PathLike[str] | None = None, max_bytes: int = MAX_BYTES) -> None:
        if max_bytes < 1:
            raise ValueError(f"max_bytes is {max_bytes}; expected at least 1")
        self.folder = Path(folder) if folder is not None else default_folder()
        self.max_bytes = max_bytes

    def path(self, key: EngineKey) -> Path:
        """Where the engine of that key lies, or would."""
        return self.folder / (key.digest + _SUFFIX)

    def load(self, key: EngineKey) -> bytes | None:
        """The engine, or None where there is none. A file that is not whole, or another key's, is removed."""
        path = self.path(key)
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            return None
        engine = _unpacked(content, key)
        if engine is None:
            log.warning("%s is damaged or of something else; it is built again", path)
            self.discard(key)
            return None
        with contextlib.suppress(FileNotFoundError):
            os.utime(path)  # used now; access times are switched off on many robots
        return engine

    def store(self, key: EngineKey, engine: bytes) -> None:
        """Readers see the whole file or none, also when this process or the machine dies. Raises OSError."""
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.path(key)
        descriptor, name = tempfile.mkstemp(suffix=_UNFINISHED, dir=self.folder)
        unfinished = Path(name)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(_packed(key, engine))
                file.flush()
                os.fsync(file.fileno())
            unfinished.replace(path)
        finally:
            unfinished.unlink(missing_ok=True)
        _sync_folder(self.folder)
        self._make_room(path)

    def discard(self, key: EngineKey) -> None:
        """Remove the engine of that key, if there is one."""
        self.path(key).unlink(missing_ok=True)

    def _make_room(self, newest: Path) -> None:
        """Other processes may remove files meanwhile."""
        for path in self.folder.glob(f"*{_UNFINISHED}"):
            with contextlib.suppress(FileNotFoundError):
                if time.time() - path.stat().st_mtime > _ABANDONED_S:  # its writer was killed
                    path.unlink()
        engines = []
        for path in self.folder.glob(f"*{_SUFFIX}"):
            with contextlib.suppress(FileNotFoundError):
                status = path.stat()
                engines.append((path == newest, status.st_mtime_ns, status.st_size, path))
        total = sum(size for _, _, size, _ in engines)
        for is_newest, _, size, path in sorted(engines):
            if total <= self.max_bytes or is_newest:
                break
            path.unlink(missing_ok=True)
            total -= size


def default_folder() -> Path:
    """$DCFM_ENGINE_CACHE, else dcfm_ros/engines in the user's cache folder."""
    if own := os.environ.get("DCFM_ENGINE_CACHE"):
        return Path(own)
    # The XDG rules: a relative path there is to be ignored.
    cache = Path(os.environ.get("XDG_CACHE_HOME", ""))
    return (cache if cache.is_absolute() else Path.home() / ".cache") / "dcfm_ros" / "engines"


def _packed(key: EngineKey, engine: bytes) -> bytes:
    content = key.to_json() + b"\n" + engine
    return _MAGIC + hashlib.sha256(content).digest() + content


def _unpacked(file: bytes, key: EngineKey) -> bytes | None:
    start = len(_MAGIC) + _DIGEST_BYTES
    header = key.to_json() + b"\n"
    content = memoryview(file)[start:]
    if not file.startswith(_MAGIC) or hashlib.sha256(content).digest() != file[len(_MAGIC) : start]:
        return None
    return bytes(content[len(header) :]) if content[: len(header)] == header else None


def _sync_folder(folder: Path) -> None:
    """Until then a power cut may undo the renaming."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
