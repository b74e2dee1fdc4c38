"""The PromQL behind comparisons: events and bad events per node, which a person can paste into Prometheus."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from edgecanary.analysis.labels import DURATION, FEEDBACK, REQUESTS, SHADOW, of_both, of_revision
from edgecanary.analysis.query import BoundQuery, CountsQuery
from edgecanary.analysis.template import Scope
from edgecanary.api.analysis import Comparison, ComparisonMethod, Preset

MAX_TICKS = 576
"""Ticks that the history is cut into at most."""

MIN_TICK_SECONDS = 10


@dataclass(frozen=True)
class Attempt:
    """What comparisons need to know of the rollout's attempt.

    `step_times` are when its steps began; `bound` is the latency bound that was frozen for it, in seconds as a
    decimal, empty while there is none.
    """

    step_times: tuple[datetime, ...]
    history_seconds: int
    interval_seconds: int
    bound: str = ""


def tick_seconds(history_seconds: int, interval_seconds: int) -> int:
    """The tick that the history is learned on: not below the interval between looks, nor below ten seconds."""
    return max(interval_seconds, -(-history_seconds // MAX_TICKS), MIN_TICK_SECONDS)


def build_counts(preset: Preset, comparison: Comparison, scope: Scope, attempt: Attempt) -> CountsQuery:
    """What to ask for a comparison by counts. The preset is one that counts events."""
    counted = _COUNTED[preset]
    latency = counted == f"{DURATION}_bucket"
    total, bad = _events(preset, scope)
    bound: BoundQuery | None = None
    if latency and not attempt.bound:
        bound = _bound_query(preset, scope)
    elif latency:
        total, bad = (fill_places(text, {"bound": le_matcher(attempt.bound)}) for text in (total, bad))
    paired = comparison.method is ComparisonMethod.PAIRED
    sampled = f"{DURATION}_count" if latency else counted
    return CountsQuery(
        total=total,
        bad=bad,
        present=f"max by (node, revision) (count_over_time({sampled}{{{of_both(scope)}$nodes}}[$window]))",
        began=_began(sampled, scope),
        canary=scope.canary,
        stable=scope.stable,
        step_times=attempt.step_times,
        history_seconds=0 if paired else attempt.history_seconds,
        tick_seconds=tick_seconds(attempt.history_seconds, attempt.interval_seconds),
        warmup_seconds=comparison.warmup_seconds,
        interval_seconds=attempt.interval_seconds,
        fixed_looks=chooses(comparison),
        strata=scope.strata if chooses(comparison) else (),
        bound=bound,
    )


def chooses(comparison: Comparison) -> bool:
    """Whether the method compares choices of canaries: its looks are fixed, and it must know the strata."""
    return comparison.method is ComparisonMethod.RANDOMIZATION


def shown_query(query: CountsQuery, now: datetime) -> str:
    """The comparison in one query for a person: the share of bad events by revision since the rollout began."""
    seconds = max(1, int((now - query.step_times[0]).total_seconds()) + 1) if query.step_times else 60
    places = {"window": f"{seconds}s", "nodes": "", "bound": 'le="…"'}
    bad, total = (
        fill_places(text, places).replace("by (node, revision)", "by (revision)")
        for text in (query.bad, query.total)
    )
    return f"({bad}) / ({total})"


def fill_places(text: str, values: Mapping[str, str]) -> str:
    """The text with its `$name` places filled in; places without a value stay."""
    for name, value in values.items():
        text = text.replace(f"${name}", value)
    return text


def le_matcher(bound: str) -> str:
    """Label matcher for the bucket of that bound, in any of its spellings (`1`, `1.0`)."""
    whole = bound.removesuffix(".0")
    spellings = {whole, f"{whole}.0"} if "." not in whole else {bound}
    if len(spellings) == 1:
        return f'le="{bound}"'
    return f'le=~"{whole}|{whole}[.]0"'


_COUNTED: Mapping[Preset, str] = {
    Preset.ERROR_RATE: REQUESTS,
    Preset.ACCURACY: FEEDBACK,
    Preset.DISAGREEMENT: SHADOW,
    Preset.LATENCY_P95: f"{DURATION}_bucket",
    Preset.LATENCY_P99: f"{DURATION}_bucket",
}


def _events(preset: Preset, scope: Scope) -> tuple[str, str]:
    """All events and the bad ones."""
    match preset:
        case Preset.ACCURACY:
            return _sum(FEEDBACK, scope), _sum(FEEDBACK, scope, ',outcome="incorrect"')
        case Preset.DISAGREEMENT:
            # Only pairs in which one of the two was right tell the revisions apart.
            discordant = ',outcome=~"canary_worse|stable_worse"'
            return _sum(SHADOW, scope, discordant), _sum(SHADOW, scope, ',outcome="canary_worse"')
        case Preset.LATENCY_P95 | Preset.LATENCY_P99:
            # Nodes whose histogram lacks the bound are left out of both: they are unknown, not fast.
            within = _sum(f"{DURATION}_bucket", scope, ",$bound")
            every = _sum(f"{DURATION}_count", scope)
            return f"{every} and on (node, revision) {within}", f"{every} - on (node, revision) {within}"
        case _:
            return _sum(REQUESTS, scope), _sum(REQUESTS, scope, ',outcome="error"')


def _sum(metric: str, scope: Scope, more: str = "") -> str:
    return f"sum by (node, revision) (increase({metric}{{{of_both(scope)}{more}$nodes}}[$window]))"


def _began(metric: str, scope: Scope) -> str:
    selected = f"{metric}{{{of_revision(scope, scope.canary)}$nodes}}"
    return f"min by (node) (min_over_time((timestamp({selected}) >= $start)[$window:$step]))"


def _bound_query(preset: Preset, scope: Scope) -> BoundQuery:
    quantile = "0.99" if preset is Preset.LATENCY_P99 else "0.95"
    stable = f"{DURATION}_bucket{{{of_revision(scope, scope.stable)}}}"
    return BoundQuery(
        quantile=f"histogram_quantile({quantile}, sum by (le) (increase({stable}[$window])))",
        bounds=f"count by (revision, le) (count_over_time({DURATION}_bucket{{{of_both(scope)}}}[$window]))",
    )
