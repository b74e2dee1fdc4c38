"""A forecast as tables for a person."""

from collections.abc import Iterator, Sequence
from datetime import datetime

from edgecanary.api.rollout import Decided
from edgecanary.base.clock import to_rfc3339
from edgecanary.base.quantities import human_seconds
from edgecanary.cli.output import columns, paragraph
from edgecanary.rollout.forecast import Forecast
from edgecanary.rollout.forecast_gates import MOST_RATIO, GateForecast, GateOutlook
from edgecanary.rollout.forecast_steps import StepForecast, StratumForecast

_NAMES = 5
_STRATA = 12
_NEVER = "never by itself"


def to_table(found: Forecast) -> str:
    """The forecast: steps, nodes, gates, then what to change and what the figures rest on."""
    blocks = [
        list(_head(found)),
        list(_steps(found.steps)),
        list(_nodes(found.steps)),
        list(_gates(found.steps)),
        list(_warnings(found)),
        [line for note in found.notes for line in paragraph(note, indent=6, first="Note: ")],
    ]
    return "\n\n".join("\n".join(block) for block in blocks if block) + "\n"


def _head(found: Forecast) -> Iterator[str]:
    revision = f" to {found.version} ({found.revision[:12]})" if found.revision else ""
    yield f"Rollout {found.namespace}/{found.name}: model {found.model}{revision}"
    nodes = f"{found.eligible} node" + ("" if found.eligible == 1 else "s")
    parts = [f"{nodes} in {found.strata} strata" if found.strata > 1 else nodes]
    parts.append(f"{found.online} online")
    if found.adopted:
        parts.append(f"{found.adopted} run it already")
    if found.incompatible:
        parts.append(f"{found.incompatible} more that no variant fits")
    yield f"  {', '.join(parts)}"
    yield f"  earliest finish: {_time(found.finish)}"


def _steps(steps: Sequence[StepForecast]) -> Iterator[str]:
    if not steps:
        return
    rows = [("STEP", "SHARE", "NODES", "NEW", "SWITCH", "BAKE ENDS", "DONE", "WAITS FOR")]
    rows += [
        (
            step.name,
            step.share,
            str(step.nodes),
            f"+{step.added}",
            _time(step.switch),
            _time(step.bake_end),
            _time(step.end),
            _waits(step),
        )
        for step in steps
    ]
    yield from columns(rows)


def _waits(step: StepForecast) -> str:
    """What the step's end depends on beside the bake."""
    waits = []
    if step.start is not None and step.switch is not None and step.switch > step.start:
        waits.append(f"window ({human_seconds((step.switch - step.start).total_seconds())})")
    waits += [
        f"gate {gate.metric}"
        for gate in step.gates
        if gate.decides and gate.outlook in (GateOutlook.LATE, GateOutlook.NEVER)
    ]
    if step.approval is Decided.MANUAL:
        waits.append("approval")
    return ", ".join(waits) or "-"


def _nodes(steps: Sequence[StepForecast]) -> Iterator[str]:
    if not any(step.added for step in steps):
        return
    rows = [("STEP", "STRATUM", "NODES", "NEW", "WHICH")]
    for step in steps:
        touched = [stratum for stratum in step.strata if stratum.added]
        rows += [
            (step.name, _stratum(s), f"{s.nodes}/{s.members}", f"+{len(s.added)}", _names(s.added))
            for s in touched[:_STRATA]
        ]
        if len(touched) > _STRATA:
            rest = touched[_STRATA:]
            added = sum(len(s.added) for s in rest)
            rows.append((step.name, f"{len(rest)} more strata", "", f"+{added}", ""))
    yield from columns(rows)


def _stratum(found: StratumForecast) -> str:
    return ",".join(f"{key}={value}" for key, value in found.stratum.items()) or "all"


def _names(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMES} more" if len(names) > _NAMES else ""
    return ", ".join(names[:_NAMES]) + more


def _gates(steps: Sequence[StepForecast]) -> Iterator[str]:
    rows = [("STEP", "GATE", "METHOD", "NEEDS", "RATE", "READY", "BY THE BAKE'S END")]
    rows += [
        (
            step.name,
            gate.metric + ("" if gate.decides else " (DryRun)"),
            gate.method,
            _needs(gate),
            "?" if gate.events_per_hour is None else f"{_number(gate.events_per_hour)}/h",
            _ready(gate),
            _finds(gate),
        )
        for step in steps
        for gate in step.gates
    ]
    if len(rows) > 1:
        yield from columns(rows)


def _needs(gate: GateForecast) -> str:
    if gate.exposure_needed is not None:
        return f"exposure {gate.exposure_needed:.1f}"
    if gate.events_needed is not None:
        return "any data" if gate.events_needed == 1 else f"{gate.events_needed} samples"
    return "?"


def _ready(gate: GateForecast) -> str:
    match gate.outlook:
        case GateOutlook.NEVER:
            return "never"
        case GateOutlook.NOT_JUDGED:
            return "not judged"
        case GateOutlook.UNKNOWN:
            return "?"
    seconds = gate.ready_seconds or 0
    after = f"after {human_seconds(seconds)}" if seconds >= 1 else "at once"
    return f"{after}, past the bake" if gate.outlook is GateOutlook.LATE else after


def _finds(gate: GateForecast) -> str:
    """What the gate knows by the end of the bake."""
    has = "" if gate.exposure is None else f"has {gate.exposure:.1f}, "
    if gate.finds_ratio is not None:
        return f"{has}finds {gate.finds_ratio:.2f}x and more"
    return f"{has}finds nothing below {MOST_RATIO:g}x" if has else "-"


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 10 else f"{value:.2g}"


def _warnings(found: Forecast) -> Iterator[str]:
    for warning in found.warnings:
        text = f"{warning.reason}: {warning.field}: {warning.message}"
        yield from paragraph(text, indent=9, first="Warning: ")


def _time(moment: datetime | None) -> str:
    return to_rfc3339(moment) if moment is not None else _NEVER
