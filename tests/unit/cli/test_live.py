"""Lines drawn again in their place, on a terminal that shows what would be seen."""

import os

from edgecanary.cli.live import LiveText
from edgecanary.cli.screen import Line, Span, Style, grid, line, plain, styled, width_of
from tests.unit.cli.tiny_terminal import TinyTerminal


class Window:
    """A terminal whose size changes."""

    def __init__(self, columns: int = 40, rows: int = 10) -> None:
        self.terminal = TinyTerminal(columns)
        self.size = os.terminal_size((columns, rows))

    def write(self, text: str) -> None:
        self.terminal.feed(text)

    def flush(self) -> None:
        pass


def lines(*texts: str) -> list[Line]:
    return [line(text) for text in texts]


def live(window: Window, *, colour: bool = False) -> LiveText:
    return LiveText(window, colour=colour, size=lambda: window.size)


def test_new_lines_take_the_place_of_the_old_ones() -> None:
    window = Window()
    with live(window) as screen:
        screen.draw(lines("one long line", "two", "three"))
        screen.draw(lines("one", "two"))
        assert window.terminal.cursor is False
    assert window.terminal.shown == "one\ntwo\n"
    assert window.terminal.cursor is True


def test_what_stood_above_stays() -> None:
    window = Window()
    window.write("$ kubectl edgecanary watch pump\r\n")
    with live(window) as screen:
        for number in range(3):
            screen.draw(lines(f"round {number}"))
    assert window.terminal.shown == "$ kubectl edgecanary watch pump\nround 2\n"


def test_lines_that_are_too_long_are_cut_and_say_so() -> None:
    window = Window(columns=20)
    with live(window) as screen:
        screen.draw(lines("x" * 50))
        screen.draw(lines("y" * 50))
    assert window.terminal.shown == f"{'y' * 18}…\n"


def test_lines_that_have_no_room_are_counted() -> None:
    window = Window(rows=5)
    with live(window) as screen:
        screen.draw(lines(*(str(number) for number in range(20))))
        screen.draw(lines(*(str(number) for number in range(20))))
    assert window.terminal.shown == "0\n1\n2\n… 17 more lines: make the window taller\n"


def test_a_window_of_another_size_is_drawn_anew() -> None:
    window = Window(columns=40)
    with live(window) as screen:
        screen.draw(lines("a" * 30, "b"))
        window.size = os.terminal_size((20, 10))
        window.terminal.columns = 20
        screen.draw(lines("a" * 10, "b"))
    assert window.terminal.shown == "aaaaaaaaaa\nb\n"


def test_colours_are_only_used_where_they_are_wanted() -> None:
    for colour in (True, False):
        window = Window()
        with live(window, colour=colour) as screen:
            screen.draw([(Span("good", Style.GOOD), Span(" rest"))])
        assert window.terminal.shown == "good rest\n"
        assert bool(window.terminal.colours) is colour


def test_wide_signs_take_two_columns() -> None:
    assert width_of("模型") == 4
    assert width_of("e\u0301") == 1
    assert styled(line("模型模型"), columns=6, colour=False) == "模型…"


def test_cells_stand_below_one_another() -> None:
    rows = [[Span("A"), Span("B")], [Span("long"), Span("x")], [Span("模"), Span("y")]]
    assert plain(grid(rows)) == "A     B\nlong  x\n模    y\n"
