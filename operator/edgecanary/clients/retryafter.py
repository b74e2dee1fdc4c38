"""What a server says about when to come again."""

import time
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

MAX_SECONDS = 3600.0
"""The longest wait that a server may ask for; its clock or its configuration may be wrong."""


def retry_after(headers: Mapping[str, str], now: float | None = None) -> float | None:
    """Seconds that `Retry-After` asks for, MAX_SECONDS at most; None when it says nothing understandable.

    A date is compared with the answer's own `Date`, so the node's clock does not matter; only without that
    it is compared with `now`, in seconds since 1970 (default: the node's clock).
    """
    text = headers.get("Retry-After", "").strip()
    if text.isascii() and text.isdigit():
        return min(float(text[:9]), MAX_SECONDS)
    until = _date(text)
    if until is None:
        return None
    sent = _date(headers.get("Date", ""))
    since = sent.timestamp() if sent is not None else time.time() if now is None else now
    return min(max(0.0, until.timestamp() - since), MAX_SECONDS)


def _date(text: str) -> datetime | None:
    try:
        found = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)
