"""Waiting for something to come true, with a failure that says what was there instead."""

import time
from collections.abc import Callable
from typing import TypeVar

from edgelab.errors import LabError

T = TypeVar("T")

POLL_SECONDS = 0.1


class NotReachedError(LabError):
    """What was waited for did not happen in time; the message says what was there instead."""

    def __init__(self, what: str, seconds: float, got: str) -> None:
        super().__init__(f"expected within {seconds:g} s: {what}\n     got: {got}")
        self.what = what
        self.got = got


def wait_for(
    what: str,
    condition: Callable[[], T | None],
    *,
    got: Callable[[], str] = lambda: "it did not happen",
    seconds: float = 120.0,
) -> T:
    """Call `condition` until it gives something true; that.

    Raises:
        NotReachedError: it did not within `seconds`; `got` is asked for what was there instead.
    """
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        if time.monotonic() > deadline:
            raise NotReachedError(what, seconds, got())
        time.sleep(POLL_SECONDS)
    return found
