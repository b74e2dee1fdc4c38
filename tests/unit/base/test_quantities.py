"""Quantities, decimals and durations."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from edgecanary.base.clock import SystemClock, to_rfc3339
from edgecanary.base.errors import InvalidInput
from edgecanary.base.quantities import human_bytes, human_seconds, parse_bytes


@pytest.mark.parametrize(
    ("text", "count"), [("1", 1), ("64Mi", 64 * 2**20), ("1.5Gi", 3 * 2**29), ("2k", 2000), ("3G", 3 * 10**9)]
)
def test_quantities_of_bytes_mean_what_kubernetes_says(text: str, count: int) -> None:
    assert parse_bytes(text, field="f") == count


@pytest.mark.parametrize("text", ["", "Mi", "-1", "1e9", "1 Gi", "1mi"])
def test_what_is_no_quantity_is_refused_by_field(text: str) -> None:
    with pytest.raises(InvalidInput, match=r"spec\.x: must be a quantity of bytes such as 256Mi"):
        parse_bytes(text, field="spec.x")


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0 s"), (59.6, "1 min"), (3900, "1 h 5 min"), (90061, "1 d 1 h"), (-5, "0 s")]
)
def test_durations_name_their_two_largest_units(seconds: float, text: str) -> None:
    assert human_seconds(seconds) == text


@pytest.mark.parametrize(
    ("count", "text"), [(10, "10 B"), (1536, "1.5 KiB"), (3 * 2**20, "3.0 MiB"), (2**41, "2.0 TiB")]
)
def test_byte_counts_are_readable(count: int, text: str) -> None:
    assert human_bytes(count) == text


def test_times_are_written_in_utc() -> None:
    berlin = timezone(timedelta(hours=1))
    assert to_rfc3339(datetime(2026, 1, 5, 9, 0, tzinfo=berlin)) == "2026-01-05T08:00:00Z"


def test_the_system_clock_knows_its_zone() -> None:
    assert SystemClock().now().tzinfo is UTC
