"""Lines of text with styles: what a terminal shows in colour and a file gets plain."""

import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from edgecanary.cli.output import paragraph

_RESET = "\x1b[0m"
_GAP = "  "


class Style(StrEnum):
    """How a piece of text looks: the parameters of its escape sequence."""

    PLAIN = ""
    BOLD = "1"
    DIM = "2"
    GOOD = "32"
    BAD = "31"
    CAREFUL = "33"


@dataclass(frozen=True)
class Span:
    """A piece of text in one style."""

    text: str
    style: Style = Style.PLAIN


Line = tuple[Span, ...]


@dataclass(frozen=True)
class Signs:
    """The signs that stand for states."""

    done: str
    at_work: str
    held: str
    failed: str
    ahead: str
    skipped: str


SYMBOLS = Signs(done="✔", at_work="◌", held="‖", failed="✖", ahead="·", skipped="»")
LETTERS = Signs(done="+", at_work="*", held="|", failed="x", ahead=".", skipped=">")
"""For terminals and files that cannot show the symbols."""


def line(text: str, style: Style = Style.PLAIN) -> Line:
    """A line in one style."""
    return (Span(text, style),)


def fact(label: str, *spans: Span, width: int) -> Line:
    """A labelled line."""
    return (Span(label.ljust(width), Style.DIM), *spans)


def wrapped(label: str, text: str, *, width: int) -> list[Line]:
    """A labelled text, on as many lines as it needs."""
    lines = paragraph(text, indent=width, first=label)
    if not lines:
        return []
    first, *rest = lines
    return [(Span(first[:width], Style.DIM), Span(first[width:])), *(line(text) for text in rest)]


def grid(rows: Sequence[Sequence[Span]]) -> list[Line]:
    """The rows with their cells below one another. The first row is the head, the last column as long as it is."""
    if not rows:
        return []
    widths = [max(width_of(row[place].text) for row in rows) for place in range(len(rows[0]))]
    lines = []
    for number, row in enumerate(rows):
        cells = []
        for place, (cell, width) in enumerate(zip(row, widths, strict=True)):
            last = place == len(row) - 1
            text = cell.text if last else cell.text + " " * (width - width_of(cell.text)) + _GAP
            cells.append(Span(text, Style.DIM if number == 0 else cell.style))
        lines.append(tuple(cells))
    return lines


def plain(lines: Iterable[Line]) -> str:
    """The lines as text without styles."""
    return "".join("".join(span.text for span in spans).rstrip() + "\n" for spans in lines)


def styled(spans: Line, *, columns: int, colour: bool) -> str:
    """One line for a terminal that is so many columns wide: what does not fit is cut off, and the cut is shown."""
    parts, left = [], columns
    whole = sum(width_of(span.text) for span in spans)
    for span in spans:
        text = span.text if whole <= columns else _cut(span.text, left - 1)
        left -= width_of(text)
        shown = f"\x1b[{span.style}m{text}{_RESET}" if colour and span.style and text else text
        parts.append(shown)
        if whole > columns and width_of(span.text) > width_of(text):
            parts.append("…")
            break
    return "".join(parts)


def width_of(text: str) -> int:
    """How many columns a terminal gives the text."""
    if text.isascii():
        return len(text)
    return sum(_columns(sign) for sign in text)


def _columns(sign: str) -> int:
    if unicodedata.combining(sign):
        return 0
    return 2 if unicodedata.east_asian_width(sign) in "WF" else 1


def _cut(text: str, columns: int) -> str:
    """As much of the text as fits."""
    kept, used = [], 0
    for sign in text:
        used += _columns(sign)
        if used > columns:
            break
        kept.append(sign)
    return "".join(kept)


def printable(text: str) -> str:
    """The text without what would move a terminal's cursor or change its colours."""
    return "".join(sign if sign.isprintable() else " " for sign in text)
