"""The demo's summary, for people and as `demo-report.json`."""

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from edgelab.audit import Request
from edgelab.demo.checks import Check
from edgelab.demo.stage import Stage
from edgelab.fleet.access import OPERATOR_USER

SCHEMA = "edgecanary.dev/demo-report/v1"
_TAKEN_BACK = "3.0.0"


@dataclass(frozen=True)
class Happened:
    """Something that happened, in seconds since the demo began."""

    at_seconds: float
    scenario: str
    what: str


@dataclass(frozen=True)
class Writes:
    """What one version cost the API server: requests that asked for a change, from its publication to the next.

    `by_agents` is the total over all nodes; `most_by_a_node` that of the busiest one.
    """

    version: str
    nodes: int
    by_operator: dict[str, int]
    by_agents: int
    by_agents_per_node: float
    most_by_a_node: int


@dataclass(frozen=True)
class TakingBack:
    """How fast the bad version went away, in seconds; None where it did not happen."""

    version: str
    wrong_answers: int
    first_wrong_answer_to_withdrawn: float | None
    withdrawn_to_last_node_reverted: float | None
    first_wrong_answer_to_last_node_reverted: float | None


@dataclass(frozen=True)
class Requests:
    """What came of the traffic. `incorrect` answers are the model's own mistakes."""

    answered: int
    correct: int
    incorrect: int
    failed: int
    failed_by_kind: dict[str, int]
    answered_by_a_wrong_revision: int
    by_version: dict[str, int]


@dataclass(frozen=True)
class Report:
    """All of it."""

    schema: str
    started: str
    seconds: float
    nodes: int
    passed: bool
    happened: Sequence[Happened]
    api_writes: Sequence[Writes]
    taking_back: TakingBack | None
    requests: Requests
    checks: Sequence[Check]

    def write(self, path: Path) -> None:
        """Write it as JSON."""
        path.write_text(json.dumps(asdict(self), indent=2) + "\n")


def make_report(stage: Stage, *, ended: float, passed: bool) -> Report:
    """The report as of now; `ended` in seconds since the epoch."""
    started = stage.narrator.started
    return Report(
        schema=SCHEMA,
        started=datetime.fromtimestamp(started, UTC).isoformat(timespec="seconds"),
        seconds=round(ended - started, 1),
        nodes=len(stage.fleet.agents),
        passed=passed,
        happened=[
            Happened(round(moment.time - started, 1), moment.scenario, moment.text)
            for moment in stage.moments
        ],
        api_writes=_writes(stage, ended),
        taking_back=_taking_back(stage),
        requests=_requests(stage),
        checks=stage.checks.made,
    )


def _writes(stage: Stage, ended: float) -> list[Writes]:
    requests = [
        (request.time.timestamp(), request) for request in stage.fleet.control_plane.audit_log.writes()
    ]
    ends = [moment for moment, _ in stage.published[1:]] + [ended]
    return [
        _writes_of(version.name, stage.fleet.agents, [r for moment, r in requests if begin <= moment < end])
        for (begin, version), end in zip(stage.published, ends, strict=True)
    ]


def _writes_of(version: str, nodes: Iterable[str], requests: Sequence[Request]) -> Writes:
    """The writes among requests; a write by a program for itself (a lease, say) counts too."""
    counted = Counter(request.node for request in requests)
    by_node = [counted[node] for node in nodes]
    operator = Counter(request.resource for request in requests if request.user == OPERATOR_USER)
    return Writes(
        version=version,
        nodes=len(by_node),
        by_operator=dict(sorted(operator.items())),
        by_agents=sum(by_node),
        by_agents_per_node=round(sum(by_node) / len(by_node), 2),
        most_by_a_node=max(by_node),
    )


def _taking_back(stage: Stage) -> TakingBack | None:
    version = stage.versions.get(_TAKEN_BACK)
    answers = stage.traffic.report().revisions().get(version.revision) if version else None
    if version is None or answers is None:
        return None
    timeline = stage.timeline
    first, withdrawn = answers.first_incorrect, timeline.withdrawn(version.revision)
    last = max(timeline.left(version.revision).values(), default=None)
    return TakingBack(
        version=version.name,
        wrong_answers=answers.incorrect,
        first_wrong_answer_to_withdrawn=_between(first, withdrawn),
        withdrawn_to_last_node_reverted=_between(withdrawn, last),
        first_wrong_answer_to_last_node_reverted=_between(first, last),
    )


def _between(begin: float | None, end: float | None) -> float | None:
    return None if begin is None or end is None else round(end - begin, 2)


def _requests(stage: Stage) -> Requests:
    report = stage.traffic.report()
    return Requests(
        answered=report.answered,
        correct=report.correct,
        incorrect=report.incorrect,
        failed=report.failed,
        failed_by_kind=report.failed_by_kind(),
        answered_by_a_wrong_revision=stage.timeline.wrong_answers(report, stage.traffic.answered_since),
        by_version={
            stage.name_of(revision): count.answered for revision, count in report.revisions().items()
        },
    )
