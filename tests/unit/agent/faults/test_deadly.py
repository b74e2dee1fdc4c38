"""The process is killed, or the power is cut, before every file operation; a new process leads it to the same end."""

from collections.abc import Iterator

import pytest

from tests.unit.agent.faults.layer import DEADLY, Kind
from tests.unit.agent.faults.table import KINDS, Cases, cases


@pytest.fixture(scope="module")
def lab() -> Iterator[Cases]:
    with cases() as found:
        yield found


@pytest.mark.parametrize(
    ("kind", "scenario"),
    [
        pytest.param(kind, name, id=f"{kind.name}-{name}")
        for kind in KINDS
        if kind in DEADLY
        for name in KINDS[kind]
    ],
)
def test_a_death_before_any_operation_ends_where_the_table_says_and_loses_nothing(
    lab: Cases, kind: Kind, scenario: str
) -> None:
    found = lab.play(scenario, kind)

    assert len(found) == sum(operation.takes(kind) for operation in lab.trace(scenario)) > 0
    assert {operation: wrong for operation, wrong in found.items() if wrong} == {}
