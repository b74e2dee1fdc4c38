"""How the agent serves."""

from dataclasses import dataclass, field

from edgecanary.agent.serving.messages import HttpLimits


@dataclass(frozen=True)
class ServingSettings:
    """Limits and sizes of the inference server."""

    http: HttpLimits = field(default_factory=HttpLimits)
    max_in_flight: int = 32
    """Inference requests accepted and not yet answered, over all models; beyond it the answer is 503."""
    request_seconds: float = 30.0
    """From the whole request to the answer; a model that takes longer is interrupted and has failed it."""
    hang_seconds: float = 1.5
    """For an interrupted inference to end; one that goes on means that the runtime hangs."""
    give_up_seconds: float = 10.0
    """For a runtime that hangs to come back after all; then the process makes way for a new one."""
    threads: int = 1
    """Threads that one model computes on."""
    stop_seconds: float = 5.0
    """For requests to end when the server stops."""
