"""What each method finds in the counts of a comparison, in one form."""

import hashlib
import math
from dataclasses import dataclass
from decimal import Decimal

import numpy as np

from edgecanary.analysis import negative_binomial, paired, randomization
from edgecanary.analysis.baseline import Baseline, learn
from edgecanary.analysis.counts import ComparisonCounts, Floats
from edgecanary.analysis.exposure import detectable_ratio, needed_exposure
from edgecanary.analysis.look import format_value
from edgecanary.analysis.outlook import remaining
from edgecanary.analysis.query import CountsQuery
from edgecanary.api.analysis import Comparison, ComparisonMethod
from edgecanary.api.rollout_status import Evidence, NodeEvidence

WORST_NODES = 3
MOST_EVIDENCE = 1e9


@dataclass(frozen=True)
class Compared:
    """What a comparison found.

    `regression` and `cleared` are the verdict: worse beyond the limit, and enough seen to promote. `total`, `bad`
    and `expected` are events of the canary nodes that were compared. `detectable` is the increase that would be
    found now, `most_detectable` the one that any amount of events of these nodes can show. `more` is how many more
    events are needed and `seconds` how long that takes; None where no number of them will do, or nobody can tell.
    `obstacle` says why the method can't judge.
    """

    regression: bool
    cleared: bool
    total: float
    bad: float
    expected: float
    detectable: float
    most_detectable: float
    evidence: Evidence
    worst: tuple[NodeEvidence, ...] = ()
    more: float | None = None
    seconds: float | None = None
    obstacle: str = ""

    @property
    def share(self) -> float:
        """Bad events of all."""
        return self.bad / self.total if self.total > 0 else 0.0

    @property
    def expected_share(self) -> float:
        """Bad events that were expected, of all."""
        return self.expected / self.total if self.total > 0 else 0.0


def compare(comparison: Comparison, query: CountsQuery, counts: ComparisonCounts) -> Compared:
    """What the comparison's method finds; the method is one that works on counts."""
    if comparison.method is ComparisonMethod.PAIRED:
        return _compare_pairs(comparison, counts)
    baseline = learn(counts.history)
    if comparison.method is ComparisonMethod.RANDOMIZATION:
        return _compare_choices(comparison, query, counts, baseline)
    return _compare_nodes(comparison, counts, baseline)


def evidence_limit(comparison: Comparison) -> float:
    """The evidence at which the revision is taken back: 1 / (1 - confidence)."""
    return float(1 / (1 - Decimal(comparison.confidence)))


def rejected_share(comparison: Comparison) -> float:
    """The accepted chance of a false rollback: 1 - confidence."""
    return float(1 - Decimal(comparison.confidence))


def _compare_nodes(comparison: Comparison, counts: ComparisonCounts, baseline: Baseline) -> Compared:
    found = negative_binomial.weigh(baseline, counts.since)
    limit, value = evidence_limit(comparison), _bounded(found.value)
    return _weighed(comparison, counts, baseline, found, regression=value >= limit, shown=(value, limit))


def _compare_choices(
    comparison: Comparison, query: CountsQuery, counts: ComparisonCounts, baseline: Baseline
) -> Compared:
    """Evidence is the share of choices that look at least as bad; exposure is that of the nodes' comparison."""
    found = negative_binomial.weigh(baseline, counts.since)
    alpha = rejected_share(comparison)
    real = randomization.switch_order(counts.since)
    strata = randomization.strata_of(counts.nodes, query.strata)
    possible = randomization.possible_choices(real, strata)
    if possible < randomization.LEAST_CHOICES:
        text = (
            f"Randomization needs {randomization.LEAST_CHOICES} ways to choose the canary nodes, and {len(real)} of "
            f"{len(counts.nodes)} nodes{_in_strata(query)} give {possible}; "
            "use NegativeBinomial, or a step with more nodes"
        )
        return _weighed(
            comparison, counts, baseline, found, regression=False, shown=(1.0, alpha), obstacle=text
        )
    choices = randomization.draw_choices(real, strata, _seed(query))
    family = randomization.replay(baseline, counts.since, choices, alpha)
    rejected = bool(family.found)
    return _weighed(
        comparison,
        counts,
        baseline,
        found,
        regression=rejected,
        shown=(float(family.place), float(family.spent)),
    )


def _in_strata(query: CountsQuery) -> str:
    return f" in {len(query.strata)} strata" if len(query.strata) > 1 else ""


