"""What the reconcilers work with."""

from dataclasses import dataclass, field

from edgecanary.base.clock import Clock
from edgecanary.clients.events import EventRecorder
from edgecanary.clients.kube import KubeClient, Secrets
from edgecanary.clients.tenancy import Tenancy
from edgecanary.controller.cache import Cache
from edgecanary.controller.metrics import OperatorMetrics
from edgecanary.controller.notifier import NoNotes, Notes
from edgecanary.controller.permit import Permit


@dataclass(frozen=True)
class Tools:
    """Access to the cluster, the picture of it, the clock, leave to write, and who hears of it."""

    kube: KubeClient
    secrets: Secrets
    cache: Cache
    events: EventRecorder
    metrics: OperatorMetrics
    clock: Clock
    permit: Permit = field(default_factory=Permit.always)
    notes: Notes = field(default_factory=NoNotes)
    tenancy: Tenancy = field(default_factory=Tenancy)
