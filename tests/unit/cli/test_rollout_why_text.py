"""What `edgecanary rollout why` prints for a person: read once by eye, and kept to the letter."""

from edgecanary.cli.rollout_why_text import to_text
from edgecanary.rollout.why import explain
from tests.unit.cli.golden_text import assert_golden
from tests.unit.rollout.standing import CANARY, NOW, baking, report, rolled_back, rollout


def test_a_baking_step() -> None:
    reports = {
        "edge-12": report(
            desired=CANARY,
            state="Pending",
            result="DownloadFailed",
            reason="NoSpace",
            message="needs 1.2 GiB, 0.9 GiB is free",
        ),
    }
    assert_golden("why-baking", to_text(explain(baking(), reports), NOW))


def test_a_rejected_revision() -> None:
    reports = {
        f"edge-{i:02}": report(state="Active", desired="a" * 64, active="a" * 64, rejected=[CANARY])
        for i in range(13)
    }
    assert_golden("why-rolled-back", to_text(explain(rolled_back(), reports), NOW))


def test_a_rollout_that_nobody_has_looked_at() -> None:
    text = to_text(explain(rollout({}), notes=["what the nodes' agents say is not included: forbidden"]), NOW)
    assert_golden("why-not-observed", text)
