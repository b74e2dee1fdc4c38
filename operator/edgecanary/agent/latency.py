"""Latencies in few numbers: counts by buckets whose bounds grow by the square root of two. Pure."""

from bisect import bisect_left
from collections.abc import Sequence

_FIRST_SECONDS = 1e-4
_HALVES = 41
"""Half powers of two from 0.1 ms: the last bound is beyond any request's time limit."""

BOUNDS = tuple(_FIRST_SECONDS * 2 ** (half / 2) for half in range(_HALVES))
"""Upper bounds of the buckets in seconds, without the last one, which has none."""

BUCKETS = _HALVES + 1


def bucket_of(seconds: float) -> int:
    """The bucket that a latency belongs to."""
    return bisect_left(BOUNDS, seconds)


def quantile_bucket(counts: Sequence[int], share: float) -> int | None:
    """The bucket in which the share of all counted latencies is reached; None where there is none."""
    wanted = share * sum(counts)
    seen = 0
    for bucket, count in enumerate(counts):
        seen += count
        if count and seen >= wanted:
            return bucket
    return None


def at_least_seconds(bucket: int) -> float:
    """What a latency in the bucket exceeds."""
    return BOUNDS[bucket - 1] if bucket else 0.0


def at_most_seconds(bucket: int) -> float:
    """What a latency in the bucket does not exceed; for the last bucket its lower bound, the only one there is."""
    return BOUNDS[min(bucket, _HALVES - 1)]
