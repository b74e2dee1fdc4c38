"""The program's entry: picks the subcommand and turns expected failures into one clear line."""

import argparse
import sys
from collections.abc import Sequence
from typing import Protocol, cast

from edgecanary import __version__
from edgecanary.base.errors import EdgecanaryError
from edgecanary.cli import lazy

COMMANDS = {
    "operator": "run the operator, in or out of a cluster",
    "agent": "run the node agent",
    "model": "prepare a model for release: deltas, signatures",
    "rollout": "plan a rollout, or ask why one stands where it does",
    "simulate": "play a rollout on a simulated fleet",
    "check": "check the installation in a cluster",
}
EXTRAS = {
    "operator": "operator",
    "agent": "agent",
    "model": "model",
    "rollout": "operator",
    "simulate": "operator",
    "check": "operator",
}


class Command(Protocol):
    """What a subcommand's module offers."""

    def add_parser(self, subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
        """Adds the subcommand's flags."""
        ...

    def run(self, options: argparse.Namespace) -> int:
        """Runs the subcommand; returns the exit code."""
        ...


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a subcommand; the exit code is 0 for success, 1 for a failure, 2 for wrong usage."""
    arguments = sys.argv[1:] if argv is None else list(argv)
    try:
        return _run(arguments)
    except EdgecanaryError as error:
        sys.stderr.write(f"edgecanary: {error.reason}: {error.message}\n")
        return 1
    except KeyboardInterrupt:
        return 130


def _run(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="edgecanary", description="Staged rollouts of ML models to edge nodes."
    )
    parser.add_argument("--version", action="version", version=f"edgecanary {__version__}")
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    chosen = next((word for word in arguments if word in COMMANDS), None)
    for name, text in COMMANDS.items():
        if name == chosen:
            _load(name).add_parser(subparsers)
        else:
            subparsers.add_parser(name, help=text)
    options = parser.parse_args(arguments)
    return _load(options.command).run(options)


def _load(command: str) -> Command:
    """The subcommand's module, loaded only when chosen."""
    return cast("Command", lazy.load(command, extra=EXTRAS[command]))
