"""Printing an answer: data for programs, and text in columns for people."""

import json
import sys
import textwrap
from collections.abc import Sequence

import yaml

from edgecanary.api.fields import ApiModel

WIDTH = 100
"""Columns of text for people, whatever the terminal: what is pasted into a ticket looks the same."""


def print_data(answer: ApiModel, form: str) -> None:
    """Writes the answer to standard output as `json` or `yaml`."""
    body = answer.to_json()
    if form == "json":
        sys.stdout.write(json.dumps(body, indent=2) + "\n")
    else:
        yaml.safe_dump(body, sys.stdout, sort_keys=False, allow_unicode=True)


def paragraph(text: str, *, indent: int = 0, first: str | None = None) -> list[str]:
    """The text in lines of at most WIDTH, `first` in place of the first line's indentation.

    Words longer than a line, such as addresses and queries, stay whole.
    """
    space = " " * indent
    return textwrap.wrap(
        " ".join(text.split()),
        WIDTH,
        initial_indent=space if first is None else first.ljust(indent),
        subsequent_indent=space,
        break_long_words=False,
        break_on_hyphens=False,
    )


def columns(rows: Sequence[Sequence[str]], *, indent: int = 0) -> list[str]:
    """The rows with their cells below one another; the last column is as long as it is."""
    if not rows:
        return []
    widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]))]
    return [
        (
            " " * indent + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
