"""The agent's settings."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from edgecanary.agent.diskbudget import DiskBudget
from edgecanary.agent.preconditions import Conditions
from edgecanary.agent.probe import ProbeLimits
from edgecanary.agent.reporter import ReportPace
from edgecanary.agent.serving.settings import ServingSettings
from edgecanary.agent.surroundings import Places
from edgecanary.agent.updater import RetryPace
from edgecanary.clients.download import DownloadPolicy
from edgecanary.clients.keyfiles import TrustRoots
from edgecanary.clients.localhook import LocalHook
from edgecanary.clients.nodeaccess import ApiAccess
from edgecanary.clients.tenancy import Tenancy

if TYPE_CHECKING:
    from edgecanary.agent.push.settings import PushSettings

DEFAULT_NAMESPACE = "edgecanary-system"
DEFAULT_LISTEN = "127.0.0.1:9010"


@dataclass(frozen=True)
class AgentSettings:
    """All that one agent is told at its start."""

    node: str
    """Name of the Node that it runs on."""
    data_dir: Path
    access: ApiAccess
    listen: tuple[str, ...] = (DEFAULT_LISTEN,)
    """Where inference is served: each `host:port` or `unix:/path`."""
    metrics_address: str = ":9011"
    system_namespace: str = DEFAULT_NAMESPACE
    """Where the node's EdgeNode lives."""
    memory_budget_bytes: int | None = None
    """Memory that the loaded models may take together; None is without a limit."""
    accelerators: tuple[str, ...] = ()
    disk: DiskBudget = field(default_factory=DiskBudget)
    conditions: Conditions = field(default_factory=Conditions)
    """What the device must be like for an update."""
    places: Places = field(default_factory=Places)
    notify_hook: LocalHook | None = None
    """Told which revision is active."""
    roots: TrustRoots | None = None
    """The keys that models must be signed with; None: models need no signature."""
    download: DownloadPolicy = field(default_factory=DownloadPolicy)
    tenancy: Tenancy = field(default_factory=Tenancy)
    """From which namespaces the node takes models, and where their files may come from."""
    download_spread_seconds: float = 10.0
    """A download begins at a random time within so many seconds after its release was heard."""
    retry: RetryPace = field(default_factory=RetryPace)
    report: ReportPace = field(default_factory=ReportPace)
    probe: ProbeLimits = field(default_factory=ProbeLimits)
    serving: ServingSettings = field(default_factory=ServingSettings)
    push: "PushSettings | None" = None
    """Remote write of the metrics; None: they are only served."""
