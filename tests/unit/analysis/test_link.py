"""Links into Prometheus: they open just the query that was asked."""

from datetime import UTC, datetime
from urllib.parse import parse_qs, urlsplit

from hypothesis import given
from hypothesis import strategies as st

from edgecanary.analysis.link import LINK_LIMIT, prometheus_link

NOW = datetime(2026, 1, 5, 8, 30, tzinfo=UTC)


@given(st.text(min_size=1, max_size=200))
def test_any_query_survives_the_address(promql: str) -> None:
    link = prometheus_link("http://prometheus:9090/base", promql, NOW)
    assert link.isascii()
    assert urlsplit(link).path == "/base/graph"
    assert parse_qs(urlsplit(link).query, keep_blank_values=True)["g0.expr"] == [promql]


def test_the_page_shows_the_time_of_the_look() -> None:
    asked = parse_qs(urlsplit(prometheus_link("http://p", "up", NOW)).query)
    assert asked["g0.moment_input"] == ["2026-01-05 08:30:00"]


def test_a_query_that_is_too_long_has_no_link_rather_than_half_of_one() -> None:
    assert len(prometheus_link("http://p", "x" * (LINK_LIMIT - 100), NOW)) <= LINK_LIMIT
    assert prometheus_link("http://p", "x" * LINK_LIMIT, NOW) == ""


def test_without_a_query_or_an_address_there_is_no_link() -> None:
    assert prometheus_link("http://p", "", NOW) == ""
    assert prometheus_link("", "up", NOW) == ""
