"""The command line reference in Markdown, from the parsers."""

import argparse
import os
import re
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

from edgecanary.cli.exits import Exit
from edgecanary.cli.main import COMMANDS, build_parser
from edgelab.generate.enums import meanings_of
from edgelab.generate.fields_table import table

PAGE = Path("docs/reference/cli.md")
_WIDTH = 100
_INTRODUCTION = """# Command line reference

<!-- Generated from the parsers in operator/edgecanary/cli by `make generate`. Change those, not this page. -->

One program, `edgecanary`; under kubectl the same as [`kubectl edgecanary`](../guides/kubectl-plugin.md), where the
actions of `rollout` also stand alone. A flag with a name in square brackets can be set by that environment variable,
too; the flag wins.
"""


def page() -> str:
    """The whole page."""
    # What the machine that generates the page is called, and where it keeps things, is not part of the reference.
    with mock.patch.dict(os.environ, {}, clear=True), mock.patch("platform.node", return_value="NODE"):
        parser = build_parser("edgecanary", list(COMMANDS))
        return "\n".join([_INTRODUCTION, _contents(), *_commands(parser), _exits()])


def _contents() -> str:
    return table(
        ("Command", "What it does"),
        [(f"[`{name}`](#edgecanary-{name})", text) for name, text in COMMANDS.items()],
    )


def _commands(parser: argparse.ArgumentParser) -> Iterator[str]:
    for name in COMMANDS:
        yield from _command(_subparsers(parser)[name], level=2)


def _command(parser: argparse.ArgumentParser, *, level: int) -> Iterator[str]:
    """A command, then its own subcommands."""
    yield f"{'#' * level} {parser.prog}\n"
    yield _paragraphs(parser.description)
    yield f"```text\n{_usage(parser)}\n```\n"
    if rows := list(_rows(parser)):
        yield table(("Argument", "Default", "What it is"), rows)
    if parser.epilog:
        yield _paragraphs(parser.epilog)
    for found in _subparsers(parser).values():
        yield from _command(found, level=level + 1)


def _usage(parser: argparse.ArgumentParser) -> str:
    """The usage in one form, whatever Python writes it."""
    words = " ".join(parser.format_usage().removeprefix("usage:").split())
    pieces = re.findall(r"\[[^\]]*\]|\S+", words)
    lines: list[str] = []
    line = ""
    for piece in pieces:
        if line and len(line) + len(piece) + 1 > _WIDTH:
            lines, line = [*lines, line], "   "
        line = f"{line} {piece}" if line else piece
    return "\n".join([*lines, line])


def _rows(parser: argparse.ArgumentParser) -> Iterator[tuple[str, str, str]]:
    for action in parser._actions:
        if (
            isinstance(action, argparse._HelpAction | argparse._SubParsersAction)
            or action.help is argparse.SUPPRESS
        ):
            continue
        text = re.sub(r" \(default: [^)]*\)", "", action.help or "").replace("%%", "%")
        yield _names(action), _default(action), re.sub(r"\[(EDGECANARY_\w+)\]", r"[`\1`]", text)


def _names(action: argparse.Action) -> str:
    value = f" {action.metavar}" if action.metavar and action.option_strings else ""
    if action.choices and not action.metavar:
        value = f" {'|'.join(str(choice) for choice in action.choices)}"
    if not action.option_strings:
        return f"`{action.metavar or '|'.join(str(choice) for choice in action.choices or ())}`"
    return (
        ", ".join(f"`{flag}`" for flag in action.option_strings[:-1])
        + (", " if len(action.option_strings) > 1 else "")
        + f"`{action.option_strings[-1]}{value}`"
    )


def _default(action: argparse.Action) -> str:
    if action.required and action.option_strings:
        return "required"
    found = action.default
    if found is None or found is False or found in ("", argparse.SUPPRESS) or not action.option_strings:
        return ""
    return f"`{found:g}`" if isinstance(found, float) else f"`{found}`"


def _paragraphs(text: str | None) -> str:
    return "\n".join(part for part in (text or "").strip().splitlines()) + "\n"


def _exits() -> str:
    meanings = meanings_of(Exit)
    rows = [(f"`{code.value}`", meanings[str(code.value)]) for code in Exit]
    head = "## Exit codes\n\nOf `edgecanary rollout`, `node` and `version`, and of `kubectl edgecanary`.\n"
    return "\n".join([head, table(("Code", "What it means"), rows)])


def _subparsers(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    found = (action for action in parser._actions if isinstance(action, argparse._SubParsersAction))
    action = next(found, None)
    return dict(action.choices) if action is not None else {}
