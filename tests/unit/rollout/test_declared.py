"""A Rollout from a file is held to the rules that the API server would hold it to."""

import pytest

from edgecanary.api.fields import JsonObject
from edgecanary.base.errors import InvalidInput
from edgecanary.rollout.declared import read_rollout_spec
from edgecanary.rollout.validation import check_rollout
from tests.kube.crd_cases.rollout import TABLE
from tests.kube.crd_cases.table import Case


def complaint(case: Case) -> str | None:
    """The field that is refused; None when all of it is accepted."""
    try:
        check_rollout(read_rollout_spec(case.object()))
    except InvalidInput as error:
        return error.field
    return None


def test_what_the_api_server_accepts_is_accepted() -> None:
    for case in TABLE.accepted:
        assert read_rollout_spec(case.object()).strategy.steps, case


def test_what_the_api_server_refuses_is_refused_by_the_same_field() -> None:
    found = {str(case): (case.at, complaint(case)) for case in TABLE.refused}
    # A map's keys are named one by one here, and by the whole map there.
    wrong = {
        case: pair
        for case, pair in found.items()
        if pair[1] is None or not pair[1].startswith(pair[0].partition("matchLabels")[0])
    }
    assert wrong == {}
    assert len(found) > 100


def spec(**strategy: object) -> JsonObject:
    steps = [{"name": "all", "percent": 100}]
    return {"spec": {"modelRef": {"name": "pump"}, "strategy": {"steps": steps, **strategy}}}  # type: ignore[dict-item]


def said(body: JsonObject) -> str:
    with pytest.raises(InvalidInput) as caught:
        read_rollout_spec(body)
    return caught.value.message


def test_a_misspelt_field_is_refused_with_the_one_that_was_meant() -> None:
    assert said(spec(quorumPercents=90)) == (
        "spec.strategy.quorumPercents: is not known; did you mean quorumPercent?"
    )


def test_a_broken_pattern_is_told_in_words_with_the_value() -> None:
    assert said(spec(steps=[{"name": "First", "percent": 100}])) == (
        "spec.strategy.steps[0].name: must be lower-case letters, digits and -, with a letter or digit at both "
        'ends, got "First"'
    )


def test_a_number_in_quotes_is_not_a_number() -> None:
    assert said(spec(quorumPercent="90")).startswith(
        "spec.strategy.quorumPercent: input should be a valid integer"
    )


def test_a_long_value_is_cut() -> None:
    assert len(said(spec(steps=[{"name": "x" * 5000, "percent": 100}]))) < 300


def test_what_is_missing_is_named() -> None:
    assert said({}) == "spec: must be set"
    assert said({"spec": {"strategy": {"steps": []}}}) == "spec.modelRef: must be set"


@pytest.mark.parametrize(("reach", "got"), [({}, "neither"), ({"percent": 5, "nodes": 1}, "both")])
def test_a_step_is_given_in_percent_or_in_nodes(reach: JsonObject, got: str) -> None:
    steps: list[JsonObject] = [{"name": "first", **reach}, {"name": "all", "percent": 100}]
    assert said(spec(steps=steps)) == (
        f"spec.strategy.steps[0]: exactly one of percent and nodes must be set, got {got}"
    )
