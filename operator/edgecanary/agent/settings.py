"""The agent's settings."""

from dataclasses import dataclass, field
from pathlib import Path

from edgecanary.agent.budgets import Budgets
from edgecanary.agent.probe import ProbeLimits
from edgecanary.agent.reporter import ReportPace
from edgecanary.agent.serving.settings import ServingSettings
from edgecanary.agent.updater import RetryPace
from edgecanary.clients.download import DownloadLimits
from edgecanary.clients.nodeaccess import ApiAccess

DEFAULT_NAMESPACE = "edgecanary-system"
DEFAULT_BUDGETS = Budgets(disk_margin_bytes=64 * 2**20)


@dataclass(frozen=True)
class AgentSettings:
    """All that one agent is told at its start."""

    node: str
    """Name of the Node that it runs on."""
    data_dir: Path
    access: ApiAccess
    listen: str = "127.0.0.1:9010"
    """Where inference is served."""
    metrics_address: str = ":9011"
    system_namespace: str = DEFAULT_NAMESPACE
    """Where the node's EdgeNode lives."""
    accelerators: tuple[str, ...] = ()
    budgets: Budgets = DEFAULT_BUDGETS
    download_ca_file: Path | None = None
    download: DownloadLimits = field(default_factory=DownloadLimits)
    retry: RetryPace = field(default_factory=RetryPace)
    report: ReportPace = field(default_factory=ReportPace)
    probe: ProbeLimits = field(default_factory=ProbeLimits)
    serving: ServingSettings = field(default_factory=ServingSettings)
