"""Text that is drawn again in its place on a terminal."""

import os
from collections.abc import Callable, Sequence
from typing import Protocol

from edgecanary.cli.screen import Line, line, styled

_HIDE, _SHOW = "\x1b[?25l", "\x1b[?25h"
_CLEAR_LINE, _CLEAR_BELOW, _CLEAR_ALL = "\x1b[K", "\x1b[J", "\x1b[2J\x1b[H"
_LEAST = 10


class Output(Protocol):
    """Where the text goes."""

    def write(self, text: str, /) -> object:
        """Takes in text."""
        ...

    def flush(self) -> None:
        """Sends it off."""
        ...


class LiveText:
    """Lines that replace those drawn before. What does not fit the terminal is cut, and the cut is shown.

    A context manager that hides the cursor and leaves the last lines where they are.
    """

    def __init__(
        self, output: Output, *, colour: bool, size: Callable[[], os.terminal_size] = os.get_terminal_size
    ) -> None:
        self._output = output
        self._colour = colour
        self._size = size
        self._drawn = 0
        self._last: os.terminal_size | None = None

    def __enter__(self) -> "LiveText":
        self._output.write(_HIDE)
        return self

    def __exit__(self, *_: object) -> None:
        self._output.write(_SHOW)
        self._output.flush()

    def draw(self, lines: Sequence[Line]) -> None:
        """Shows these lines in place of the ones before."""
        size = self._size()
        columns, rows = max(_LEAST, size.columns), max(2, size.lines)
        shown = [*lines]
        if len(shown) > rows - 1:
            more = len(shown) - (rows - 2)
            shown = [*shown[: rows - 2], line(f"… {more} more lines: make the window taller")]
        # A terminal that was made narrower has broken the old lines into more: nobody knows how many.
        start = _CLEAR_ALL if self._last not in (None, size) else self._back()
        text = "".join(
            f"{styled(spans, columns=columns - 1, colour=self._colour)}{_CLEAR_LINE}\r\n" for spans in shown
        )
        self._output.write(f"{start}{text}{_CLEAR_BELOW}")
        self._output.flush()
        self._drawn, self._last = len(shown), size

    def _back(self) -> str:
        return f"\r\x1b[{self._drawn}A" if self._drawn else "\r"
