"""The program's entry: picks the subcommand and turns expected failures into one clear line."""

import argparse
import os
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
    "rollout": "look at rollouts, plan, promote, take back, wait",
    "node": "look at nodes and what they run",
    "simulate": "play a rollout on a simulated fleet",
    "check": "check the installation in a cluster",
    "version": "say which versions of edgecanary are at work",
    "completion": "print the completion script of a shell",
}
EXTRAS = {
    "operator": "operator",
    "agent": "agent",
    "model": "model",
    "rollout": "cli",
    "node": "cli",
    "simulate": "operator",
    "check": "operator",
    "version": "cli",
    "completion": "cli",
}
KUBECTL = "kubectl edgecanary"
"""The program's name as a plugin of kubectl."""

COMPLETE = "__complete"
"""What completion scripts call, with the words so far."""


class Command(Protocol):
    """What a subcommand's module offers."""

    def add_parser(self, subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
        """Adds the subcommand's flags."""
        ...

    def run(self, options: argparse.Namespace) -> int:
        """Runs the subcommand; returns the exit code."""
        ...


def main(argv: Sequence[str] | None = None, *, program: str = "edgecanary") -> int:
    """Runs a subcommand; the exit code is 0 for success, 1 for a failure, 2 for wrong usage, or the subcommand's."""
    arguments = sys.argv[1:] if argv is None else list(argv)
    try:
        return _run(arguments, program)
    except EdgecanaryError as error:
        sys.stderr.write(f"edgecanary: {error.reason}: {error.message}\n")
        return 1
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # The reader, such as head, has seen enough. What is left in the buffer must not fail at the end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141


def build_parser(program: str, commands: Sequence[str]) -> argparse.ArgumentParser:
    """The parser of the program, with the flags of these subcommands; of the others only the names.

    Raises EdgecanaryError when a package is missing that one of them needs.
    """
    parser = argparse.ArgumentParser(prog=program, description="Staged rollouts of ML models to edge nodes.")
    parser.add_argument("--version", action="version", version=f"edgecanary {__version__}")
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, text in COMMANDS.items():
        if name in commands:
            load(name).add_parser(subparsers)
        else:
            subparsers.add_parser(name, help=text)
    return parser


def load(command: str) -> Command:
    """The subcommand's module, loaded only when chosen."""
    return cast("Command", lazy.load(command, extra=EXTRAS[command]))


def _run(arguments: list[str], program: str) -> int:
    if arguments[:1] == [COMPLETE]:
        return cast("_Completer", lazy.load("complete", extra="cli")).run(arguments[1:], program)
    chosen = next((word for word in arguments if word in COMMANDS), None)
    options = build_parser(program, [chosen] if chosen else []).parse_args(arguments)
    return load(options.command).run(options)


class _Completer(Protocol):
    """What the module of completions offers."""

    def run(self, words: Sequence[str], program: str) -> int:
        """Prints what the last word may become; returns the exit code."""
        ...
