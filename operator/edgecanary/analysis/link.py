"""Links into Prometheus's own web page."""

from datetime import UTC, datetime

LINK_LIMIT = 16_384

_PLAIN = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")


def prometheus_link(url: str, promql: str, at: datetime) -> str:
    """Address of the query's table as of `at` in the web page of the Prometheus at `url`.

    Empty when there is no query, or when it would be too long: half a query is another query.
    """
    if not url or not promql:
        return ""
    moment = _escape(at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S"))
    link = f"{url.rstrip('/')}/graph?g0.expr={_escape(promql)}&g0.tab=1&g0.moment_input={moment}"
    return link if len(link) <= LINK_LIMIT else ""


def _escape(text: str) -> str:
    return "".join(chr(byte) if byte in _PLAIN else f"%{byte:02X}" for byte in text.encode())
