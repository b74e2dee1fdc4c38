"""The demo's judgement: what it counts as wrong, and that a difference ends it."""

import io
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import pytest
from rich.console import Console

from edgecanary.api.edgenode import EdgeNode
from edgecanary.api.modelrelease import ModelRelease
from edgecanary.rollout.rank import RANK_SPACE, format_bound
from edgelab.demo.checks import Checks, DifferenceError, show
from edgelab.demo.manifests import EXAMPLES, Renderer
from edgelab.demo.narrator import Narrator
from edgelab.demo.timeline import Timeline
from edgelab.fleet.layout import NodePlan
from edgelab.fleet.mirror import Change
from edgelab.modelzoo import open_zoo
from edgelab.modelzoo.counts import AgentCount, RevisionCount, TrafficReport

GOOD, BAD = "a" * 64, "b" * 64
NODES = {"n1": NodePlan("n1"), "n2": NodePlan("n2")}
NOW = datetime(2026, 1, 5, tzinfo=UTC)


def statement(revision: str) -> dict[str, object]:
    file = {"path": "m.onnx", "uri": "s3://models/m.onnx", "sha256": revision, "sizeBytes": 9}
    tensor = [{"name": "x", "dtype": "FP32", "shape": [-1, 4]}]
    return {
        "revision": revision,
        "version": revision[:1],
        "variants": [{"name": "v", "format": "ONNX", "entrypoint": "m.onnx", "files": [file]}],
        "io": {"inputs": tensor, "outputs": tensor},
    }


def release(at: float, *, canary: str | None = None, rejected: str | None = None) -> Change:
    spec: dict[str, object] = {"model": "m", "sequence": 1, "salt": "s", "stable": statement(GOOD)}
    if canary:
        everybody = [{"stratum": [], "below": format_bound(RANK_SPACE)}]
        spec["canary"] = {**statement(canary), "cutoffs": everybody}
    if rejected:
        spec["rejected"] = [{"revision": rejected, "reason": "AnalysisFailed", "time": NOW}]
    found = ModelRelease.model_validate({"metadata": {"name": "m", "namespace": "ns"}, "spec": spec})
    return Change(at, ("modelreleases", "ns", "m"), found)


def report(at: float, node: str, active: str) -> Change:
    model = {"namespace": "ns", "name": "m", "active": active, "state": "Active"}
    found = EdgeNode.model_validate({"metadata": {"name": node}, "status": {"models": [model]}})
    return Change(at, ("edgenodes", "system", node), found)


def timeline(*changes: Change) -> Timeline:
    return Timeline(changes, NODES, namespace="ns", name="m")


def answers(node: str, revision: str, *, count: int = 3, first: float) -> TrafficReport:
    counts = {revision: RevisionCount(answered=count, first_answer=first)}
    return TrafficReport({node: AgentCount(counts, {}, {})})


def never(node: str, revision: str, moment: float) -> int:
    return 0


def test_answers_of_the_assigned_revision_are_right() -> None:
    story = timeline(release(1), report(2, "n1", GOOD))
    assert story.wrong_answers(answers("n1", GOOD, first=3), never) == 0


def test_answers_of_a_revision_that_no_release_assigned_are_wrong() -> None:
    assert timeline(release(1)).wrong_answers(answers("n1", BAD, first=3), never) == 3


def test_answers_before_the_assignment_are_wrong() -> None:
    story = timeline(release(1), release(5, canary=BAD))
    assert story.wrong_answers(answers("n1", BAD, first=4), never) == 3


def test_answers_of_a_withdrawn_revision_after_the_node_went_back_are_wrong() -> None:
    story = timeline(
        release(1, canary=BAD), report(2, "n1", BAD), release(5, rejected=BAD), report(6, "n1", GOOD)
    )
    asked: list[tuple[str, str, float]] = []

    def two_since(node: str, revision: str, moment: float) -> int:
        asked.append((node, revision, moment))
        return 2

    assert story.wrong_answers(answers("n1", BAD, first=3), two_since) == 2
    assert asked == [("n1", BAD, 6)]


def test_a_timeline_tells_who_ran_a_revision_and_when_it_was_withdrawn() -> None:
    story = timeline(
        release(1, canary=BAD), report(2, "n1", BAD), release(5, rejected=BAD), report(6, "n1", GOOD)
    )
    assert (story.ran(BAD), story.left(BAD), story.withdrawn(BAD)) == ({"n1": 2}, {"n1": 6}, 5)
    assert story.cohorts(BAD) == [frozenset(NODES)]


def test_a_difference_ends_the_scenario_and_is_said() -> None:
    said = io.StringIO()
    checks = Checks(Narrator(Console(file=said, width=200)))
    checks.begin("a")
    checks.equal("the version", "1.0.0", "2.0.0")
    with pytest.raises(DifferenceError, match=r"scenario \(a\): 1 of 1 checks differ"):
        checks.end()
    assert "expected: 2.0.0" in said.getvalue()
    assert "got: 1.0.0" in said.getvalue()


def test_checks_that_hold_end_a_scenario_quietly() -> None:
    checks = Checks(Narrator(Console(file=io.StringIO())))
    checks.begin("a")
    checks.contains("the message", "n1 is late", "n1")
    checks.end()
    assert [check.passed for check in checks.made] == [True]


@pytest.mark.parametrize(
    ("value", "text"),
    [({"b", "a"}, "a, b"), (None, "none"), ({}, "none"), ({"n": 1}, "n: 1"), ([1, 2], "1, 2"), ("x", "x")],
)
def test_values_are_shown_for_people(value: object, text: str) -> None:
    assert show(value) == text


def test_every_example_version_can_be_published_from_the_zoo(
    tmp_path: Path,
) -> None:
    keys: Mapping[str, str] = {"AWS_ACCESS_KEY_ID": "id"}
    renderer = Renderer(tmp_path, open_zoo(), prometheus_url="http://p:9090", bucket_keys=keys)
    numbers = [path.stem.removeprefix("model-") for path in sorted(EXAMPLES.glob("model-[0-9]*.yaml"))]
    versions = [renderer.version(number) for number in numbers]
    assert numbers == ["1.0.0", "2.0.0", "3.0.0", "4.0.0", "5.0.0"]
    assert len({version.revision for version in versions}) == 5
    assert all(version.files for version in versions)
    assert "url: http://p:9090" in renderer.plain("rollout.yaml").read_text()
