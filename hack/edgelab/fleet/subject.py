"""One model's rollout on a fleet: what the API server, the nodes and the agents say of it."""

from collections.abc import Callable, Iterable, Mapping
from typing import Protocol, TypeVar

from edgecanary.api.edgemodel import EdgeModel
from edgecanary.api.edgenode import ModelState, NodeModelStatus
from edgecanary.api.meta import Condition, ConditionType
from edgecanary.api.modelrelease import ModelReleaseSpec
from edgecanary.api.rollout import Rollout
from edgecanary.api.rollout_status import RolloutStatus
from edgecanary.rollout.cohort import Share, Stratum, quotas, stratum_of
from edgecanary.rollout.conditions import find_condition, is_true
from edgecanary.rollout.rank import rank, salt_for
from edgelab.api import ApiClient
from edgelab.fleet.ask import Asked, NoAnswerError, ask
from edgelab.fleet.layout import NodePlan
from edgelab.fleet.mirror import GROUP, Mirror
from edgelab.fleet.programs import answers
from edgelab.fleet.waiting import NotReachedError
from edgelab.modelzoo import Field, Zoo

T = TypeVar("T")

WAIT_SECONDS = 120.0


class Surroundings(Protocol):
    """Where a model is rolled out: a fleet of processes, or a whole cluster."""

    @property
    def admin(self) -> ApiClient:
        """A client that may do everything."""

    @property
    def mirror(self) -> Mirror:
        """The live copy of our objects."""

    @property
    def agents(self) -> Mapping[str, Asked]:
        """The agents by node."""

    @property
    def plans(self) -> Mapping[str, NodePlan]:
        """The nodes by name."""

    @property
    def zoo(self) -> Zoo:
        """The models to roll out."""

    @property
    def field(self) -> Field:
        """The files to ask the models about."""


