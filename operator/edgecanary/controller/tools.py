"""What the reconcilers work with."""

from dataclasses import dataclass, field

from edgecanary.base.clock import Clock
from edgecanary.clients.events import EventRecorder
from edgecanary.clients.kube import KubeClient, Secrets
from edgecanary.clients.tenancy import Tenancy
from edgecanary.controller.cache import Cache
from edgecanary.controller.metrics import OperatorMetrics


@dataclass(frozen=True)
class Tools:
    """Access to the cluster, the picture of it, and the clock."""

    kube: KubeClient
    secrets: Secrets
    cache: Cache
    events: EventRecorder
    metrics: OperatorMetrics
    clock: Clock
    tenancy: Tenancy = field(default_factory=Tenancy)
