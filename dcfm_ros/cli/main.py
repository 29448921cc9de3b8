"""`dcfm <command>`: each command is a file of its own, imported when it is called."""

from __future__ import annotations

import importlib
import sys

import click

from dcfm_ros import __version__
from dcfm_ros.machine.libraries import why_not_loaded
from dcfm_ros.processes import end_with_parent

COMMANDS = {
    "doctor": "Whether the node would start on this machine, with what, and what to do where not.",
    "models": "The configurations that exist.",
    "demo": "Segment a drive through the real node, and show what it saw and how fast.",
    "segment": "Masks, an overlay, a bag and a table of a recording; needs no ROS.",
    "replay": "Play a recording into ROS as a camera, with /clock, losing no frame where that is asked for.",
    "evaluate": "Accuracy on labelled frames.",
    "curve": "Accuracy against milliseconds at several keyframe intervals, of one network or several.",
    "report": "Show what a recording's masks are like and what they cost: a page, numbers and tables.",
    "compare": "Show what changed between two reports, and whether a bound holds.",
    "render": "Write street drives with exact labels, to train on and to try things with.",
    "train": "Train a network as a recipe says.",
    "export": "Write the network for ONNX Runtime, OpenVINO or TensorRT, checked against torch.",
    "bench": "Time full frames, keyframes and other frames, as ratios.",
}


class _LazyGroup(click.Group):
    """Lists commands without importing them: `dcfm models` starts at once, whatever else is not installed."""

    def list_commands(self, context: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        try:
            return importlib.import_module(f"dcfm_ros.cli.{name}").command
        except ImportError as error:
            if not (why := why_not_loaded(error)):
                raise
            raise click.ClickException(f"`dcfm {name}` {why}") from error

    def format_commands(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="dcfm")
def _dcfm() -> None:
    """Dense semantic segmentation of video at camera rate."""


def main() -> None:
    """Entry point. Errors of the package (ValueErrors) and of files are shown without a traceback; exit code 1."""
    end_with_parent()
    try:
        _dcfm.main(prog_name="dcfm")
    except ImportError as error:  # of what a command imports only where it has to
        if not (why := why_not_loaded(error)):
            raise
        click.echo(f"dcfm: this {why}", err=True)
        sys.exit(1)
    except (ValueError, OSError) as error:
        click.echo(f"dcfm: {error}", err=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
