"""One pass of a recording through the real thing: player, node and recorder, each a process of its own, over DDS."""

from __future__ import annotations

import csv
import json
import os
import random
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from dcfm_ros.machine.fast_dds import PROFILE_VARIABLES, names_a_profile, shipped_profile
from dcfm_ros.processes import start

_START_TIMEOUT_S = 90.0
_STOP_TIMEOUT_S = 20.0
_IDLE_TIMEOUT_S = 60.0
_KILL_TIMEOUT_S = 5.0


class PassError(ValueError):
    """A process of the pass did not start, or ended with an error; the message holds what it said."""


@dataclass(frozen=True)
class PassResult:
    """frames: the recorder's timing.csv, a row for each published frame. counts: the node's last diagnostics."""

    frames: list[dict[str, str]]
    counts: dict[str, str]

    def milliseconds(self, column: str, keyframes: bool) -> list[float]:
        """One column of timing.csv over all keyframes, or over all other frames."""
        return [float(row[column]) for row in self.frames if (row["is_keyframe"] == "1") is keyframes]


@dataclass(frozen=True)
class PassInput:
    """A source to play. rate_hz: frames per second, also of the overlay video; frames: only the first so many."""

    path: Path
    rate_hz: float
    frames: int
    topic: str | None = None

    @property
    def player_options(self) -> list[str]:
        """How the player is told."""
        options = [str(self.path), "--frames", str(self.frames)]
        if self.topic:
            options += ["--topic", self.topic]
        return options


def run_pass(
    source: PassInput,
    output: Path,
    label: str,
    node_parameters: Mapping[str, object],
    *,
    lossless: bool,
    pictures: bool,
) -> PassResult:
    """Play `source` through the node and record into `output`, masks and overlay too if `pictures`.

    label: of the progress bar. lossless: each frame waits for the mask of the one before; else the recorded rate.
    Raises PassError when a process fails.
    """
    output.mkdir(parents=True, exist_ok=True)
    environment = _environment()
    settings = [part for name, value in node_parameters.items() for part in ("-p", f"{name}:={value}")]
    recorder_options = [str(output), "--rate", str(source.rate_hz), "--pictures" if pictures else "--no-pictures"]
    player_options = [*source.player_options, "--label", label, *(["--lossless"] if lossless else [])]

    with (
        _process("segmentation_node", ["--ros-args", *settings], output, environment) as node,
        _process("recorder", recorder_options, output, environment) as recorder,
    ):
        _wait_until_recording(recorder, node, output)
        _play(player_options, recorder, node, output, environment)
        _wait_until_idle(output)
        _stop(recorder, "recorder", output)
        _stop(node, "segmentation_node", output)
    with (output / "timing.csv").open(newline="") as file:
        return PassResult(list(csv.DictReader(file)), json.loads((output / "counts.json").read_text()))


def _environment() -> dict[str, str]:
    """A DDS domain of its own, so that a robot on the same network is left alone, and room for large images."""
    environment = dict(os.environ, ROS_DOMAIN_ID=str(random.randrange(1, 102)), PYTHONUNBUFFERED="1")
    path = shipped_profile()
    if path is not None and not names_a_profile(environment):
        environment |= dict.fromkeys(PROFILE_VARIABLES, str(path))
    return environment


@contextmanager
def _process(
    module: str, arguments: list[str], output: Path, environment: dict[str, str]
) -> Iterator[subprocess.Popen[str]]:
    """A process in a group of its own: Ctrl-C reaches this program alone, which then ends them in order."""
    with (output / f"{module}.log").open("w") as log:
        process = start(
            [*_module(module), *arguments],
            environment,
            stdout=subprocess.PIPE if module == "recorder" else log,
            stderr=log,
            text=True,
            start_new_session=True,
        )
        try:
            yield process
        finally:
            _end(process)
            if process.stdout is not None:
                process.stdout.close()


def _end(process: subprocess.Popen[str]) -> None:
    """End what still runs. One that is killed leaves its shared memory behind, 64 MB of the machine's."""
    if process.poll() is None:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(_KILL_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
    process.wait()


def _module(name: str) -> list[str]:
    return [sys.executable, "-m", f"dcfm_ros.node.{name}"]


def _wait_until_recording(recorder: subprocess.Popen[str], node: subprocess.Popen[str], output: Path) -> None:
    """The recorder prints a line once it hears every topic, which needs the node to be up."""
    assert recorder.stdout is not None
    deadline = time.monotonic() + _START_TIMEOUT_S
    with selectors.DefaultSelector() as selector:
        selector.register(recorder.stdout, selectors.EVENT_READ)
        while time.monotonic() < deadline:
            _check_alive(recorder, node, output)
            if selector.select(timeout=0.2) and recorder.stdout.readline().strip() == "recording":
                return
    raise PassError(f"node and recorder did not find each other within {_START_TIMEOUT_S:.0f} s; logs are in {output}")


def _play(
    options: list[str],
    recorder: subprocess.Popen[str],
    node: subprocess.Popen[str],
    output: Path,
    environment: dict[str, str],
) -> None:
    """Run the player to its end, or until there is nobody left to play to: it would look for a node for a minute."""
    with start([*_module("player"), *options], environment) as player:
        try:
            while player.poll() is None:
                _check_alive(recorder, node, output)
                time.sleep(0.05)
        finally:
            if player.poll() is None:
                player.terminate()
    if player.returncode == 130:
        raise KeyboardInterrupt
    if player.returncode:
        _check_alive(recorder, node, output)
        raise PassError(f"the player ended with code {player.returncode}")


def _check_alive(recorder: subprocess.Popen[str], node: subprocess.Popen[str], output: Path) -> None:
    for process, name in ((node, "segmentation_node"), (recorder, "recorder")):
        if process.poll() is not None:
            raise _failure(name, process.returncode, output)


def _wait_until_idle(output: Path) -> None:
    """Return when the node, which tells its counts once a second, says after the last frame that none is pending."""
    path, end = output / "counts.json", time.time()
    deadline = end + _IDLE_TIMEOUT_S
    while time.time() < deadline:
        time.sleep(0.1)
        # A margin: what is written now may have been counted before the last frame came.
        if path.exists() and path.stat().st_mtime > end + 1 and json.loads(path.read_text())["pending"] == "0":
            return
    raise PassError(f"the node was not done {_IDLE_TIMEOUT_S:.0f} s after the last frame; logs are in {output}")


def _stop(process: subprocess.Popen[str], name: str, output: Path) -> None:
    process.send_signal(signal.SIGINT)
    try:
        code = process.wait(_STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        raise PassError(f"the {name} did not end within {_STOP_TIMEOUT_S:.0f} s of an interrupt") from None
    if code:
        raise _failure(name, code, output)


def _failure(name: str, code: int, output: Path) -> PassError:
    log = output / f"{name}.log"
    last = log.read_text().strip().splitlines()[-5:]
    return PassError("\n".join([f"the {name} ended with code {code} ({log}):", *last]))
