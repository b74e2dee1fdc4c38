"""From which namespaces this node takes models, and where their files may come from.

The operator asks the same rules before it writes a release. A node asks them again, of its own file: whoever can write
a release, or is the operator, still gets nothing onto a node that was not granted. What runs is never touched.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from edgecanary.agent.deltas import Wanted
from edgecanary.agent.installer import Delay, wanted_files
from edgecanary.agent.ports import ModelKey
from edgecanary.agent.record import Target, Verdict
from edgecanary.api.edgenode import ModelResult
from edgecanary.base.errors import NotAllowed
from edgecanary.clients.tenancy import Tenancy
from edgecanary.rollout.grants import refusal


@dataclass
class Permits:
    """The rules of one node."""

    tenancy: Tenancy = field(default_factory=Tenancy)
    labels: Mapping[str, str] | None = None
    """The node's own labels; None while they were not heard."""

    def refusal(self, namespace: str) -> NotAllowed | None:
        """Why the node takes nothing new from a namespace; None when it does."""
        allowance = self.tenancy.of(namespace)
        if not allowance.is_divided:
            return None
        labels = self.labels
        if labels is None:
            return NotAllowed("", "the labels of this node were not heard yet", reason="NodeUnknown")
        return refusal(lambda: allowance.check_labels(labels))

    def check(self, key: ModelKey, target: Target) -> None:
        """Raises Delay for a model that the node must not take: rules may change, so it is asked again."""
        refused = self.refusal(key.namespace) or refusal(lambda: self._check_addresses(key, target))
        if refused is not None:
            raise Delay(
                Verdict(result=ModelResult.PRECHECK_FAILED, reason=refused.reason, message=refused.message)
            )

    def _check_addresses(self, key: ModelKey, target: Target) -> None:
        reach = self.tenancy.of(key.namespace).node_reach()
        for wanted in wanted_files(target):
            for label, url in _addresses(wanted):
                reach.check(url, name=label)


def _addresses(wanted: Wanted) -> list[tuple[str, str]]:
    urls = [(wanted.label, wanted.url), *((f"delta of {wanted.label}", delta.url) for delta in wanted.deltas)]
    return [(label, url) for label, url in urls if url is not None]
