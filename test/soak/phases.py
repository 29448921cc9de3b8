"""The parts of a soak: what node is run, for how long, and what happens to it."""

from __future__ import annotations

import fcntl
import os
import random
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from node_process import SMALL, NodeProcess

from soak import mischief
from soak.camera import RobotCamera
from soak.judge import End, Sample
from soak.robot import Robot
from soak.watch import Watch

_FASTDDS = Path(__file__).parents[1] / "node" / "fastdds_local.xml"
_LONGEST = 3
"""Times its own share of the time, a phase that waits for its round trips."""


@dataclass(frozen=True)
class Phase:
    """share: of the whole time. rates_hz: of each camera by name; a single one's name is empty.

    trip_every_s: between round trips through the lifecycle, about. is_log_read: or nobody reads it.
    """

    name: str
    share: float
    rates_hz: Mapping[str, float]
    trip_every_s: float
    parameters: Mapping[str, str] = field(default_factory=dict)
    transport: str = "raw"
    is_log_read: bool = True


PHASES = (
    Phase("two cameras", 0.4, {"front": 30, "left": 10}, 90, {"cameras": "[front, left]", "backend": "torch"}),
    Phase(
        "compressed",
        0.2,
        {"": 30},
        60,
        {"backend": "openvino", "keyframe_mode": "async", "max_image_pixels": "1000000"},
        transport="compressed",
    ),
    Phase("log that nobody reads", 0.1, {"": 30}, 10, {"backend": "torch"}, is_log_read=False),
    Phase("round trips", 0.3, {"": 10}, 1, {"backend": "torch", "keyframe_mode": "async"}),
)


def run(phase: Phase, minutes: float, seed: int, folder: Path, trips: int = 0) -> tuple[list[Sample], End]:
    """Run the phase for its share of `minutes`, and on until there were so many round trips."""
    domain = random.Random().randrange(1, 102)
    environment = os.environ | {"ROS_DOMAIN_ID": str(domain)}
    parameters = SMALL | dict(phase.parameters) | {"input_transport": phase.transport}
    log = folder / f"{phase.name.replace(' ', '_')}.log"
    with _nobody_reads(log) if not phase.is_log_read else _kept(log):
        node = NodeProcess(environment, parameters, log)
        robot = Robot(domain, seed)
        try:
            watch = _carry_on(phase, robot, node, environment, minutes * 60 * phase.share, trips)
            ended_at, exit_code = watch.seconds, _stop(node)
        finally:
            robot.close()
            node.process.kill()
            node.process.wait()
        said = node.output if phase.is_log_read else ""
        return watch.samples, End(phase.name, tuple(phase.rates_hz), ended_at, exit_code, said, tuple(robot.complaints))


def use_shared_memory(folder: Path) -> None:
    """Have DDS, here and in processes that are begun here, stay on this machine, and ROS log into the folder."""
    for name in ("FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE"):
        os.environ[name] = str(_FASTDDS)
    os.environ["ROS_LOG_DIR"] = str(folder / "ros_log")


def _carry_on(
    phase: Phase, robot: Robot, node: NodeProcess, environment: dict[str, str], seconds: float, trips: int
) -> Watch:
    """Everything that happens, until the time is over or the node has ended."""
    cameras = [RobotCamera(robot, name, phase.transport, rate_hz) for name, rate_hz in phase.rates_hz.items()]
    watch = Watch(robot, cameras, phase.name, node.process.pid)

    def is_alive() -> bool:
        return node.process.poll() is None

    robot.run(lambda: is_alive() and watch.seconds < 60 and not watch.samples)
    for camera in cameras:
        for doing in (camera.film(), camera.calibrate(), mischief.listen(robot, camera), mischief.visit(robot, camera)):
            robot.add(doing)
    robot.add(mischief.change_parameters(robot, cameras))
    robot.add(mischief.use_services(robot))
    robot.add(mischief.manage(robot, phase.trip_every_s))
    robot.add(mischief.read_slowly(robot, cameras, environment))

    def goes_on() -> bool:
        enough = robot.trips >= trips or watch.seconds > _LONGEST * seconds
        return is_alive() and (watch.seconds < seconds or not enough)

    robot.run(goes_on)
    return watch


def _stop(node: NodeProcess) -> int | None:
    """The exit code, which is not 0 where the node had ended by itself; None where it does not end."""
    if (ended_with := node.process.poll()) is not None:
        return ended_with or 1
    try:
        return node.stop()
    except subprocess.TimeoutExpired:
        return None


@contextmanager
def _nobody_reads(log: Path) -> Iterator[None]:
    """A pipe in the place of the file, full from the beginning."""
    log.unlink(missing_ok=True)
    os.mkfifo(log)
    reader = os.open(log, os.O_RDWR | os.O_NONBLOCK)
    os.write(reader, bytes(fcntl.fcntl(reader, fcntl.F_GETPIPE_SZ)))
    try:
        yield
    finally:
        os.close(reader)
        log.unlink()


@contextmanager
def _kept(log: Path) -> Iterator[None]:
    log.unlink(missing_ok=True)
    yield
