"""A node as text for a person."""

from collections.abc import Iterator
from datetime import datetime

from edgecanary.base.clock import to_rfc3339
from edgecanary.base.quantities import human_bytes, human_seconds
from edgecanary.cli.node_view import ModelAccount, NodeSummary
from edgecanary.cli.output import paragraph

_LABEL = 13


def to_text(node: NodeSummary, now: datetime, *, wide: bool = False) -> str:
    """The node, then each model. Wide: with labels and whole digests."""
    blocks = [
        list(_head(node, now, wide=wide)),
        *(list(_model(model, now, wide=wide)) for model in node.models),
    ]
    return "\n\n".join("\n".join(block) for block in blocks) + "\n"


def _head(node: NodeSummary, now: datetime, *, wide: bool) -> Iterator[str]:
    online = "unknown: Nodes may not be read" if node.online is None else "yes" if node.online else "no"
    yield from _fact("Node", node.name)
    yield from _fact("Online", online)
    if not node.reports:
        yield from _fact("Agent", "none has reported from this node")
        return
    yield from _fact("Agent", node.agent_version or "of an unknown version")
    if node.heartbeat_time is not None:
        yield from _fact("Heartbeat", _moment(node.heartbeat_time, now))
    told = node.capabilities
    if told is not None:
        parts = [told.architecture, human_bytes(told.memory_bytes), *told.accelerators]
        yield from _fact("Hardware", ", ".join(parts))
        yield from _fact("Runtimes", ", ".join(told.runtimes) or "none")
        yield from _fact("Sandbox", ", ".join(told.probe_sandbox))
    if wide:
        for key, value in sorted(node.labels.items()):
            yield from _fact("Label", f"{key}={value}")
    if not node.models:
        yield from _fact("Models", "none")


def _model(model: ModelAccount, now: datetime, *, wide: bool) -> Iterator[str]:
    status = model.status
    yield from _fact("Model", f"{status.namespace}/{status.name}")
    why = f" ({status.reason})" if status.reason else ""
    since = f" since {_moment(status.transition_time, now)}" if status.transition_time else ""
    yield from _fact("  state", f"{status.state}{why}{since}")
    yield from _fact("  says", status.message)
    yield from _fact("  serves", _revision(status.active, model.version, wide=wide) or "nothing")
    if status.desired != status.active:
        yield from _fact("  wants", _revision(status.desired, model.desired_version, wide=wide) or "nothing")
    yield from _fact("  kept", _revision(status.previous, "", wide=wide))
    attempt = f", attempt {status.attempt}" if status.attempt > 1 else ""
    yield from _fact("  result", f"{status.result}{attempt}, of release {status.sequence}")
    if status.probe is not None:
        probe = status.probe
        text = (
            f"{probe.variant}: loads in {probe.load_milliseconds} ms, p95 {probe.latency_p95_milliseconds} ms, "
            f"peak {human_bytes(probe.peak_memory_bytes)}"
        )
        yield from _fact("  probe", text)
    if status.transfer is not None:
        full, delta = status.transfer.full_bytes, status.transfer.delta_bytes
        yield from _fact("  fetched", f"{human_bytes(full)} of files, {human_bytes(delta)} of deltas")
    yield from _fact("  repair", status.repair)
    yield from _fact("  rejected", ", ".join(_short(digest, wide=wide) for digest in status.rejected))


def _fact(label: str, text: str) -> list[str]:
    return paragraph(text, indent=_LABEL, first=label) if text else []


def _revision(digest: str | None, version: str, *, wide: bool) -> str:
    if not digest:
        return ""
    return f"{version} ({_short(digest, wide=wide)})" if version else _short(digest, wide=wide)


def _short(digest: str, *, wide: bool) -> str:
    return digest if wide else digest[:12]


def _moment(moment: datetime, now: datetime) -> str:
    seconds = (now - moment).total_seconds()
    distance = (
        f"{human_seconds(seconds)} ago" if seconds >= 0 else f"in {human_seconds(-seconds)} by our clock"
    )
    return f"{to_rfc3339(moment.replace(microsecond=0))} ({distance})"
