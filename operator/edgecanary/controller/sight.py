"""The cluster as the cache has it at one moment: what the metrics are counted from."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from edgecanary.controller.views import EdgeNodeRecord, NodeRecord, ObjectKey, RolloutRecord


@dataclass(frozen=True)
class Sight:
    """Rollouts and signatures by key, nodes and their agents by the Node's name."""

    rollouts: Mapping[ObjectKey, RolloutRecord] = field(default_factory=dict)
    expiries: Mapping[ObjectKey, datetime] = field(default_factory=dict)
    """When the signed statement of an EdgeModel expires, for those that have one."""
    nodes: Mapping[str, NodeRecord] = field(default_factory=dict)
    agents: Mapping[str, EdgeNodeRecord] = field(default_factory=dict)
