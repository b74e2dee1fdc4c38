"""An explanation as text for a person."""

from collections.abc import Iterator
from datetime import datetime

from edgecanary.api.edgenode import ModelResult
from edgecanary.api.rollout import Decided
from edgecanary.api.rollout_status import MetricStatus, NodeCounts, RevisionReference, Waiting
from edgecanary.base.clock import to_rfc3339
from edgecanary.base.quantities import human_seconds
from edgecanary.cli.output import columns, paragraph
from edgecanary.rollout.explain import describe_evidence
from edgecanary.rollout.why import Explanation, GateAccount, NodeAccount, StepAccount

_LABEL = 13
_NODES_SHOWN = 10


def to_text(found: Explanation, now: datetime) -> str:
    """The explanation, the most urgent first; `now` turns times into how long ago and how soon."""
    since = f" since {_moment(found.since, now)}" if found.since else ""
    lines = [f"Rollout {found.namespace}/{found.name}: {found.reason}, {found.standing}{since}"]
    lines += paragraph(found.message, indent=2)
    blocks = [
        lines,
        list(_waiting(found.waiting, found, now)),
        list(_facts(found, now)),
        list(_rejection(found, now)),
        list(_gates(found, now)),
        list(_nodes(found)),
        [line for note in found.notes for line in paragraph(note, indent=6, first="Note: ")],
    ]
    return "\n\n".join("\n".join(block) for block in blocks if block) + "\n"


def _waiting(waiting: Waiting | None, found: Explanation, now: datetime) -> Iterator[str]:
    if waiting is None:
        return
    yield from _fact("Waits for", waiting.reason)
    yield from _fact("since", _moment(waiting.since, now))
    yield from _fact("until", _moment(waiting.until, now) if waiting.until else "time alone does not end it")
    if waiting.ends_with != found.message:
        yield from _fact("ends with", waiting.ends_with)


def _facts(found: Explanation, now: datetime) -> Iterator[str]:
    attempt = f", attempt {found.attempt}" if found.attempt > 1 else ""
    if found.canary is not None:
        yield from _fact("Canary", f"{_revision(found.canary)}{attempt}")
    yield from _fact("Stable", _revision(found.stable) if found.stable else "none yet")
    if found.step is not None:
        yield from _step(found.step, now)
    yield from _fact("Nodes", _counts(found.counts, in_step=found.step is not None))


def _step(step: StepAccount, now: datetime) -> Iterator[str]:
    yield from _fact("Step", f"{step.display} since {_moment(step.since, now)}")
    if step.bake_since is None:
        yield from _fact("bake", "begins when the quorum of the step's nodes is updated")
    elif step.skips_gates:
        yield from _fact("bake", "skipped, and the gates too")
    elif step.bake_until is not None:
        verb = "until" if step.bake_until > now else "over since"
        yield from _fact("bake", f"{verb} {_moment(step.bake_until, now)}")
    if step.approval is Decided.MANUAL:
        given = f"given {_moment(step.approved_time, now)}" if step.approved_time else "not given"
        yield from _fact("approval", f"{given} (edgecanary.dev/promote)")
    yield from _fact("deadline", _moment(step.deadline, now))


def _counts(counts: NodeCounts, *, in_step: bool) -> str:
    parts = [f"{counts.updated} of {counts.targeted} updated"]
    if in_step:
        parts.append(f"{counts.in_step} in the step")
    parts.append(f"{counts.online} online")
    parts += [f"{number} {name}" for name, number in (("pending", counts.pending), ("failed", counts.failed),
              ("incompatible", counts.incompatible)) if number]  # fmt: skip
    failed_in = [f"{number} in {name}" for name, number in counts.failures if number]
    return ", ".join(parts) + (f"; failures: {', '.join(failed_in)}" if failed_in else "")