class Subject:
    """A model and the Rollout of the same name.

    Args:
        fleet: where it is.
        namespace: of both.
        name: of both.
    """

    def __init__(self, fleet: Surroundings, namespace: str, name: str) -> None:
        self.fleet = fleet
        self.namespace = namespace
        self.name = name

    def path(self, plural: str) -> str:
        """The API path of the object of this name."""
        return f"{GROUP}/namespaces/{self.namespace}/{plural}/{self.name}"

    def rollout(self) -> Rollout:
        """The Rollout as the API server has it now."""
        return Rollout.model_validate(self.fleet.admin.get(self.path("rollouts")))

    def model(self) -> EdgeModel:
        """The EdgeModel as the API server has it now."""
        return EdgeModel.model_validate(self.fleet.admin.get(self.path("edgemodels")))

    def release(self) -> ModelReleaseSpec:
        """What the ModelRelease says, as the API server has it now."""
        found = self.fleet.admin.get(self.path("modelreleases"))
        return ModelReleaseSpec.model_validate(found["spec"])

    def status(self) -> RolloutStatus:
        """The Rollout's status as the live copy has it; an empty one when there is no Rollout."""
        found = self.fleet.mirror.rollout(self.namespace, self.name)
        return found.status if found else RolloutStatus()

    def reason(self) -> str:
        """The reason of the Rollout's Ready condition; empty before the operator has seen it."""
        ready = ready_of(self.status())
        return ready.reason if ready else ""

    def message(self) -> str:
        """The message of the Rollout's Ready condition."""
        ready = ready_of(self.status())
        return ready.message if ready else ""

    def step(self, revision: str) -> str | None:
        """The name of the step that the revision is in, None when it is not the canary."""
        status = self.status()
        if status.step is None or status.canary is None or status.canary.revision != revision:
            return None
        return status.step.name

    def is_rejected(self, revision: str) -> bool:
        """Whether the Rollout's status says that the revision was taken back."""
        return any(entry.revision == revision for entry in self.status().rejected)

    def accepted(self, revision: str) -> bool:
        """Whether the EdgeModel is Ready with this revision."""
        found = self.fleet.mirror.model(self.namespace, self.name)
        return (
            found is not None
            and found.status.revision == revision
            and found.status.observed_generation == found.metadata.generation
            and is_true(found.status.conditions, ConditionType.READY)
        )

    def reports(self) -> dict[str, NodeModelStatus]:
        """What each node last reported."""
        return self.fleet.mirror.reports(self.namespace, self.name)

    def running(self, revision: str) -> set[str]:
        """The nodes that reported the revision as active and settled."""
        return {
            node
            for node, report in self.reports().items()
            if report.active == revision and report.state is ModelState.ACTIVE
        }

    def is_served(self, node: str) -> bool:
        """Whether the node's agent says that the model is ready to answer."""
        return answers(self.fleet.agents[node].serving_port, f"/v2/models/{self.namespace}.{self.name}/ready")

    def answering(self, nodes: Iterable[str]) -> dict[str, str]:
        """Which revision each of the nodes answers with, or why it gives no answer, asked just now."""
        return {node: self._ask(node) for node in nodes}

    def promoted(self, revision: str, *, seconds: float = WAIT_SECONDS) -> None:
        """Wait until the revision is stable and the Rollout Ready.

        Raises:
            NotReachedError: it did not happen, or the revision was taken back.
        """

        def settled() -> bool:
            status = self.status()
            ready = is_true(status.conditions, ConditionType.READY)
            return ready and status.stable is not None and status.stable.revision == revision

        self.wait("it is promoted", settled, unless_rejected=revision, seconds=seconds)

    def rolled_back(self, revision: str, *, seconds: float = WAIT_SECONDS) -> None:
        """Wait until the Rollout says that it took the revision back.

        Raises:
            NotReachedError: it did not happen, or the revision was promoted.
        """
        what = "it is taken back"

        def done() -> bool:
            stable = self.status().stable
            if stable is not None and stable.revision == revision:
                raise NotReachedError(what, seconds, self.describe())
            return self.is_rejected(revision) and self.reason() == "RolledBack"

        self.wait(what, done, seconds=seconds)

    def wait(
        self,
        what: str,
        condition: Callable[[], T | None],
        *,
        unless_rejected: str | None = None,
        seconds: float = WAIT_SECONDS,
    ) -> T:
        """Wait for something that the live copy shows.

        Raises:
            NotReachedError: it did not happen, or the revision `unless_rejected` was taken back.
        """

        def look() -> T | None:
            if unless_rejected is not None and self.is_rejected(unless_rejected):
                raise NotReachedError(what, seconds, self.describe())
            return condition()

        return self.fleet.mirror.wait(what, look, got=self.describe, seconds=seconds)

    def describe(self) -> str:
        """Rollout, EdgeModel and the nodes that are not active, in one line, for a failure."""
        reports = self.reports()
        waiting = {n: r for n, r in sorted(reports.items()) if r.state is not ModelState.ACTIVE}
        nodes = [f"{node} {report.state} ({report.message})" for node, report in waiting.items()]
        found = self.fleet.mirror.model(self.namespace, self.name)
        ready = find_condition(found.status.conditions, ConditionType.READY) if found else None
        model = f"{ready.reason}: {ready.message}" if ready else "not looked at"
        return (
            f"Rollout {self.reason()}: {self.message()}; EdgeModel {model}; "
            f"{'; '.join([f'{len(reports) - len(waiting)} nodes Active', *nodes])}"
        )

    def cohort(self, revision: str, *, step: int) -> set[str]:
        """The nodes that take the revision in a step (from 0), as ranks and quotas say."""
        chosen = self.rollout().spec.strategy.steps[step]
        line = self._line(revision)
        sizes = quotas(
            {stratum: len(nodes) for stratum, nodes in line.items()},
            Share(percent=chosen.percent, nodes=chosen.nodes),
        )
        return {node for stratum, nodes in line.items() for node in nodes[: sizes[stratum]]}

    def _line(self, revision: str) -> dict[Stratum, list[str]]:
        """The nodes of each stratum in the order in which they take the revision."""
        rollout = self.rollout()
        salt = salt_for(rollout.metadata.uid, revision)
        found: dict[Stratum, list[str]] = {}
        for plan in sorted(self.fleet.plans.values(), key=lambda item: rank(salt, item.name)):
            stratum = stratum_of(plan.labels, rollout.spec.strategy.stratify_by)
            found.setdefault(stratum, []).append(plan.name)
        return found

    def _ask(self, node: str) -> str:
        agent, sample = self.fleet.agents[node], self.fleet.field.samples[0]
        model = f"{self.namespace}.{self.name}"
        try:
            return ask(agent, model, sample, labels=len(self.fleet.zoo.labels)).revision
        except NoAnswerError as error:
            return str(error)


def ready_of(status: RolloutStatus) -> Condition | None:
    """The Ready condition."""
    return find_condition(status.conditions, ConditionType.READY)
