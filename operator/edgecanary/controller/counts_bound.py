"""The latency above which an answer counts as bad: a bucket bound of both revisions' histograms."""

import math
from collections.abc import Mapping

from edgecanary.analysis.counting import fill_places
from edgecanary.analysis.query import BoundQuery, CountsQuery, QueryError, Vector
from edgecanary.controller.counts_clock import Moment
from edgecanary.controller.prometheus_session import Session

_QUANTILE_SECONDS = 6 * 3600
"""The part of the history that the stable revision's quantile is taken from: all of it would be costly."""

_RECENT_SECONDS = 3600


def find_bound(bound: BoundQuery, query: CountsQuery, moment: Moment, session: Session) -> str | QueryError:
    """The bucket bound nearest to the stable revision's quantile before the attempt, as its label says it."""
    window = max(60, min(query.history_seconds, _QUANTILE_SECONDS))
    recent = max(60, min(moment.now - moment.start, _RECENT_SECONDS))
    quantile, later, bounds_now, bounds_then = session.together(
        [
            lambda: _ask(session, bound.quantile, moment.start, window),
            lambda: _ask(session, bound.quantile, moment.now, recent),
            lambda: _ask(session, bound.bounds, moment.now, recent),
            lambda: _ask(session, bound.bounds, moment.start, window),
        ]
    )
    for answer in (quantile, later, bounds_now, bounds_then):
        if isinstance(answer, QueryError):
            return answer
    wanted = _number(quantile) or _number(later)
    if wanted is None:
        return QueryError("NoData", "the stable revision has no request durations to take a bound from yet")
    return choose_bound(
        wanted,
        _bounds((bounds_now, bounds_then), query.canary),
        _bounds((bounds_now, bounds_then), query.stable),
    )


def choose_bound(wanted: float, canary: Mapping[float, str], stable: Mapping[float, str]) -> str | QueryError:
    """The bound that both revisions have and that is nearest to the quantile, the lower of two."""
    if not canary:
        return QueryError("NoData", "the canary revision has no histogram of request durations yet")
    common = sorted(set(canary) & set(stable))
    if not common:
        text = "the revisions' histograms share no bucket bound, so their latencies cannot be compared"
        seen = f"canary {_spelt(canary)}; stable {_spelt(stable)}"
        return QueryError("BucketMismatch", f"{text}: {seen}; measure both with the same buckets")
    return stable[min(common, key=lambda value: (abs(value - wanted), value))]


def _ask(session: Session, promql: str, at: int, window: int) -> Vector | QueryError:
    return session.instant(fill_places(promql, {"window": f"{window}s"}), at=at)


def _number(answer: Vector | QueryError) -> float | None:
    if isinstance(answer, QueryError) or len(answer.samples) != 1:
        return None
    value = answer.samples[0].value
    return value if math.isfinite(value) else None


def _bounds(answers: tuple[Vector | QueryError, ...], revision: str) -> dict[float, str]:
    """The revision's finite bucket bounds, with their spelling."""
    found: dict[float, str] = {}
    for answer in answers:
        for sample in answer.samples if isinstance(answer, Vector) else ():
            labels = dict(sample.labels)
            if labels.get("revision") == revision and (value := _finite(labels.get("le", ""))) is not None:
                found[value] = labels["le"]
    return found


def _finite(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _spelt(bounds: Mapping[float, str]) -> str:
    return " ".join(bounds[value] for value in sorted(bounds)[:12]) or "none"
