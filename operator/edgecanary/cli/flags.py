"""Flags that can also be given as `EDGECANARY_…` environment variables."""

import argparse
import os
from collections.abc import Callable, Mapping
from typing import TypeVar

from edgecanary.base.errors import InvalidInput

T = TypeVar("T")


class Flags:
    """Adds flags to a parser, with defaults from the environment: `--data-dir` is EDGECANARY_DATA_DIR.

    A flag wins over its variable. A variable with a bad value raises InvalidInput naming the variable.
    """

    def __init__(self, parser: argparse.ArgumentParser, environ: Mapping[str, str] | None = None) -> None:
        self._parser = parser
        self._environ = os.environ if environ is None else environ

    def text(self, flag: str, *, default: str | None, help: str, metavar: str = "TEXT") -> None:  # noqa: A002
        """A flag with a text value."""
        self._add(flag, str, default, help, metavar)

    def seconds(self, flag: str, *, default: float, help: str, zero: bool = False) -> None:  # noqa: A002
        """A flag with a duration in seconds, above 0 unless `zero` allows that."""
        self._add(flag, _seconds if zero else _positive_seconds, default, help, "SECONDS")

    def count(self, flag: str, *, default: int, help: str) -> None:  # noqa: A002
        """A flag with a whole number of at least 1."""
        self._add(flag, _positive_count, default, help, "N")

    def switch(self, flag: str, *, help: str) -> None:  # noqa: A002
        """A flag that is given or not; its variable is true or false."""
        name = variable(flag)
        given = self._environ.get(name, "false").lower()
        if given not in ("true", "false"):
            raise InvalidInput(name, f"must be true or false, got {given!r}", reason="InvalidSetting")
        self._parser.add_argument(flag, action="store_true", default=given == "true", help=f"{help} [{name}]")

    def whole(self, flag: str, *, low: int, high: int, help: str, metavar: str) -> None:  # noqa: A002
        """A flag with a whole number between two bounds; None unless given."""

        def convert(text: str) -> int:
            try:
                value = int(text)
            except ValueError:
                value = low - 1
            if not low <= value <= high:
                raise argparse.ArgumentTypeError(f"must be a whole number from {low} to {high}, got {text!r}")
            return value

        self._add(flag, convert, None, help, metavar)

    def number(self, flag: str, *, default: float, maximum: float, help: str, metavar: str) -> None:  # noqa: A002
        """A flag with a number from 0 to `maximum`."""

        def convert(text: str) -> float:
            try:
                value = float(text)
            except ValueError:
                value = -1.0
            if not 0 <= value <= maximum:
                raise argparse.ArgumentTypeError(f"must be a number from 0 to {maximum:g}, got {text!r}")
            return value

        self._add(flag, convert, default, help, metavar)

    def many(self, flag: str, *, help: str, metavar: str) -> None:  # noqa: A002
        """A flag that may be repeated; its variable holds a comma-separated list."""
        name = variable(flag)
        given = [part.strip() for part in self._environ.get(name, "").split(",") if part.strip()]
        self._parser.add_argument(
            flag, action="append", default=given or None, help=f"{help} [{name}]", metavar=metavar
        )

    def _add(
        self, flag: str, convert: Callable[[str], T], default: T | None, text: str, metavar: str
    ) -> None:
        name = variable(flag)
        value: T | None = default
        if name in self._environ:
            try:
                value = convert(self._environ[name])
            except argparse.ArgumentTypeError as error:
                raise InvalidInput(name, str(error), reason="InvalidSetting") from error
        shown = "" if value is None else f" (default: {value})"
        self._parser.add_argument(
            flag, type=convert, default=value, help=f"{text}{shown} [{name}]", metavar=metavar
        )


def variable(flag: str) -> str:
    """The variable that stands for a flag."""
    return "EDGECANARY_" + flag.lstrip("-").replace("-", "_").upper()


def _positive_seconds(text: str) -> float:
    value = _number(text)
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"must be a number of seconds above 0, got {text!r}")
    return value


def _seconds(text: str) -> float:
    value = _number(text)
    if not 0 <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"must be a number of seconds, 0 or more, got {text!r}")
    return value


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return -1.0


def _positive_count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number of at least 1, got {text!r}")
    return int(text)
