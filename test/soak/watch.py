"""What is seen of the node: each report in `/diagnostics`, and its process in /proc at that moment."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus

from dcfm_ros.node.worker import Counts
from soak.camera import RobotCamera
from soak.judge import Sample
from soak.robot import Robot


class Watch:
    """Fills `samples`: for each report of the node, one of each camera."""

    def __init__(self, robot: Robot, cameras: Sequence[RobotCamera], phase: str, pid: int) -> None:
        self.samples: list[Sample] = []
        self._robot = robot
        self._cameras = cameras
        self._phase = phase
        self._process = Path("/proc") / str(pid)
        self._began = time.monotonic()
        robot.node.create_subscription(DiagnosticArray, "/diagnostics", self._on_report, 10)

    @property
    def seconds(self) -> float:
        """Since the phase began."""
        return time.monotonic() - self._began

    def _on_report(self, report: DiagnosticArray) -> None:
        statuses = {status.name: status for status in report.status}
        with suppress(OSError):  # it has died, which its end tells
            for camera in self._cameras:
                name = f"segmentation: {camera.name}" if camera.name else "segmentation"
                if name in statuses:
                    self.samples.append(self._sample(camera, statuses[name]))

    def _sample(self, camera: RobotCamera, status: DiagnosticStatus) -> Sample:
        said = {pair.key: pair.value for pair in status.values}
        process = dict(line.split(":", 1) for line in (self._process / "status").read_text().splitlines())
        p95 = said.get("other_frame_p95_ms")
        return Sample(
            phase=self._phase,
            camera=camera.name,
            seconds=self.seconds,
            state=said["state"],
            counts=Counts(**{name: int(said[name]) for name in Counts.__dataclass_fields__}),
            p95_ms=None if p95 is None else float(p95),
            private_mb=_megabytes(process["RssAnon"]),
            rss_mb=_megabytes(process["VmRSS"]),
            threads=int(process["Threads"]),
            files=len(list((self._process / "fd").iterdir())),
            sent=camera.sent,
            hostile=camera.hostile,
            masks=camera.masks,
            timings=camera.timings,
            is_due=not (self._robot.out_of_service or camera.is_away),
            trips=self._robot.trips,
        )


def _megabytes(kibibytes: str) -> float:
    return int(kibibytes.split()[0]) * 1024 / 1e6
