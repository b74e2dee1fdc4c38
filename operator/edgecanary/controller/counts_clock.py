"""Which time it is for Prometheus: counts are asked for by its clock, steps began by the operator's."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from edgecanary.analysis.query import QueryError, Vector
from edgecanary.controller.prometheus_session import Session

_TOLERATED = 15


@dataclass(frozen=True)
class Moment:
    """Now and the begins of the attempt's steps, in Unix seconds by Prometheus's clock."""

    now: int
    steps: tuple[int, ...]
    offset: int

    @property
    def start(self) -> int:
        """When the first step began."""
        return self.steps[0]


def read_moment(session: Session, step_times: Sequence[datetime]) -> Moment | QueryError:
    """The moment by Prometheus's clock, or why it cannot be told."""
    before = time.time()
    answer = session.instant("time()")
    after = time.time()
    if isinstance(answer, QueryError):
        return answer
    now = _single(answer)
    if now is None:
        return QueryError("PrometheusGarbage", "Prometheus does not know the time: time() gives no number")
    return at_offset(int(now), step_times, clock_offset(now - (before + after) / 2))


def clock_offset(difference: float) -> int:
    """How far Prometheus's clock is ahead, in steps of 15 s: less is the network's doing."""
    return round(difference / _TOLERATED) * _TOLERATED if abs(difference) >= _TOLERATED else 0


def at_offset(now: int, step_times: Sequence[datetime], offset: int) -> Moment:
    """The moment when Prometheus's clock is that far ahead of the operator's."""
    return Moment(now, tuple(int(step.timestamp()) + offset for step in step_times), offset)


def _single(answer: Vector) -> float | None:
    return answer.samples[0].value if len(answer.samples) == 1 else None
