"""What a simulated fleet is like, and what is wrong with a version of the model."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

START = datetime(2026, 1, 5, tzinfo=UTC)
"""The moment 0 of every simulation: a Monday, midnight in UTC."""

DAY = 86_400.0
HOUR = 3_600.0


@dataclass(frozen=True)
class Link:
    """A class of network links: how many of the nodes have it, and how fast it is."""

    name: str
    share: float
    megabits: float
    """Per second, the median; a download's own rate is lognormal around it."""


@dataclass(frozen=True)
class LabelMix:
    """The values of one node label with their shares of the fleet; the shares sum to 1."""

    key: str
    shares: Mapping[str, float]


LINKS = (Link("fiber", 0.5, 50.0), Link("lte", 0.35, 8.0), Link("slow", 0.15, 0.5))
HARDWARE = LabelMix("hardware", {"vnni": 0.5, "neon": 0.3, "generic": 0.2})


@dataclass(frozen=True)
class Duty:
    """How nodes come and go. Times in hours, shares between 0 and 1."""

    online: float = 0.97
    """Share of its time that a node is online; 1 never leaves."""
    away_hours: float = 2.0
    """Mean length of a time offline (exponential)."""
    power: float = 0.2
    """Share of the times offline in which the node has no power; in the others it serves on without a network."""


@dataclass(frozen=True)
class Traffic:
    """What the nodes answer, and how often the model is wrong although nothing is wrong with it."""

    requests_per_hour: float = 60.0
    """Of a median node."""
    error_rate: float = 0.01
    """Share of failed answers of a mean node."""
    wrong_rate: float = 0.05
    """Share of wrong answers among those that get feedback."""
    slow_rate: float = 0.05
    """Share of answers that take longer than the latency that presets judge by."""
    disagree_rate: float = 0.02
    """Share of shadow answers that differ from the other revision's."""
    feedback: float = 0.2
    """Share of answers that get feedback; the same share is asked of both revisions."""
    volume_sigma: float = 0.7
    """Of the lognormal spread of the nodes' request rates."""
    baseline_cv: float = 0.5
    """Coefficient of variation of the nodes' own bad rates (gamma)."""
    drift_sd: float = 0.2
    """Of each node's slow drift, in the logarithm of its bad rate."""
    drift_hours: float = 2.4
    """After this time a drift has fallen to 1/e."""
    burst_cv2: float = 0.5
    """Squared coefficient of variation of a node's bad rate from one quarter of an hour to the next."""
    volume_swing: float = 0.4
    rate_swing: float = 0.3
    """Daily swings of request rate and bad rate, common to the fleet."""


@dataclass(frozen=True)
class Trouble:
    """How often things go wrong that are no fault of the model; shares of tries."""

    download: float = 0.02
    verify: float = 0.001
    crash_days: float = 90.0
    """Mean time between two deaths of an agent's process, in days; 0 means never."""
    clock_spread_seconds: float = 2.0
    """Standard deviation of the nodes' clocks around the right time."""


@dataclass(frozen=True)
class FleetSettings:
    """A fleet to be drawn from a seed."""

    nodes: int = 12
    mixes: tuple[LabelMix, ...] = (HARDWARE,)
    labels: Mapping[str, str] = field(default_factory=dict)
    """Labels that every node has."""
    architecture: str = "amd64"
    memory_bytes: int = 8 * 2**30
    links: tuple[Link, ...] = LINKS
    duty: Duty = Duty()
    traffic: Traffic = Traffic()
    trouble: Trouble = Trouble()


@dataclass(frozen=True)
class Regression:
    """How a version is worse than the one before."""

    times: float = 1.0
    """By what bad events are more frequent."""
    share: float = 1.0
    """Share of the nodes that it shows on."""
    on: tuple[str, str] | None = None
    """Only on nodes with this label and value."""
    from_seconds: float = 0.0
    """Since the version was set; before that it is as good as the one before."""


@dataclass(frozen=True)
class Version:
    """A version of the model as it behaves on nodes. Shares are shares of the nodes."""

    name: str
    regression: Regression = Regression()
    probe_fails: float = 0.0
    """On these nodes the probe finds it at fault."""
    load_fails: float = 0.0
    """On these nodes it passes the probe and the serving process cannot load it."""
    crashes: float = 0.0
    """On these nodes it kills the agent's process, every time it is on trial."""
    undownloadable: float = 0.0
    """These nodes never get its files."""
    megabytes: float = 5.0


@dataclass(frozen=True)
class Pace:
    """The least time between two looks of the operator that events cause, in seconds.

    The real one looks 0.2 s after an event; news that come within the pause are looked at together.
    """

    rolling: float
    settled: float


def pace_for(nodes: int) -> Pace:
    """A pace at which news of a fleet of that size come in some ten at a time, not one by one."""
    return Pace(rolling=min(600.0, max(1.0, nodes / 20)), settled=min(6 * HOUR, max(1.0, nodes * 1.0)))
