"""Who configures and activates the node: a lifecycle manager that is there, or else the node itself."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from rclpy.clock import Clock
from rclpy.lifecycle import LifecycleNode, TransitionCallbackReturn
from rclpy.node import Node

_HEARD_S = 2.0
"""How long it takes to hear of those who are there already: 0.1 to 2 s with DDS as it comes, on a busy machine."""
_LOOK_S = 1.0
_GONE_LOOKS, _TOLD_LOOKS = 5, 30
"""So many looks in a row without a manager, and there is none any more; after so many with one it is told again."""
_FIRST_RETRY_S, _LONGEST_RETRY_S = 1.0, 60.0

_PASSERS_BY = ("launch_ros_", "_ros2cli")
"""Beginnings of the names of nodes that hold such a client and manage nothing.

These are launch, which has one for each LifecycleNode, and the command line.
"""


class Autostart:
    """Starts a node without being asked: when it begins, and again after its network was lost.

    Where a lifecycle manager holds a client of the node's `~/change_state` at the beginning, configuring and activating
    are left to it: what it asks of a node that started itself would be refused, and it would give up.

    start: brings the node on until it is active, from whatever state; False where that fails. clock: steady, as
    simulated time may stand still.
    """

    def __init__(self, node: LifecycleNode, start: Callable[[], bool], clock: Clock) -> None:
        self._node = node
        self._start = start
        self._clock = clock
        self._timer: Any = None
        self._retry_s = _FIRST_RETRY_S
        self._looks = self._missed = 0

    def begin(self) -> bool:
        """Start the node if `autostart` says so, or leave that to a manager; False where the node cannot be started.

        A manager that comes while the node configures itself finds it inactive, as it wants it, and activates it.
        """
        if not self._is_wanted:
            return True
        deadline = time.monotonic() + _HEARD_S
        while not (found := managers(self._node)) and time.monotonic() < deadline:
            time.sleep(0.05)
        if not found:
            if self._node.trigger_configure() != TransitionCallbackReturn.SUCCESS:
                return False
            found = managers(self._node)
        if not found:
            return self._start()
        self._log.info(f"{' and '.join(found)} can change this node's state: configuring and activating are left to it")
        self._timer = self._node.create_timer(_LOOK_S, self._look, clock=self._clock)
        return True

    def try_again_later(self) -> None:
        """Start the node after a time that doubles, if `autostart` says so."""
        if not self._is_wanted:
            return
        self._log.info(f"trying again in {self._retry_s:.0f} s")
        self.leave()
        self._timer = self._node.create_timer(self._retry_s, self._try_again, clock=self._clock)
        self._retry_s = min(2 * self._retry_s, _LONGEST_RETRY_S)

    def was_well(self) -> None:
        """The network did work for a while: the next one is tried soon."""
        self._retry_s = _FIRST_RETRY_S

    def leave(self) -> None:
        """Start the node no more: whoever configures or activates it or shuts it down has taken it over."""
        if self._timer is not None:
            self._node.destroy_timer(self._timer)
            self._timer = None

    @property
    def is_due(self) -> bool:
        """Whether the node will be started, if nobody else does it."""
        return self._timer is not None

    def _try_again(self) -> None:
        self.leave()
        if not self._start():
            self.try_again_later()

    def _look(self) -> None:
        """Whether the manager is still there."""
        found = managers(self._node)
        self._looks, self._missed = self._looks + 1, 0 if found else self._missed + 1
        if self._missed == _GONE_LOOKS:
            self._log.info("whoever could change this node's state is gone and has not activated it: it starts itself")
            self._try_again()
        elif found and self._looks % _TOLD_LOOKS == 0:
            self._log.warning(
                f"{' and '.join(found)} has not activated this node for {self._looks * _LOOK_S:.0f} s; it is waited "
                "for as long as it is there"
            )

    @property
    def _is_wanted(self) -> bool:
        return self._node.get_parameter("autostart").value

    @property
    def _log(self) -> Any:
        return self._node.get_logger()


def managers(node: Node) -> list[str]:
    """Return the names of the nodes that hold a client of the node's own `~/change_state`.

    Launch and the command line are left out.
    """
    service = node.resolve_service_name("~/change_state")
    if not node.count_clients(service):
        return []
    found = []
    for name, namespace in node.get_node_names_and_namespaces():
        try:
            clients = node.get_client_names_and_types_by_node(name, namespace)
        except RuntimeError:  # NodeNameNonExistentError, as rclpy calls it: it has gone meanwhile
            continue
        if service in dict(clients) and not name.startswith(_PASSERS_BY):
            found.append(f"{namespace.rstrip('/')}/{name}")
    return sorted(found)
