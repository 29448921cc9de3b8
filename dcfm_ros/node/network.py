"""The network on its device with a stream for each camera, as the node's settings say. Knows no ROS."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Mapping
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any

from dcfm_ros.imaging.class_map import ClassMap
from dcfm_ros.imaging.frame import Frame
from dcfm_ros.imaging.labels import LabelSet, load_labels
from dcfm_ros.imaging.view import View, load_ignore_mask
from dcfm_ros.node.settings import CameraSettings, Settings, Size
from dcfm_ros.node.worker import UnwantedError
from dcfm_ros.streaming import StreamSegmenter
from dcfm_ros.streaming.backends.base import BuildsEngines, EngineBuilding
from dcfm_ros.streaming.backends.select import create_backend
from dcfm_ros.streaming.cameras import CameraGroup, Round
from dcfm_ros.streaming.keyframes import KeyframeWorker

_SPARE_SIZES = 3  # that pictures had before, which may come again


class Network:
    """Loads the weights and takes a device; `prepare` then makes it ready for frames, which may take minutes.

    backend: what runs the network. labels: of the ids that views hand out. views: of each camera, what part of its
    picture is looked at. `prepare` and `segment` are called on one thread; everything else from any.
    Raises ValueError (BackendError among it), RuntimeError, ImportError or OSError for settings that cannot be.
    """

    def __init__(self, settings: Settings) -> None:
        self._kept_sizes = len(settings.cameras) + _SPARE_SIZES
        self.backend = create_backend(
            settings.weights,
            settings.backend,
            settings.device,
            settings.num_threads,
            settings.precision,
            self._kept_sizes,
        )
        self._mode = settings.stream.mode
        own = _labels(settings.labels, self.backend.config.num_classes)
        is_async = settings.stream.keyframe_mode == "async"
        self._worker = KeyframeWorker(self.backend) if is_async else None
        self._schedule = self._followed = settings.stream.create_schedule()
        self._group = CameraGroup(
            {name: StreamSegmenter(self.backend, settings.stream, worker=self._worker) for name in settings.cameras}
        )
        self._any = next(iter(self._group.segmenters.values()))
        labels = own or self._any.labels
        class_map = ClassMap.parse(settings.class_map, labels) if settings.class_map else None
        self.labels = labels if class_map is None else class_map.labels
        self.views = {
            name: _view(camera, settings.min_confidence, class_map) for name, camera in settings.cameras.items()
        }
        self._expected = settings.stream.input_size or self.backend.config.input_size
        self._prepared: OrderedDict[tuple[Size, Size | None], None] = OrderedDict()
        self._build: EngineBuilding | None = None
        self._is_cancelled = False

    def prepare(self) -> None:
        """Make ready for the frames that are expected: of the region of interest, or the size weights were trained at.

        Raises as the backend does, and UnwantedError once it was told to `cancel`.
        """
        regions = [view.region[3:1:-1] for view in self.views.values() if view.region is not None]
        for size in regions or [self._expected]:
            self._prepare(size)

    def segment(
        self, frames: Mapping[str, Frame], confidence: Collection[str], preparing: AbstractContextManager[Any]
    ) -> Round:
        """The cropped frames of a round, through the network.

        confidence: cameras whose confidence is wanted, or needed by their view. preparing: entered while an engine is
        made ready for a frame of another size than before; what it raises when it is left is passed on, before a stream
        is touched.
        """
        for frame in frames.values():
            size = frame.height, frame.width
            needs = self._needs(size)
            if needs not in self._prepared:
                with preparing:
                    self._prepare(size)
            self._prepared.move_to_end(needs)  # what was used longest ago goes first, as in backends
        schedule = self._schedule
        if schedule is not self._followed:  # between frames: none is measured for one schedule and decided by another
            self._group.follow(schedule)
            self._followed = schedule
        return self._group.push(frames, confidence=confidence)

    def describe(self) -> list[str]:
        """What runs, and why, and whether frames must wait for it: sentences for the log."""
        lines = [f"{self.backend.config.name}, {self.backend.description}, {self._mode}"]
        if self.backend.selection:
            lines.append(f"this backend is {self.backend.selection}")
        if self.progress:
            lines.append(f"frames are skipped for now: {self.progress}")
        return lines

    @property
    def progress(self) -> str:
        """The engine that is being built and how far, in words; empty when none is."""
        build = self._build
        if build is None:
            return ""
        progress = build.progress
        return f"building engine {progress.number} of {progress.graphs} ({progress.graph}): {progress.fraction:.0%}"

    def apply(self, settings: Settings) -> None:
        """Take over what may change between frames, for those that are segmented from now on.

        Raises ValueError, with nothing changed, for what cannot be.
        """
        schedule = settings.stream.create_schedule()
        views = {
            name: replace(self.views[name], output_size=camera.output_size, min_confidence=settings.min_confidence)
            for name, camera in settings.cameras.items()
        }
        self._schedule, self.views = schedule, views

    def force_keyframe(self) -> None:
        """Make each camera's next frame a keyframe."""
        for segmenter in self._group.segmenters.values():
            segmenter.force_keyframe()

    def restart(self, reason: str) -> None:
        """Begin new streams; nothing may be in `segment`, but for what is `preparing` there and raises after it."""
        for segmenter in self._group.segmenters.values():
            segmenter.restart(reason)

    def cancel(self) -> None:
        """End a build that is under way, and each that begins later; what waits for it raises UnwantedError."""
        self._is_cancelled = True
        build = self._build  # read once, as it may end meanwhile
        if build is not None:
            build.cancel()

    def close(self) -> None:
        """End threads; the device is free when nobody holds the network any more."""
        if self._worker is not None:
            self._worker.close()

    def _needs(self, size: Size) -> tuple[Size, Size | None]:
        """Return the sizes that must be ready for frames of a size.

        These are the network's input, and the masks where those are built as well.
        """
        return self._any.network_size(*size), size if isinstance(self.backend, BuildsEngines) else None

    def _prepare(self, size: Size) -> None:
        if isinstance(self.backend, BuildsEngines):
            self._build = build = self.backend.prepare(self._any.network_size(*size), size)
            if self._is_cancelled:  # after it is known, so that `cancel` finds the build or the build the flag
                build.cancel()
            try:
                build.result()
            except Exception as error:
                if self._is_cancelled:  # whatever a cancelled build ends in, nothing has failed
                    raise UnwantedError from error
                raise
            finally:
                self._build = None
        self._any.warm_up(*size)
        self._prepared[self._needs(size)] = None
        if len(self._prepared) > self._kept_sizes:
            self._prepared.popitem(last=False)


def _labels(path: str, num_classes: int) -> LabelSet | None:
    if not path:
        return None
    labels = load_labels(path)
    if len(labels) != num_classes:
        raise ValueError(f"labels: {path} names {len(labels)} classes; expected the {num_classes} of the weights")
    return labels


def _view(camera: CameraSettings, min_confidence: float, class_map: ClassMap | None) -> View:
    return View(
        region=camera.region_of_interest,
        ignore=load_ignore_mask(camera.ignore_mask) if camera.ignore_mask else None,
        output_size=camera.output_size,
        min_confidence=min_confidence,
        class_map=class_map,
    )
