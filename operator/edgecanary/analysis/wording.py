"""What a comparison found and still needs, in words."""

import math

from edgecanary.analysis.compared import Compared, rejected_share
from edgecanary.analysis.look import format_value
from edgecanary.api.analysis import Comparison, ComparisonMethod, Preset
from edgecanary.api.rollout_status import NodeEvidence

_EVENTS: dict[Preset, tuple[str, str]] = {
    Preset.ERROR_RATE: ("requests", "failed"),
    Preset.LATENCY_P95: ("requests", "were slower than {bound} s"),
    Preset.LATENCY_P99: ("requests", "were slower than {bound} s"),
    Preset.ACCURACY: ("judged answers", "were wrong"),
    Preset.DISAGREEMENT: ("discordant pairs", "went against the canary"),
}


def describe_compared(preset: Preset, comparison: Comparison, found: Compared, bound: str) -> str:
    """Value, baseline, samples, nodes and the evidence against its limit."""
    events, bad = _EVENTS[preset]
    nodes = f"{found.evidence.canary_nodes} canary {_nodes(found.evidence.canary_nodes)}"
    text = (
        f"{_percent(found.share)} of {round(found.total)} {events} on {nodes} {bad.format(bound=bound or '?')}, "
        f"{_percent(found.expected_share)} expected"
    )
    if comparison.method is not ComparisonMethod.PAIRED:
        controls = found.evidence.control_nodes
        text += f" by {controls} stable {_nodes(controls)} and the past"
    return f"{text}{_increase(found)}; {_evidence(comparison, found)}"


def describe_worst(worst: tuple[NodeEvidence, ...]) -> str:
    """The worst nodes, for the end of a message."""
    told = [f"{node.name} ({node.bad} of {node.total}, {node.expected} expected)" for node in worst]
    return f"; worst: {', '.join(told)}" if told else ""


def describe_need(preset: Preset, found: Compared) -> str:
    """What is needed before the revision may be promoted, and what would be found by now."""
    events, _ = _EVENTS[preset]
    if found.total <= 0:
        return f"needs {events} on canary and stable nodes at the same time, and there are none yet"
    now = "only a disaster would be found so soon after the switch"
    if math.isfinite(found.detectable):
        now = f"a {format_ratio(found.detectable)}x increase would be found now"
    if found.more is None:
        most = format_ratio(found.most_detectable)
        count = found.evidence.canary_nodes
        return (
            f"{now}; more {events} on {count} canary {_nodes(count)} will not do, since nodes vary: a {most}x "
            "increase is the least that they can show; widen the step or declare a larger detectRatio"
        )
    need = f"needs {math.ceil(found.more)} more {events}"
    if found.seconds is not None:
        need += f", about {describe_seconds(found.seconds)}"
    return f"{need}; {now}"


def describe_seconds(seconds: float) -> str:
    """A rough time for people, such as `40 s`, `3 h` or `2 days`."""
    for size, name in ((86_400, " days"), (3600, " h"), (60, " min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f}{name}"
    return f"{max(1, math.ceil(seconds))} s"


def format_ratio(value: float) -> str:
    """An increase with one digit after the point where that says something."""
    return f"{value:.1f}" if value < 10 else f"{min(value, 1e6):.0f}"


def _percent(share: float) -> str:
    return f"{float(f'{100 * share:.3g}'):g} %"


def _increase(found: Compared) -> str:
    return f" ({format_ratio(found.bad / found.expected)}x)" if found.expected > 0 else ""


def _evidence(comparison: Comparison, found: Compared) -> str:
    if comparison.method is ComparisonMethod.RANDOMIZATION:
        tail = f"{format_value(100 * rejected_share(comparison))} %"
        where = "among" if found.regression else "not among"
        return f"{where} the worst choices of canaries at {tail} over all looks"
    return f"evidence {found.evidence.value} against {found.evidence.limit}"


def _nodes(count: int) -> str:
    return "node" if count == 1 else "nodes"
