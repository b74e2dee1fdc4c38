"""A Rollout as a picture: its steps, its cohorts and its gates, as lines for a terminal or a file."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

from edgecanary.api.rollout import Decided, Rollout
from edgecanary.api.rollout_status import NodeCounts, RevisionReference, Verdict
from edgecanary.base.clock import to_rfc3339
from edgecanary.base.quantities import human_seconds
from edgecanary.cli.screen import SYMBOLS, Line, Signs, Span, Style, fact, grid, line, wrapped
from edgecanary.rollout.cohorts import CohortCounts, total
from edgecanary.rollout.explain import describe_evidence
from edgecanary.rollout.ladder import Rung, StepPicture, picture_steps
from edgecanary.rollout.why import Explanation, GateAccount, NodeAccount, Standing, explain

_LABEL = 11
_STRATA = 24
_NODES = 5


@dataclass(frozen=True)
class Fleet:
    """What is known of the nodes: cohorts, and reports by node; None and a note where it could not be asked."""

    cohorts: tuple[CohortCounts, ...] | None = None
    lagging: tuple[NodeAccount, ...] = ()
    more_lagging: int = 0
    notes: tuple[str, ...] = ()


NO_FLEET = Fleet()
"""Nobody has asked the nodes yet."""


@dataclass(frozen=True)
class Picture:
    """All that is shown of a Rollout at one moment."""

    model: str
    explanation: Explanation
    steps: tuple[StepPicture, ...]
    fleet: Fleet = NO_FLEET


@dataclass(frozen=True)
class Manner:
    """How a picture is drawn.

    `now` turns times into how long ago and how soon; None: times stay as they are, so that the same state gives
    the same lines. `wide` shows what each gate rests on.
    """

    now: datetime | None = None
    signs: Signs = SYMBOLS
    wide: bool = False


def picture(rollout: Rollout, fleet: Fleet | None = None) -> Picture:
    """The picture of a Rollout."""
    return Picture(rollout.spec.model_ref.name, explain(rollout), picture_steps(rollout), fleet or NO_FLEET)


def draw(found: Picture, manner: Manner) -> list[Line]:
    """The picture as lines: how it stands, then steps, cohorts, gates and nodes in trouble."""
    blocks = [
        list(_head(found, manner)),
        list(_steps(found, manner)),
        list(_cohorts(found)),
        list(_gates(found, manner)),
        list(_nodes(found.fleet)),
        [part for note in _notes(found) for part in wrapped("Note", note, width=_LABEL)],
    ]
    lines: list[Line] = []
    for block in blocks:
        if block:
            lines += [*([line("")] if lines else []), *block]
    return lines


def _notes(found: Picture) -> tuple[str, ...]:
    return (*found.explanation.notes, *found.fleet.notes)


def _head(found: Picture, manner: Manner) -> Iterator[Line]:
    told = found.explanation
    sign, style = _standing(found, manner.signs)
    begun = told.waiting.since if told.waiting is not None else told.since
    since = f" since {_moment(begun, manner)}" if begun else ""
    yield fact("Rollout", Span(f"{told.namespace}/{told.name}", Style.BOLD), width=_LABEL)
    yield fact("Status", Span(f"{sign} {told.reason}", style), Span(since), width=_LABEL)
    yield from wrapped("", told.message, width=_LABEL)
    if told.waiting is not None:
        until = f", until {_moment(told.waiting.until, manner)}" if told.waiting.until else ""
        yield from wrapped("Waits for", told.waiting.ends_with + until, width=_LABEL)
    yield fact("Model", Span(found.model), width=_LABEL)
    if told.canary is not None:
        attempt = f", attempt {told.attempt}" if told.attempt > 1 else ""
        yield fact("Canary", Span(_revision(told.canary) + attempt), width=_LABEL)
    yield fact("Stable", Span(_revision(told.stable) if told.stable else "none yet"), width=_LABEL)
    yield fact("Nodes", Span(_counts(told.counts, in_step=told.step is not None)), width=_LABEL)


def _standing(found: Picture, signs: Signs) -> tuple[str, Style]:
    if any(step.rung is Rung.HELD for step in found.steps) or found.explanation.reason == "Paused":
        return signs.held, Style.CAREFUL
    match found.explanation.standing:
        case Standing.DONE:
            return signs.done, Style.GOOD
        case Standing.STALLED:
            return signs.failed, Style.BAD
    return signs.at_work, Style.CAREFUL


def _counts(counts: NodeCounts, *, in_step: bool) -> str:
    parts = [f"{counts.updated} of {counts.targeted} updated"]
    if in_step:
        parts.append(f"{counts.in_step} in the step")
    for number, name in (
        (counts.offline, "offline"),
        (counts.pending, "pending"),
        (counts.failed, "failed"),
        (counts.incompatible, "incompatible"),
    ):
        if number:
            parts.append(f"{number} {name}")
    return ", ".join(parts)


def _steps(found: Picture, manner: Manner) -> Iterator[Line]:
    rows = [[Span(head) for head in ("", "STEP", "SHARE", "BAKE", "APPROVAL", "STATE")]]
    for step in found.steps:
        sign, style = _rung(step.rung, manner.signs)
        dim = Style.DIM if step.rung in (Rung.AHEAD, Rung.IDLE) else Style.PLAIN
        approval = "manual" if step.approval is Decided.MANUAL else "-"
        rows.append(
            [
                Span(sign, style),
                Span(step.name, Style.BOLD if step.rung in (Rung.CURRENT, Rung.HELD) else dim),
                Span(step.share, dim),
                Span(human_seconds(step.bake_seconds) if step.bake_seconds else "-", dim),
                Span(approval + (", given" if step.approved and approval == "manual" else ""), dim),
                Span(_state(step, found.explanation, manner), style),
            ]
        )
    yield from grid(rows)


def _rung(rung: Rung, signs: Signs) -> tuple[str, Style]:
    shown: Mapping[Rung, tuple[str, Style]] = {
        Rung.DONE: (signs.done, Style.GOOD),
        Rung.SKIPPED: (signs.skipped, Style.DIM),
        Rung.CURRENT: (signs.at_work, Style.CAREFUL),
        Rung.HELD: (signs.held, Style.CAREFUL),
        Rung.FAILED: (signs.failed, Style.BAD),
        Rung.AHEAD: (signs.ahead, Style.DIM),
        Rung.IDLE: (signs.ahead, Style.DIM),
    }
    return shown[rung]


def _state(step: StepPicture, told: Explanation, manner: Manner) -> str:
    match step.rung:
        case Rung.DONE:
            return f"done, begun {_moment(step.began, manner)}" if step.began else "done"
        case Rung.SKIPPED:
            return "skipped"
        case Rung.FAILED:
            return "taken back"
        case Rung.AHEAD | Rung.IDLE:
            return ""
    if step.bake_until is None:
        begun = f", begun {_moment(step.began, manner)}" if step.began else ""
        return f"{told.reason}{begun}"
    over = manner.now is not None and step.bake_until <= manner.now
    if told.reason == "Baking" and not over:
        return f"baking, {_left(step.bake_until, manner)}"
    if over or manner.now is None:
        return f"{told.reason}, bake over since {_moment(step.bake_until, manner)}"
    return told.reason


def _left(end: datetime, manner: Manner) -> str:
    """How long until then: `44 min left, until …`."""
    until = f"until {to_rfc3339(end.replace(microsecond=0))}"
    if manner.now is None:
        return until
    return f"{human_seconds((end - manner.now).total_seconds())} left, {until}"


def _cohorts(found: Picture) -> Iterator[Line]:
    cohorts = found.fleet.cohorts
    if not cohorts:
        return
    heads = ("STRATUM", "TARGETED", "OFFLINE", "IN STEP", "UPDATED", "HEALTHY", "FAILED")
    rows = [[Span(head) for head in heads]]
    rows += [_cohort(one, _stratum(one)) for one in cohorts[:_STRATA]]
    if len(cohorts) > _STRATA:
        rest = cohorts[_STRATA:]
        rows.append(_cohort(total(rest), f"{len(rest)} more"))
    if len(cohorts) > 1:
        rows.append(_cohort(total(cohorts), "all"))
    yield from grid(rows)


def _stratum(one: CohortCounts) -> str:
    return ",".join(f"{key}={value}" for key, value in one.stratum.items()) or "all"


def _cohort(one: CohortCounts, name: str) -> list[Span]:
    healthy = Style.GOOD if one.in_step and one.healthy == one.in_step else Style.PLAIN
    return [
        Span(name),
        Span(str(one.targeted)),
        Span(str(one.offline), Style.CAREFUL if one.offline else Style.PLAIN),
        Span(str(one.in_step)),
        Span(str(one.updated)),
        Span(str(one.healthy), healthy),
        Span(str(one.failed), Style.BAD if one.failed else Style.PLAIN),
    ]


def _gates(found: Picture, manner: Manner) -> Iterator[Line]:
    told = found.explanation
    if not told.gates:
        return
    heads = ("", "GATE", "VERDICT", "VALUE", "STABLE", "LIMIT", "SAMPLES", "SAYS")
    yield from grid([[Span(head) for head in heads], *(_gate(gate, manner) for gate in told.gates)])
    if manner.wide:
        yield from (part for gate in told.gates for part in _basis(gate))
    if told.gates_time is not None and manner.now is not None:
        yield line(f"   measured {_moment(told.gates_time, manner)}", Style.DIM)


def _gate(gate: GateAccount, manner: Manner) -> list[Span]:
    metric = gate.metric
    sign, style = {
        Verdict.PASS: (manner.signs.done, Style.GOOD),
        Verdict.FAIL: (manner.signs.failed, Style.BAD),
        Verdict.INCONCLUSIVE: (manner.signs.at_work, Style.CAREFUL),
    }[metric.verdict]
    return [
        Span(sign, style),
        Span(metric.name + ("" if gate.decides else " (DryRun)")),
        Span(metric.verdict, style),
        Span(metric.value or "-"),
        Span(metric.baseline or "-"),
        Span(metric.limit or "-"),
        Span("-" if metric.samples is None else str(metric.samples)),
        Span(metric.message or metric.reason),
    ]


def _basis(gate: GateAccount) -> Iterator[Line]:
    """What a gate's verdict rests on."""
    metric = gate.metric
    rows = []
    if metric.evidence is not None:
        rows.append(("evidence", describe_evidence(metric.evidence, metric.method).removeprefix("evidence ")))
    rows += [
        ("worst", f"{node.name}: {node.bad} of {node.total} bad, {node.expected} expected")
        for node in metric.worst_nodes
    ]
    rows += [(name, value) for name, value in (("query", metric.query), ("link", metric.link)) if value]
    if rows:
        yield line(f"   {metric.name}", Style.BOLD)
    yield from (line(f"     {name.ljust(8)}  {value}") for name, value in rows)


def _nodes(fleet: Fleet) -> Iterator[Line]:
    if not fleet.lagging:
        return
    rows = [[Span(head) for head in ("NODE", "STANDING", "SAYS")]]
    for node in fleet.lagging[:_NODES]:
        why = " ".join(part for part in (str(node.result), node.reason) if part not in ("", "None"))
        says = ": ".join(part for part in (why, node.message) if part)
        rows.append([Span(node.name), Span(str(node.standing)), Span(says)])
    yield from grid(rows)
    more = len(fleet.lagging) + fleet.more_lagging - min(len(fleet.lagging), _NODES)
    if more:
        yield line(f"and {more} more: edgecanary rollout why", Style.DIM)


def _revision(reference: RevisionReference) -> str:
    short = reference.revision[:12]
    return f"{reference.version} ({short})" if reference.version else short


def _moment(moment: datetime | None, manner: Manner) -> str:
    """A time, and how far it is from now."""
    if moment is None:
        return ""
    text = to_rfc3339(moment.replace(microsecond=0))
    if manner.now is None:
        return text
    seconds = (manner.now - moment).total_seconds()
    return (
        f"{text} ({human_seconds(seconds)} ago)" if seconds >= 0 else f"{text} (in {human_seconds(-seconds)})"
    )
