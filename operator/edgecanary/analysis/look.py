"""One look at a metric: what the answers say by themselves, before looks in a row are counted."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import Decimal

from edgecanary.api.rollout_status import Evidence, MeasurementOutcome, NodeEvidence

_VALUE_LIMIT = 40


@dataclass(frozen=True)
class Look:
    """What one answer says. `applies` is false for a comparison that has nothing to compare with."""

    outcome: MeasurementOutcome
    reason: str
    message: str
    value: str | None = None
    samples: int | None = None
    baseline: str | None = None
    evidence: Evidence | None = None
    worst_nodes: tuple[NodeEvidence, ...] = ()
    applies: bool = True


NOT_APPLICABLE = "NotApplicable"
"""Reason of a comparison in the very first rollout, which has no stable revision to compare with."""

_FIRST = (
    MeasurementOutcome.BEYOND,
    MeasurementOutcome.ERROR,
    MeasurementOutcome.NO_DATA,
    MeasurementOutcome.TOO_FEW_SAMPLES,
    MeasurementOutcome.WITHIN,
)
"""Whose outcome counts when a metric is judged in two ways: beyond in one is beyond, within needs both."""


def combine(looks: Sequence[Look]) -> Look:
    """Several looks at one metric as one: the value of the first that has one, the outcome of the worst."""
    deciding = [look for look in looks if look.applies] or list(looks)
    worst = min(deciding, key=lambda look: _FIRST.index(look.outcome))
    others = [look.message for look in looks if look is not worst]
    shown = next((look for look in looks if look.value is not None), worst)
    return replace(
        worst,
        message="; ".join([worst.message, *others]),
        value=shown.value,
        samples=shown.samples,
        baseline=shown.baseline,
        evidence=next((look.evidence for look in looks if look.evidence is not None), None),
        worst_nodes=next((look.worst_nodes for look in looks if look.worst_nodes), ()),
    )


def format_value(value: float) -> str:
    """A number with six significant digits as a plain decimal; what is too long for that, with an exponent."""
    text = f"{Decimal(f'{value:.6g}'):f}"
    if len(text) > _VALUE_LIMIT:
        return "0" if abs(value) < 1 else f"{value:.6g}"
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return "0" if text == "-0" else text
