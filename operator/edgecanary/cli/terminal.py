"""What standard output can show."""

import os
import sys
from collections.abc import Mapping

from edgecanary.cli.screen import LETTERS, SYMBOLS, Signs


def is_terminal() -> bool:
    """Whether a person looks at standard output."""
    return sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb"


def has_colour(*, refused: bool, environment: Mapping[str, str] = os.environ) -> bool:
    """Whether to use colours: on a terminal, unless NO_COLOR (https://no-color.org) or the flag says no."""
    return is_terminal() and not refused and not environment.get("NO_COLOR")


def signs() -> Signs:
    """The signs that the output's encoding has."""
    encoding = getattr(sys.stdout, "encoding", None) or "ascii"
    try:
        "".join((SYMBOLS.done, SYMBOLS.at_work, SYMBOLS.held, SYMBOLS.failed, "…")).encode(encoding)
    except (UnicodeEncodeError, LookupError):
        return LETTERS
    return SYMBOLS
