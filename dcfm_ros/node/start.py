"""The executables' entry points: where a module lacks that they need, they say which in one sentence."""

from __future__ import annotations

import importlib
import sys

from dcfm_ros.machine.libraries import why_not_loaded


def segmentation_node() -> int:
    """Run the node."""
    return _main_of("segmentation_node", "segmentation_node")


def segmentation_player() -> int:
    """Play a recording as a camera."""
    return _main_of("segmentation_player", "player")


def segmentation_recorder() -> int:
    """Record what a node says of its frames."""
    return _main_of("segmentation_recorder", "recorder")


def _main_of(name: str, module: str) -> int:
    try:
        main = importlib.import_module(f"dcfm_ros.node.{module}").main
    except ImportError as error:
        if not (why := why_not_loaded(error)):
            raise
        print(f"{name} {why}", file=sys.stderr)
        return 1
    return int(main())
