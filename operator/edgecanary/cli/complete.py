"""What the last word of a command line may become, in the protocol that kubectl and its shells speak.

One candidate a line, with a description after a tab, then a line with `:` and a number that says what the shell is
to do: 4, offer nothing else; 6, and put no space behind; 0, offer files as well.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field

from edgecanary.base.errors import EdgecanaryError
from edgecanary.cli import complete_live
from edgecanary.cli.main import COMMANDS, KUBECTL, build_parser

ONLY_THESE, NO_SPACE, FILES_TOO = 4, 6, 0


@dataclass
class _Line:
    """A command line so far: where the parsers have come to."""

    parser: argparse.ArgumentParser
    values: dict[str, str] = field(default_factory=dict)
    """What flags were given, by their names in the options."""
    words: list[str] = field(default_factory=list)
    """The names of the subcommands on the way."""
    positional: int = 0
    waiting: argparse.Action | None = None
    """A flag whose value comes next."""


def run(words: Sequence[str], program: str) -> int:
    """Prints the candidates; returns the exit code."""
    found, directive = candidates(words, program)
    if directive == ONLY_THESE and found and all(value.endswith("=") for value, _ in found):
        directive = NO_SPACE
    for value, description in found:
        sys.stdout.write(f"{value}\t{description}\n" if description else f"{value}\n")
    sys.stdout.write(f":{directive}\n")
    return 0


def candidates(words: Sequence[str], program: str) -> tuple[list[tuple[str, str]], int]:
    """What the last word may become, each with a description, and what the shell is to do besides."""
    *before, current = words or [""]
    chosen = next((word for word in before if word in COMMANDS), None)
    if not before and program == KUBECTL and not current.startswith("-"):
        # Under kubectl the actions of `rollout` stand alone, too.
        actions, _ = candidates(["rollout", current], "")
        return [*actions, *candidates([current], "")[0]], ONLY_THESE
    try:
        line = _Line(build_parser(program, [chosen] if chosen else []))
    except EdgecanaryError:
        return [], ONLY_THESE
    for word in before:
        _advance(line, word)
    return _offer(line, current)


def _advance(line: _Line, word: str) -> None:
    """Takes in one whole word."""
    if line.waiting is not None:
        line.values[line.waiting.dest] = word
        line.waiting = None
        return
    if word.startswith("-") and word != "-":
        name, joined, value = word.partition("=")
        action = line.parser._option_string_actions.get(name)
        if action is not None and joined:
            line.values[action.dest] = value
        elif action is not None and action.nargs != 0:
            line.waiting = action
        return
    subparsers = _subparsers(line.parser)
    if subparsers is not None and word in subparsers.choices:
        line.parser, line.positional = subparsers.choices[word], 0
        line.words.append(word)
        return
    positionals = _positionals(line.parser)
    if line.positional < len(positionals):
        line.values[positionals[line.positional].dest] = word
    line.positional += 1


def _offer(line: _Line, current: str) -> tuple[list[tuple[str, str]], int]:
    if line.waiting is not None:
        return _values(line, line.waiting, current, "")
    if current.startswith("-"):
        name, joined, value = current.partition("=")
        action = line.parser._option_string_actions.get(name)
        if joined:
            return _values(line, action, value, f"{name}=") if action else ([], ONLY_THESE)
        return _flags(line, current), ONLY_THESE
    subparsers = _subparsers(line.parser)
    if subparsers is not None:
        return [pair for pair in _helps(subparsers) if pair[0].startswith(current)], ONLY_THESE
    positionals = _positionals(line.parser)
    if line.positional < len(positionals):
        return _values(line, positionals[line.positional], current, "")
    return [], ONLY_THESE


def _values(
    line: _Line, action: argparse.Action, current: str, prefix: str
) -> tuple[list[tuple[str, str]], int]:
    """What a flag or a positional argument may be."""
    if action.choices:
        found = [(str(choice), "") for choice in action.choices]
    elif action.metavar in ("FILE", "DIR", "PATH"):
        return [], FILES_TOO
    else:
        found = complete_live.values(line.words, action.dest, line.values)
    return [(prefix + value, text) for value, text in found if value.startswith(current)], ONLY_THESE


def _flags(line: _Line, current: str) -> list[tuple[str, str]]:
    found = []
    for action in line.parser._actions:
        given = action.dest in line.values and action.nargs != 0
        if action.help is argparse.SUPPRESS or given:
            continue
        found += [(flag, (action.help or "").partition(";")[0]) for flag in action.option_strings[-1:]]
    return [pair for pair in found if pair[0].startswith(current)]


def _positionals(parser: argparse.ArgumentParser) -> list[argparse.Action]:
    return [action for action in parser._actions if not action.option_strings]


def _helps(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> list[tuple[str, str]]:
    return [(str(action.dest), action.help or "") for action in subparsers._choices_actions]


def _subparsers(
    parser: argparse.ArgumentParser,
) -> "argparse._SubParsersAction[argparse.ArgumentParser] | None":
    found = (a for a in parser._actions if isinstance(a, argparse._SubParsersAction))
    return next(found, None)
