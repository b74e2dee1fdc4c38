"""What the demo says: a live table on a terminal, plain lines anywhere else."""

import sys
import threading
import time
from collections.abc import Mapping
from types import TracebackType
from typing import Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.markup import escape

from edgelab.demo.board import Board

_LOOK_SECONDS = 0.25
_FILE_WIDTH = 120


class Narrator:
    """Speaks while it is entered as a context, and shows the board's changes as they happen.

    `started` is the moment that times are counted from, in seconds since the epoch.
    """

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(highlight=False, soft_wrap=True, width=_width())
        self._board: Board | None = None
        self._live: Live | None = None
        self._said: dict[str, str] = {}
        self._stopping = threading.Event()
        self._watcher = threading.Thread(target=self._watch, name="narrator", daemon=True)
        self.started = time.time()

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._live = Live(console=self._console, get_renderable=self._table, refresh_per_second=4)
            self._live.start()
        self._watcher.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopping.set()
        self._watcher.join(10)
        if self._live is not None:
            self._live.stop()

    def show(self, board: Board) -> None:
        """Show this board from now on."""
        self._board = board

    def heading(self, text: str) -> None:
        """A new part of the story."""
        self._print(f"\n[bold]{escape(text)}[/bold]")

    def say(self, text: str) -> None:
        """A sentence."""
        self._line("   ", escape(text))

    def command(self, text: str) -> None:
        """A command that a person could have typed."""
        self._line("  [cyan]$[/cyan]", escape(text))

    def passed(self, what: str) -> None:
        """Something that came out as expected."""
        self._line(" [green]ok[/green]", escape(what))

    def differed(self, what: str, expected: str, got: str) -> None:
        """Something that did not."""
        self._line(" [red]NO[/red]", escape(what))
        for word, text in (("expected", expected), ("got", got)):
            self._print(f"              [red]{word:>8}:[/red] {escape(text)}")

    def plain(self, text: str = "") -> None:
        """A line without a time."""
        self._print(escape(text))

    def render(self, what: RenderableType) -> None:
        """Something of rich's."""
        self._console.print(what, soft_wrap=False)

    def _line(self, mark: str, text: str) -> None:
        self._print(f"[dim]{time.time() - self.started:6.1f} s[/dim] {mark} {text}")

    def _print(self, text: str) -> None:
        self._console.print(text)

    def _table(self) -> RenderableType:
        return self._board.table() if self._board else Group()

    def _watch(self) -> None:
        """Say what changed on the board, line by line."""
        while not self._stopping.wait(_LOOK_SECONDS):
            if self._board is not None:
                self._tell(self._board.lines())

    def _tell(self, lines: Mapping[str, str]) -> None:
        for subject, text in lines.items():
            if self._said.get(subject) != text:
                self._said[subject] = text
                self._line("  [yellow]·[/yellow]", f"[dim]{escape(text)}[/dim]")


def _width() -> int | None:
    """The terminal's own width; where there is none, one that tables can be read at."""
    return None if sys.stdout.isatty() else _FILE_WIDTH
