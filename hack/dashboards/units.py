"""Numbers as a person reads them, by the units that the dashboards use."""

from collections.abc import Sequence

_SPANS = ((86_400.0, "d"), (3_600.0, "h"), (60.0, "min"), (1.0, "s"), (0.001, "ms"))
_BYTES = ((2.0**30, "GiB"), (2.0**20, "MiB"), (2.0**10, "KiB"), (1.0, "B"))
_COUNTS = ((1e9, "G"), (1e6, "M"), (1e3, "k"), (1.0, ""))
_SUFFIX = {"reqps": " req/s", "ops": "/s", "Bps": "/s"}


def shown(value: float, unit: str) -> str:
    """The value with its unit."""
    if unit == "percentunit":
        return f"{_digits(value * 100)} %"
    scales: Sequence[tuple[float, str]] = _COUNTS
    if unit == "s":
        scales = _SPANS
    elif unit in {"bytes", "Bps"}:
        scales = _BYTES
    size = abs(value)
    factor, word = next((scale for scale in scales if size >= scale[0]), scales[-1])
    if not size:
        factor, word = 1.0, "s" if unit == "s" else ""
    return f"{_digits(value / factor)} {word}".strip() + _SUFFIX.get(unit, "")


def _digits(value: float) -> str:
    text = f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}"
    return text if "e" not in text else f"{value:.4f}"
