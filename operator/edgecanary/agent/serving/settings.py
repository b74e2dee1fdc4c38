"""How the agent serves."""

from dataclasses import dataclass, field

from edgecanary.agent.serving.messages import HttpLimits


@dataclass(frozen=True)
class BatchSettings:
    """Whether requests that wait at the same time are run together."""

    max_size: int = 1
    """Rows, and requests, that are run together; 1 runs each request by itself."""
    max_delay_seconds: float = 0.0
    """How long a request waits for others; with 0 only those are taken that wait already."""


@dataclass(frozen=True)
class ShadowSettings:
    """Whether the other revision sees the inputs too."""

    percent: float = 0.0
    """Share of the requests that the previous revision sees as well; 0 for none."""
    margin_bytes: int = 64 * 2**20
    """What must be left of the node's memory beside a revision that is loaded only for that."""


@dataclass(frozen=True)
class ServingSettings:
    """Limits and sizes of the inference server."""

    http: HttpLimits = field(default_factory=HttpLimits)
    max_in_flight: int = 32
    """Requests accepted and not yet answered, over all models; beyond it the answer is 503."""
    max_in_flight_per_model: int = 24
    """The same for one model, so that others find room beside it."""
    request_seconds: float = 30.0
    """From the whole request to the answer; a model that takes longer is interrupted and has failed it."""
    load_seconds: float = 300.0
    """For a revision to be loaded and warmed; one that takes longer has failed."""
    hang_seconds: float = 1.5
    """For an interrupted inference, or a load that was given up, to end; one that goes on means that the runtime
    hangs."""
    give_up_seconds: float = 10.0
    """For a runtime that hangs to come back after all; then the process makes way for a new one."""
    threads: int = 1
    """Threads that one model computes on."""
    stop_seconds: float = 5.0
    """For requests to end when the server stops."""
    batch: BatchSettings = field(default_factory=BatchSettings)
    shadow: ShadowSettings = field(default_factory=ShadowSettings)