def _rejection(found: Explanation, now: datetime) -> Iterator[str]:
    entry = found.rejection
    if entry is None:
        return
    attempt = f", attempt {entry.attempt}" if entry.attempt > 1 else ""
    reference = RevisionReference(revision=entry.revision, version=entry.version)
    yield from _fact("Taken back", f"{_revision(reference)}{attempt}")
    yield from _fact("at", _moment(entry.time, now))
    yield from _fact("reason", entry.reason)
    if entry.message not in found.message:
        yield from _fact("because", entry.message)


def _gates(found: Explanation, now: datetime) -> Iterator[str]:
    if not found.gates:
        return
    measured = f", measured {_moment(found.gates_time, now)}" if found.gates_time else ", not measured yet"
    yield f"Gates{measured}"
    for gate in found.gates:
        yield from _gate(gate, now)


def _gate(gate: GateAccount, now: datetime) -> Iterator[str]:
    metric = gate.metric
    role = "" if gate.decides else " (DryRun: reports, never decides)"
    since = f" since {_moment(metric.since, now)}" if metric.since else ""
    why = f", {metric.reason}" if metric.reason else ""
    yield f"  {metric.name}: {metric.verdict}{why}{since}{role}"
    yield from paragraph(metric.message, indent=4)
    yield from (f"    {line}" for line in columns(_measured(metric)))
    if metric.query:
        yield f"    query     {metric.query}"
    if metric.link:
        yield f"    link      {metric.link}"


def _measured(metric: MetricStatus) -> list[tuple[str, str]]:
    """What the gate rests on, as name and value."""
    rows = [
        ("value", metric.value),
        ("baseline", f"{metric.baseline} (stable)" if metric.baseline is not None else None),
        ("limit", metric.limit or None),
        ("samples", str(metric.samples) if metric.samples is not None else None),
    ]
    if (evidence := metric.evidence) is not None:
        rows.append(("evidence", describe_evidence(evidence, metric.method).removeprefix("evidence ")))
        seen = f"{evidence.exposure} of {evidence.exposure_needed} needed" if evidence.exposure else ""
        found = f"finds a {evidence.detectable_ratio}x increase now" if evidence.detectable_ratio else ""
        rows.append(("exposure", "; ".join(part for part in (seen, found) if part) or None))
    rows += [
        (
            "worst" if position == 0 else "",
            f"{node.name}: {node.bad} of {node.total} bad, {node.expected} expected",
        )
        for position, node in enumerate(metric.worst_nodes)
    ]
    return [(name.ljust(8), value) for name, value in rows if value is not None]


def _nodes(found: Explanation) -> Iterator[str]:
    if not found.nodes:
        return
    yield "Nodes that failed it or are not there yet"
    rows = [_node_row(node) for node in found.nodes[:_NODES_SHOWN]]
    yield from columns(rows, indent=2)
    more = len(found.nodes) - len(rows) + found.more_nodes
    if more:
        yield f"  and {more} more"


def _node_row(node: NodeAccount) -> tuple[str, str, str]:
    result = "" if node.result is ModelResult.NONE else str(node.result)
    why = ": ".join(part for part in (" ".join(filter(None, (result, node.reason))), node.message) if part)
    return node.name, str(node.standing), why


def _fact(label: str, text: str) -> list[str]:
    """A labelled line; a label in lower case belongs to the one above."""
    shown = label if label[0].isupper() else f"  {label}"
    return paragraph(text, indent=_LABEL, first=shown)


def _revision(reference: RevisionReference) -> str:
    return (
        f"{reference.version} ({reference.revision[:12]})" if reference.version else reference.revision[:12]
    )


def _moment(moment: datetime, now: datetime) -> str:
    """A time, and how far it is from now."""
    seconds = (now - moment).total_seconds()
    distance = f"{human_seconds(seconds)} ago" if seconds >= 0 else f"in {human_seconds(-seconds)}"
    return f"{to_rfc3339(moment.replace(microsecond=0))} ({distance})"
