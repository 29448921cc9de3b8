"""Letting go of ROS, whoever does it first."""

from __future__ import annotations

import pytest
import rclpy
from node_process import own_domain

from dcfm_ros.node.executable import shut_down


def test_shutting_down_twice_is_nothing() -> None:
    rclpy.init(domain_id=own_domain())
    shut_down()
    shut_down()
    assert not rclpy.ok()


def test_a_signal_handler_that_is_quicker_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def shut_down_in_between() -> None:
        raise RuntimeError("rcl_shutdown already called on the given context")

    monkeypatch.setattr(rclpy, "try_shutdown", shut_down_in_between)
    shut_down()
