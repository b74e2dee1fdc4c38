"""When a server says to come again: seconds or a date, and clocks that are wrong."""

import pytest

from edgecanary.clients.retryafter import MAX_SECONDS, retry_after

NOON = "Thu, 01 Jan 2026 12:00:00 GMT"


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0.0),
        ("120", 120.0),
        (" 7 ", 7.0),
        ("86400", MAX_SECONDS),
        ("9" * 5000, MAX_SECONDS),
        ("Thu, 01 Jan 2026 12:01:30 GMT", 90.0),
        ("Thursday, 01-Jan-26 12:01:30 GMT", 90.0),
        ("Thu, 01 Jan 2026 11:00:00 GMT", 0.0),
        ("Thu, 01 Jan 2099 00:00:00 GMT", MAX_SECONDS),
        ("", None),
        ("soon", None),
        ("-5", None),
        ("1.5", None),
        ("٣", None),
        ("Thu, 99 Jan 2026 12:00:00 GMT", None),
        ("Thu, 01 Jan 99999999999 12:00:00 GMT", None),
    ],
)
def test_what_the_server_asks_for(text: str, seconds: float | None) -> None:
    assert retry_after({"Retry-After": text, "Date": NOON}, now=0.0) == seconds


@pytest.mark.parametrize("now", [0.0, 1e9, 4e9])
def test_a_date_is_measured_by_the_servers_clock_whatever_the_nodes_says(now: float) -> None:
    assert retry_after({"Retry-After": "Thu, 01 Jan 2026 12:05:00 GMT", "Date": NOON}, now=now) == 300.0


def test_without_the_servers_time_the_nodes_own_has_to_do_and_the_cap_bounds_its_error() -> None:
    until = {"Retry-After": "Thu, 01 Jan 2026 12:05:00 GMT"}
    noon = 1767268800.0
    assert retry_after(until, now=noon) == 300.0
    assert retry_after(until, now=noon + 86_400) == 0.0
    assert retry_after(until, now=0.0) == MAX_SECONDS


def test_no_header_asks_for_nothing() -> None:
    assert retry_after({}) is None
