"""Nodes ask their own rules: an operator without any releases to all, and each node takes what it was granted."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from edgelab.fleet import Fleet
from tests.e2e.scene import NAME, STEPS, Scene

MODEL = "tiny"
GRANTED = "hardware=vnni"


@pytest.fixture(scope="module")
def rules(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tenancy") / "rules"
    path.write_text("")
    return path


@pytest.fixture(scope="module")
def divided(fleet: Fleet, rules: Path) -> Iterator[Fleet]:
    """The fleet with rules on every node; afterwards without."""
    fleet.restart_agents((*fleet.settings.agent_flags, f"--tenancy-file={rules}"))
    yield fleet
    fleet.restart_agents(fleet.settings.agent_flags)


def test_each_node_takes_what_its_own_rules_grant_and_says_why_not(
    divided: Fleet, scene: Scene, rules: Path
) -> None:
    namespace, store = scene.subject.namespace, divided.s3.url.removeprefix("http://")
    rules.write_text(
        f"{namespace} nodes {GRANTED}\n{namespace} object-store {store}\n* contact the platform team\n"
    )
    ours = {name for name, plan in divided.plans.items() if plan.labels.get("hardware") == "vnni"}
    others = scene.nodes - ours
    assert ours
    assert others
    revision = scene.publish(MODEL)
    scene.fleet.apply(
        {
            "apiVersion": "edgecanary.dev/v1alpha1",
            "kind": "Rollout",
            "metadata": {"name": NAME, "namespace": namespace},
            "spec": {
                "modelRef": {"name": NAME},
                "nodeSelector": {"matchLabels": {"edge": "true"}},
                "strategy": {"initial": "AllAtOnce", "steps": list(STEPS), "quorumPercent": 100},
                "health": {"soakSeconds": 1},
            },
        }
    )

    def answered() -> bool:
        reports = scene.subject.reports()
        refused = {name for name, report in reports.items() if report.reason == "NotGranted"}
        return scene.subject.running(revision) == ours and refused == others

    scene.subject.wait("the granted nodes run it and the others say why not", answered)
    for name in others:
        message = scene.subject.reports()[name].message
        assert (
            f"this node is not granted to namespace '{namespace}' (granted: nodes with {GRANTED})" in message
        )
        assert f"ask the platform team for the rule '{namespace} nodes KEY=VALUE'" in message

    rules.write_text(f"{namespace} nodes *\n{namespace} object-store {store}\n")
    scene.subject.promoted(revision)
    assert scene.subject.running(revision) == scene.nodes
