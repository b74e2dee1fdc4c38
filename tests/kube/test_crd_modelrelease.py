"""What the API server accepts and refuses of a ModelRelease."""

import pytest

from edgelab.controlplane import ControlPlane
from tests.kube.crd_cases.modelrelease import TABLE
from tests.kube.crd_cases.server import complaints, refusal, send
from tests.kube.crd_cases.table import Case


@pytest.mark.parametrize("case", TABLE.accepted, ids=str)
def test_a_modelrelease_within_the_rules_is_accepted(control_plane: ControlPlane, case: Case) -> None:
    assert send(control_plane, case)["kind"] == "ModelRelease"


@pytest.mark.parametrize("case", TABLE.refused, ids=str)
def test_a_modelrelease_that_breaks_a_rule_is_refused_by_field_and_rule(
    control_plane: ControlPlane, case: Case
) -> None:
    message = refusal(control_plane, case)
    assert any(case.says in complaint for complaint in complaints(message, case.at)), message
