"""The form of the cases: a field, a value, and what the server says to it."""

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from pydantic import JsonValue

from edgecanary.api.fields import JsonObject
from edgelab.generate.kinds import Kind
from tests.kube.crd_cases.objects import ABSENT, Absent, put, valid_object

Values = Iterable[JsonValue]


@dataclass(frozen=True)
class Case:
    """A valid object of `kind` with `value` at `field`.

    The server accepts it (`says` is empty) or refuses it with `says` about the field `at`. With `before`
    the object is stored with that value first, and then changed.
    """

    kind: Kind
    field: str
    value: JsonValue | Absent
    says: str = ""
    at: str = ""
    before: JsonValue | Absent = ABSENT

    def object(self) -> JsonObject:
        """The object that is sent."""
        return put(valid_object(self.kind), self.field, self.value)

    def stored(self) -> JsonObject | None:
        """The object that is there already; None: none is."""
        return (
            None if isinstance(self.before, Absent) else put(valid_object(self.kind), self.field, self.before)
        )

    def __str__(self) -> str:
        shown = repr(self.value) if isinstance(self.value, Absent) else json.dumps(self.value)
        shown = shown if len(shown) <= 60 else f"{shown[:50]}… of {len(shown)}"
        return f"{self.field} {'refuses' if self.says else 'takes'} {shown}"


class Table:
    """The cases of one kind."""

    def __init__(self, kind: Kind) -> None:
        self.kind = kind
        self.cases: list[Case] = []

    @property
    def accepted(self) -> list[Case]:
        """The cases that the server accepts."""
        return [case for case in self.cases if not case.says]

    @property
    def refused(self) -> list[Case]:
        """The cases that the server refuses."""
        return [case for case in self.cases if case.says]

    def takes(self, field: str, *values: JsonValue | Absent, at: str = "") -> None:
        """The field may have each of the values; `at` is the part of it that they are about."""
        self.cases += [Case(self.kind, field, value, at=at or field) for value in values]

    def refuses(self, field: str, *values: JsonValue | Absent, says: str, at: str = "") -> None:
        """The field, or the one at `at`, is named when it has one of the values."""
        self.cases += [Case(self.kind, field, value, says, at or field) for value in values]

    def refuses_change(self, field: str, before: JsonValue, after: JsonValue, *, says: str) -> None:
        """The field may not change from `before` to `after`."""
        self.cases.append(Case(self.kind, field, after, says, field, before))

    def needs(self, *fields: str) -> None:
        """The fields are required."""
        for field in fields:
            self.refuses(field, ABSENT, says="Required value")

    def may_lack(self, *fields: str) -> None:
        """The fields are optional."""
        for field in fields:
            self.takes(field, ABSENT)

    def between(self, field: str, low: int, high: int) -> None:
        """A whole number with bounds, which are allowed."""
        self.takes(field, low, high)
        self.refuses(field, low - 1, says=f"should be greater than or equal to {low}")
        self.refuses(field, high + 1, says="should be less than or equal to ")
        self.refuses(field, "7", says='must be of type integer: "string"')

    def at_least(self, field: str, low: int) -> None:
        """A whole number with a lower bound."""
        self.takes(field, low, 2**53)
        self.refuses(field, low - 1, says=f"should be greater than or equal to {low}")

    def one_of(self, field: str, *values: str) -> None:
        """A word out of a list."""
        self.takes(field, *values)
        listed = ", ".join(json.dumps(value) for value in values)
        self.refuses(field, "Nonsense", says=f'Unsupported value: "Nonsense": supported values: {listed}')

    def on_or_off(self, field: str) -> None:
        """A boolean."""
        self.takes(field, True, False)
        self.refuses(field, "yes", says='must be of type boolean: "string"')

    def longest(self, field: str, length: int, begin: str = "") -> None:
        """A text of at most `length` characters; `begin` makes it otherwise valid."""
        self.takes(field, begin + "a" * (length - len(begin)))
        self.longest_refused(field, length)

    def longest_refused(self, field: str, length: int) -> None:
        """A text that is too long."""
        self.refuses(field, "a" * (length + 1), says=f"may not be more than {length} ")

    def sized(self, field: str, item: Callable[[int], JsonValue], *, low: int = 0, high: int) -> None:
        """A list with bounds on its length."""
        self.takes(
            field, [item(number) for number in range(max(low, 1))], [item(number) for number in range(high)]
        )
        if low:
            self.refuses(field, [], says=f"should have at least {low} items")
        self.refuses(
            field, [item(number) for number in range(high + 1)], says=f"must have at most {high} items"
        )

    def unique(self, field: str, first: JsonValue, other: JsonValue, same: JsonValue) -> None:
        """A list that may hold `first` and `other`, but not `first` and `same`."""
        self.takes(field, [first, other])
        self.refuses(field, [first, same], says="Duplicate value", at=f"{field}[1]")

    def text(self, field: str, *, good: Sequence[str], bad: Sequence[str], says: str) -> None:
        """A text with a form."""
        self.takes(field, *good)
        self.refuses(field, *bad, says=says)
