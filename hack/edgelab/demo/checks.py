"""Comparing what was to happen with what did."""

from collections.abc import Iterable
from dataclasses import dataclass

from edgelab.demo.narrator import Narrator
from edgelab.errors import LabError
from edgelab.fleet import NotReachedError

_SHOWN = 100
"""What came out is said too when it is no longer than this many characters."""


@dataclass(frozen=True)
class Check:
    """One comparison and how it came out."""

    scenario: str
    what: str
    passed: bool
    expected: str = ""
    got: str = ""


class DifferenceError(LabError):
    """A scenario did not come out as it was to."""


class Checks:
    """The comparisons so far, said aloud as they are made."""

    def __init__(self, narrator: Narrator) -> None:
        self._narrator = narrator
        self._scenario = ""
        self.made: list[Check] = []

    def begin(self, scenario: str) -> None:
        """The comparisons from now on belong to this scenario."""
        self._scenario = scenario

    def end(self) -> None:
        """Raises DifferenceError when one of the scenario's comparisons differed."""
        own = [check for check in self.made if check.scenario == self._scenario]
        different = sum(not check.passed for check in own)
        if different:
            raise DifferenceError(f"scenario ({self._scenario}): {different} of {len(own)} checks differ")

    def equal(self, what: str, got: object, expected: object) -> None:
        """Both must be equal."""
        self.that(what, got == expected, expected=show(expected), got=show(got))

    def contains(self, what: str, text: str, part: str) -> None:
        """The text must hold the part."""
        self.that(what, part in text, expected=f"a text with {part!r}", got=text)

    def that(self, what: str, holds: bool, *, expected: str, got: str) -> None:
        """It must hold."""
        self.made.append(Check(self._scenario, what, holds, expected, got))
        if holds:
            self._narrator.passed(f"{what}: {got}" if len(got) <= _SHOWN else what)
        else:
            self._narrator.differed(what, expected, got)

    def broke_off(self, error: LabError) -> None:
        """The scenario could not go on."""
        expected, got = "to go on", str(error)
        if isinstance(error, NotReachedError):
            expected, got = error.what, error.got
        self.that("the scenario goes on to its end", holds=False, expected=expected, got=got)


def show(value: object) -> str:
    """A value for a person: sets in order, nothing as a word."""
    if value is None:
        return "none"
    if isinstance(value, set | frozenset):
        return ", ".join(sorted(str(item) for item in value)) or "none"
    if isinstance(value, dict):
        return ", ".join(f"{key}: {show(item)}" for key, item in sorted(value.items())) or "none"
    if isinstance(value, Iterable) and not isinstance(value, str):
        return ", ".join(str(item) for item in value) or "none"
    return str(value)
