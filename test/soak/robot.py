"""A robot around the node: one ROS node whose doings take turns in one thread."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any

import rclpy
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.logging import LoggingSeverity
from rclpy.task import Future

Doing = Generator["float | Future", Any, None]
"""Yields seconds to wait, or the future of a service's answer, which it gets back; None when no answer came."""

_ANSWER_S = 40.0
"""What a service may take: configuring alone may take ten seconds, and requests wait for each other."""


@dataclass
class _Task:
    doing: Doing
    due: float = 0.0
    future: Future | None = None


class Robot:
    """complaints: what is wrong with the node, as sentences. out_of_service: why no answers are to be expected now."""

    def __init__(self, domain: int, seed: int) -> None:
        self.domain = domain
        self.random = random.Random(seed)
        self.complaints: list[str] = []
        self.out_of_service: set[str] = set()
        self.trips = 0
        self._context = Context()
        rclpy.init(context=self._context, domain_id=domain)
        self.node = rclpy.create_node("robot", context=self._context)
        quiet(self.node)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self.node)
        self._tasks: list[_Task] = []
        self._clients: dict[str, Any] = {}

    def add(self, doing: Doing) -> None:
        """Begin with something that goes on beside the rest."""
        self._tasks.append(_Task(doing))

    def run(self, goes_on: Callable[[], bool]) -> None:
        """Let everything have its turns while `goes_on`."""
        while goes_on():
            self._executor.spin_once(timeout_sec=0.005)
            self._tasks = [task for task in self._tasks if self._turn(task)]

    def ask(self, kind: Any, service: str, **fields: Any) -> Future:
        """Call a service of the node; to be yielded by a doing."""
        if service not in self._clients:
            self._clients[service] = self.node.create_client(kind, f"/segmentation/{service}")
        return self._clients[service].call_async(kind.Request(**fields))

    def complain(self, sentence: str) -> None:
        """Note what is wrong."""
        self.complaints.append(sentence)

    def close(self) -> None:
        """End everything, as a `finally` in a doing says."""
        for task in self._tasks:
            task.doing.close()
        self._executor.shutdown()
        self.node.destroy_node()
        rclpy.try_shutdown(context=self._context)

    def _turn(self, task: _Task) -> bool:
        """Whether the task has more to do."""
        now, answer = time.monotonic(), None
        if task.future is not None and task.future.done():
            answer = task.future.result()
        elif now < task.due:
            return True
        elif task.future is not None:
            self.complain(f"a service did not answer within {_ANSWER_S:.0f} s")
        try:
            wanted = task.doing.send(answer)
        except StopIteration:
            return False
        if isinstance(wanted, Future):
            task.future, task.due = wanted, now + _ANSWER_S
        else:
            task.future, task.due = None, now + wanted
        return True


def quiet(node: Any) -> None:
    """Have rclpy not say what is meant to be so: that some who listen ask for what is not offered."""
    node.get_logger().set_level(LoggingSeverity.FATAL)
