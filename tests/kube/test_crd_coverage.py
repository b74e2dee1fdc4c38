"""Every demand of the schemas has a case that shows the server enforcing it."""

import re

import pytest

from edgelab.generate import crd
from edgelab.generate.kinds import EDGE_MODEL, EDGE_NODE, MODEL_RELEASE, ROLLOUT, Kind
from edgelab.generate.structural import as_list, as_object
from tests.kube.crd_cases import edgemodel, modelrelease, rollout
from tests.kube.crd_cases.coverage import Demand, demands
from tests.kube.crd_cases.table import Case, Table

_TABLES = {table.kind.name: table for table in (edgemodel.TABLE, modelrelease.TABLE, rollout.TABLE)}


def _spec_demands(kind: Kind) -> list[Demand]:
    schema = crd.schema(kind)
    required = [Demand((str(name),), "Required value") for name in as_list(schema.get("required", []))]
    found = [*required, *demands(as_object(as_object(schema["properties"])["spec"]), ("spec",))]
    return [_as_canary(demand) for demand in found]


def _as_canary(demand: Demand) -> Demand:
    """The stable revision of a ModelRelease has the type of the canary: one set of cases is enough."""
    if demand.field[:2] == ("spec", "stable"):
        return Demand(("spec", "canary", *demand.field[2:]), demand.says)
    return demand


def _any_item(field: str) -> str:
    return re.sub(r"\[\d+\]", "[*]", field)


def _without_case(found: list[Demand], table: Table) -> list[str]:
    return [str(demand) for demand in found if not any(demand.met_by(case) for case in table.refused)]


@pytest.mark.parametrize("kind", [EDGE_MODEL, ROLLOUT, MODEL_RELEASE], ids=lambda kind: kind.name)
def test_every_demand_of_a_spec_has_a_refused_object(kind: Kind) -> None:
    assert _without_case(_spec_demands(kind), _TABLES[kind.name]) == []


@pytest.mark.parametrize("kind", [EDGE_MODEL, ROLLOUT, MODEL_RELEASE], ids=lambda kind: kind.name)
def test_every_refused_field_has_an_accepted_value(kind: Kind) -> None:
    table = _TABLES[kind.name]
    accepted = {_any_item(case.at) for case in table.accepted}
    refused = {_any_item(case.field) for case in table.refused if case.says != "Required value"}
    assert refused - accepted == set()


def test_the_spec_of_an_edgenode_demands_nothing() -> None:
    assert _spec_demands(EDGE_NODE) == []


def test_a_demand_without_a_case_is_found() -> None:
    table = Table(ROLLOUT)
    table.refuses("spec.paused", "yes", says="must be of type boolean")
    new_rule = Demand(("spec", "paused"), "must not be true on Fridays")
    assert _without_case([new_rule], table) == ["spec.paused: must not be true on Fridays"]


def test_a_case_at_another_field_or_with_other_words_meets_no_demand() -> None:
    demand = Demand(("spec", "steps", "*", "name"), "must be short")
    assert demand.met_by(Case(ROLLOUT, "spec.steps[3].name", "", "must be short", "spec.steps[3].name"))
    assert not demand.met_by(Case(ROLLOUT, "spec.name", "", "must be short", "spec.name"))
    assert not demand.met_by(Case(ROLLOUT, "spec.steps[3].name", "", "must be long", "spec.steps[3].name"))
    assert not demand.met_by(Case(ROLLOUT, "spec.steps[3].name", "a"))
