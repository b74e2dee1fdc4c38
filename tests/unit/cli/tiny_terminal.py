"""A terminal that knows just what the live display sends: it fails on anything else."""

import re

_PIECE = re.compile(r"\x1b\[(?P<number>[0-9;?]*)(?P<what>[A-Za-z])|(?P<text>[^\x1b])", re.DOTALL)


class TinyTerminal:
    """Rows of text, a cursor, and whether it is shown."""

    def __init__(self, columns: int = 80) -> None:
        self.columns = columns
        self.rows: list[str] = [""]
        self.row = self.column = 0
        self.cursor = True
        self.colours = 0

    def feed(self, text: str) -> None:
        """Takes in what a program writes."""
        place = 0
        while place < len(text):
            match = _PIECE.match(text, place)
            assert match is not None, f"not understood: {text[place : place + 12]!r}"
            place = match.end()
            if match["text"] is not None:
                self._put(match["text"])
            else:
                self._obey(match["number"], match["what"])

    @property
    def shown(self) -> str:
        """The text on the screen."""
        return "\n".join(row.rstrip() for row in self.rows).rstrip() + "\n"

    def _put(self, sign: str) -> None:
        if sign == "\r":
            self.column = 0
        elif sign == "\n":
            self.row += 1
            if self.row == len(self.rows):
                self.rows.append("")
        else:
            assert self.column < self.columns, f"the line is too long: {self.rows[self.row]!r}"
            line = self.rows[self.row].ljust(self.column)
            self.rows[self.row] = line[: self.column] + sign + line[self.column + 1 :]
            self.column += 1

    def _obey(self, number: str, what: str) -> None:
        match what:
            case "A":
                self.row = max(0, self.row - int(number or 1))
            case "K":
                self.rows[self.row] = self.rows[self.row][: self.column]
            case "J" if number == "2":
                self.rows = [""]
            case "J":
                self.rows = [*self.rows[: self.row], self.rows[self.row][: self.column]]
            case "H":
                self.row = self.column = 0
            case "h" | "l" if number == "?25":
                self.cursor = what == "h"
            case "m":
                self.colours += 1
            case _:
                raise AssertionError(f"not understood: {number}{what}")
