"""`dcfm replay BAG`: what `segmentation_player` does, for those who know only one command."""

from __future__ import annotations

from dcfm_ros.node.player import play as command

__all__ = ["command"]