def _weighed(
    comparison: Comparison,
    counts: ComparisonCounts,
    baseline: Baseline,
    found: negative_binomial.Evidence,
    *,
    regression: bool,
    shown: tuple[float, float],
    obstacle: str = "",
) -> Compared:
    needed = needed_exposure(float(comparison.detect_ratio))
    exposure, detectable = float(found.exposure), float(found.detectable_ratio)
    total = float(found.total.sum())
    control_bad = float(np.where(counts.since.canary, 0.0, counts.since.bad).sum())
    left = remaining(baseline, found, needed, _compared_ticks(counts), control_bad)
    reachable = math.isfinite(left.requests)
    return Compared(
        regression=regression,
        cleared=exposure >= needed and not obstacle,
        total=total,
        bad=float(found.bad.sum()),
        expected=float(found.expected.sum()),
        detectable=detectable,
        evidence=Evidence(
            value=format_value(shown[0]),
            limit=format_value(shown[1]),
            exposure=format_value(exposure),
            exposure_needed=format_value(needed),
            detectable_ratio=format_value(detectable) if math.isfinite(detectable) else "",
            canary_nodes=int(found.canary_nodes),
            control_nodes=int(found.control_nodes),
        ),
        worst=_worst(counts.nodes, found.bad, found.expected, found.total, found.dispersion),
        most_detectable=_most_detectable(found),
        more=left.requests if reachable else None,
        seconds=left.ticks * counts.tick_seconds if reachable else None,
        obstacle=obstacle,
    )


def _compare_pairs(comparison: Comparison, counts: ComparisonCounts) -> Compared:
    canary = counts.since.canary
    total = np.where(canary, counts.since.total, 0.0).sum(-1)
    bad = np.where(canary, counts.since.bad, 0.0).sum(-1)
    found = paired.weigh_pairs(bad.sum(), (total - bad).sum())
    needed = needed_exposure(float(comparison.detect_ratio))
    limit, value, exposure = evidence_limit(comparison), _bounded(found.value), float(found.exposure)
    pairs, detectable = float(found.pairs), float(found.detectable_ratio)
    growth = max(0.0, needed / exposure - 1.0) if exposure > 0 else None
    return Compared(
        regression=value >= limit,
        cleared=exposure >= needed,
        total=pairs,
        bad=float(bad.sum()),
        expected=pairs / 2,
        detectable=detectable,
        evidence=Evidence(
            value=format_value(value),
            limit=format_value(limit),
            exposure=format_value(exposure),
            exposure_needed=format_value(needed),
            detectable_ratio=format_value(detectable) if math.isfinite(detectable) else "",
            canary_nodes=int((total > 0).sum()),
        ),
        worst=_worst(counts.nodes, bad, total / 2, total, np.zeros(len(total))),
        most_detectable=1.0,
        more=None if growth is None else pairs * growth,
        seconds=None if growth is None else _compared_ticks(counts) * growth * counts.tick_seconds,
    )


def _most_detectable(found: negative_binomial.Evidence) -> float:
    """The smallest increase that any number of events of these nodes can show while nodes vary as they do."""
    known = float((1.0 / np.maximum(found.dispersion[found.expected > 0], 1e-9)).sum())
    exposure = known / (1.0 + known * float(found.uncertainty))
    return float(detectable_ratio(np.asarray(exposure)))


def _compared_ticks(counts: ComparisonCounts) -> float:
    """For how many ticks canary nodes have been counted."""
    since = counts.since
    return float(since.ticks[np.where(since.canary, since.total, 0.0).sum(0) > 0].sum())


def _worst(
    nodes: tuple[str, ...], bad: Floats, expected: Floats, total: Floats, dispersion: Floats
) -> tuple[NodeEvidence, ...]:
    """The nodes with the most bad events beyond what is expected, in units of chance; those with any."""
    score = (bad - expected) / np.sqrt(expected * (1.0 + dispersion * expected) + 0.5)
    order = np.lexsort((np.arange(len(nodes)), -score))
    return tuple(
        NodeEvidence(
            name=nodes[number],
            bad=format_value(round(float(bad[number]), 1)),
            expected=format_value(round(float(expected[number]), 1)),
            total=format_value(round(float(total[number]))),
        )
        for number in order[:WORST_NODES]
        if bad[number] > 0 and total[number] > 0
    )


def _bounded(value: Floats) -> float:
    """Evidence as a number that people can read."""
    return min(float(value), MOST_EVIDENCE)


def _seed(query: CountsQuery) -> int:
    """The same for all looks of an attempt, and not to be chosen by anybody."""
    begin = query.step_times[0].isoformat() if query.step_times else ""
    return int.from_bytes(hashlib.sha256(f"{query.canary}/{begin}".encode()).digest()[:8], "big")
