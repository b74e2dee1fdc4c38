"""The types refuse what the schema refuses, wherever it is about one value: bounds, forms, words, presence.

Rules that compare fields, and duplicates in lists, are the API server's; it alone enforces them.
"""

import pytest
from pydantic import ValidationError

from tests.kube.crd_cases import edgemodel, modelrelease, rollout
from tests.kube.crd_cases.table import Case

_TABLES = (edgemodel.TABLE, modelrelease.TABLE, rollout.TABLE)
_BOUNDS = (
    "Required value",
    "Unsupported value",
    "should be ",
    "should have at least ",
    "should match",
    "must have at most ",
    "may not be more than ",
    "every key must be ",
    "must be of type string",
    "must be of type date-time",
)
_FORMS = (
    "must be a decimal number in quotes",
    "must be a label ",
    "must be a quantity",
    "must be a relative path",
    "must be a cron expression",
    "must be an IANA time zone, ",
    "must be an http:// or https:// address",
    "must be letters, ",
    "must be lower-case ",
    "must be s3://",
    "must be the name of an object",
    "must be 64 ",
    "must have in {{ }}",
)


def _is_about_one_value(case: Case) -> bool:
    return case.says.startswith(_BOUNDS + _FORMS)


_ACCEPTED = [case for table in _TABLES for case in table.accepted]
_REFUSED = [case for table in _TABLES for case in table.refused if _is_about_one_value(case)]
_LEFT_TO_THE_SERVER = [case for table in _TABLES for case in table.refused if not _is_about_one_value(case)]


def _fields(error: ValidationError) -> set[str]:
    """The paths that a validation error names, with `[n]` for items."""
    found = set()
    for problem in error.errors():
        steps = [f"[{step}]" if isinstance(step, int) else f".{step}" for step in problem["loc"]]
        found.add("".join(steps).removeprefix("."))
    return found


@pytest.mark.parametrize("case", _ACCEPTED, ids=str)
def test_the_type_takes_what_the_server_takes(case: Case) -> None:
    case.kind.model.model_validate(case.object())


@pytest.mark.parametrize("case", _REFUSED, ids=str)
def test_the_type_refuses_what_the_server_refuses_and_names_the_field(case: Case) -> None:
    with pytest.raises(ValidationError) as refused:
        case.kind.model.model_validate(case.object())
    assert any(field.startswith(case.at.replace("[edge]", ".edge")) for field in _fields(refused.value)), (
        refused.value
    )


def test_only_rules_between_fields_types_and_duplicates_are_left_to_the_server() -> None:
    kept = ("must be of type integer", "must be of type boolean", "Duplicate")
    said = {case.says.split(", got ")[0] for case in _LEFT_TO_THE_SERVER if not case.says.startswith(kept)}
    assert said == {
        "deltas must be from other files than this one",
        "deltas must be smaller than the file",
        "entrypoint must be the path of one of the variant's files",
        "no file's path must be the folder of another file",
        "values must not be empty for In and NotIn and must be empty for Exists and DoesNotExist",
        "exactly one of percent and nodes must be set",
        "the last step must be percent: 100",
        "percent must increase from step to step",
        "nodes must increase from step to step",
        "steps with nodes must come before steps with percent",
        "stepDeadlineSeconds must not be below the bakeSeconds of any step: the step could never end",
        "exactly one of preset and query must be set",
        "at least one of threshold and comparison must be set",
        "Accuracy must not be compared by the method Ratio, for which higher is worse",
        "Disagreement must be compared by the method Paired, and nothing else can be",
        "Memory and Drift must be compared by the method Ratio: there is nothing to count",
        "a query must name {{ canary }} to be compared: the same is asked for the stable revision",
        "at least one of min and max must be set",
        "min must not be above max",
        "maxIncreasePercent must be set for the method Ratio and for no other",
        "a query must be compared by the method Ratio: the others need the counts behind a preset",
        "must be above 1",
        "must be above 0.5 and below 1",
        "must be an IANA time zone that exists",
        "must not go down",
    }
