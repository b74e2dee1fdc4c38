"""What must be true after a promotion and after a version was taken back."""

import time

from edgecanary.api.edgenode import ModelResult, ModelState
from edgecanary.api.meta import ConditionType
from edgecanary.rollout.conditions import is_true
from edgelab.demo.manifests import Version
from edgelab.demo.stage import Stage
from edgelab.fleet.subject import ready_of

_LOOK_SECONDS = 2.0
"""How long the traffic is watched for answers that must not come any more."""


def check_promoted(stage: Stage, version: Version, *, nodes: set[str], reason: str) -> None:
    """The version is stable, Ready says so, and just these nodes run it and answer with it."""
    checks, rollout = stage.checks, stage.subject.rollout()
    stable, ready = rollout.status.stable, ready_of(rollout.status)
    checks.equal("the Rollout's stable version", stable.version if stable else None, version.name)
    checks.equal("the Rollout is Ready, because", ready.reason if ready else None, reason)
    checks.equal("there is no canary left", rollout.status.canary, None)
    last = rollout.status.history[-1] if rollout.status.history else None
    ended = f"{last.version} {last.outcome}" if last else "nothing"
    checks.equal("the newest entry of its history", ended, f"{version.name} Promoted")
    checks.equal("nodes that report the version as active", stage.running(version), nodes)
    checks.equal(
        "what the agents themselves answer with", stage.answering(nodes), dict.fromkeys(nodes, version.name)
    )


def check_steps(stage: Stage, version: Version) -> None:
    """The version reached the nodes step by step, in the order that their ranks say, and no other."""
    checks, rollout, timeline = stage.checks, stage.subject.rollout(), stage.timeline
    steps = range(len(rollout.spec.strategy.steps))
    wanted = [sorted(stage.subject.cohort(version.revision, step=step)) for step in steps]
    got = [sorted(found) for found in timeline.cohorts(version.revision)]
    checks.equal("how many nodes each step named", [len(found) for found in got], [1, 3, 12])
    checks.equal("which nodes each step named", got, wanted)
    ran = timeline.ran(version.revision)
    early = {
        node
        for node, count in stage.traffic.report().agents.items()
        if (answers := count.revisions.get(version.revision))
        and (answers.first_answer or 0) < (timeline.assigned(node, version.revision) or float("inf"))
    }
    checks.equal("nodes that answered with it before their step", early, set())
    front = set(wanted[0])
    others = [moment for node, moment in ran.items() if node not in front]
    checks.that(
        "the first node ran it before any other",
        bool(others) and all(ran.get(node, float("inf")) < min(others) for node in front),
        expected=f"{', '.join(front)} first",
        got=", ".join(sorted(ran, key=ran.__getitem__)),
    )


def check_taken_back(stage: Stage, version: Version, *, first: str, stable: Version) -> None:
    """Only the first step's node ever ran it, a gate stopped it, and it answers nothing any more."""
    checks, rollout, timeline = stage.checks, stage.subject.rollout(), stage.timeline
    ready = ready_of(rollout.status)
    entry = next((e for e in rollout.status.rejected if e.revision == version.revision), None)
    checks.equal("it was rejected because", entry.reason if entry else None, "AnalysisFailed")
    checks.contains("the gate that stopped it", entry.message if entry else "", "step 1/3 first: accuracy:")
    checks.equal("the Rollout says", ready.reason if ready else None, "RolledBack")
    stalled = is_true(rollout.status.conditions, ConditionType.STALLED)
    checks.equal("the Rollout is Stalled until a person acts", stalled, True)
    probed = {
        f"{item.report.state} {item.report.result}"
        for item in timeline.reports
        if item.node == first and item.report.desired == version.revision
    }
    checks.that(
        "its own golden cases let it pass the node's probe",
        f"{ModelState.ACTIVE} {ModelResult.SUCCEEDED}" in probed,
        expected="Active Succeeded",
        got=", ".join(sorted(probed)),
    )
    checks.equal("nodes that ever ran it", set(timeline.ran(version.revision)), {first})
    answered = {
        node for node, count in stage.traffic.report().agents.items() if version.revision in count.revisions
    }
    checks.equal("nodes that ever answered with it", answered, {first})
    checks.equal("nodes that run the version before", stage.running(stable), stage.online)
    checks.equal(
        "what the agents themselves answer with",
        stage.answering(stage.online),
        dict.fromkeys(stage.online, stable.name),
    )
    left = timeline.left(version.revision)[first]
    time.sleep(_LOOK_SECONDS)
    late = stage.traffic.answered_since(first, version.revision, left)
    checks.equal("requests that it answered after the node went back", late, 0)
    served = stage.traffic.answered_since(first, stable.revision, left)
    checks.that("the version before serves again", served > 0, expected="answers", got=f"{served} answers")


def check_traffic(stage: Stage) -> None:
    """Over the whole demo no agent refused a request, and none answered with a revision not meant for it."""
    stage.begin("end", "What clients saw of all this")
    report = stage.traffic.report()
    refused = {kind: count for kind, count in report.failed_by_kind().items() if kind != "timeout"}
    stage.checks.equal("requests that an agent refused or broke off", refused, {})
    wrong = stage.timeline.wrong_answers(report, stage.traffic.answered_since)
    stage.checks.equal("requests answered by a revision that was not, or no longer, meant", wrong, 0)
