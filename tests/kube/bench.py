"""The reconcilers without a process around them: killed or frozen at any write, begun anew, with a moved clock."""

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import cycle
from random import Random

from edgecanary.api.fields import JsonObject
from edgecanary.api.modelrelease import ModelReleaseSpec
from edgecanary.base.clock import SystemClock
from edgecanary.base.errors import Conflict, NotFound
from edgecanary.clients.access import Access
from edgecanary.clients.events import EventRecorder
from edgecanary.clients.kube import KubeClient, Secrets
from edgecanary.clients.resources import MODEL_RELEASES, ROLLOUTS, Resource
from edgecanary.controller.cache import Cache, Scope
from edgecanary.controller.metrics import OperatorMetrics
from edgecanary.controller.model_reconciler import ModelReconciler
from edgecanary.controller.notifier import NoNotes, Notes
from edgecanary.controller.permit import Permit
from edgecanary.controller.rollout_reconciler import RolloutReconciler
from edgecanary.controller.signing import Signing
from edgecanary.controller.tools import Tools
from edgecanary.controller.views import ObjectKey
from tests.kube.operator_lab import OPERATOR, Fleet, OperatorLab

NAMES = ("a", "b", "c")


class Interrupted(BaseException):
    """The operator is killed here."""


@dataclass
class Interruption:
    """Kills at the `at`-th write, before it is sent or after it was done; 0 never.

    With `freezes` writes (of one kind, where that is given) are held back instead, now this, now that one: each is
    sent only after whoever took over has made its own next write.
    """

    at: int = 0
    after: bool = False
    freezes: bool = False
    only: Resource | None = None
    writes: int = 0
    landed: list[Resource] = field(default_factory=list)
    frozen: tuple[Resource, Callable[[], JsonObject]] | None = None
    passing: int = 0
    passes: Iterator[int] = field(default_factory=lambda: cycle((2, 3, 1)))
    """A new leader's first write may be its term: it must come further than that now and then."""

    def around(self, resource: Resource, write: Callable[[], JsonObject]) -> JsonObject:
        self.writes += 1
        if self.freezes and self.only in (None, resource):
            return self._freeze(resource, write)
        if self.writes == self.at and not self.after:
            raise Interrupted
        answer = write()
        if self.writes == self.at:
            raise Interrupted
        return answer

    def _freeze(self, resource: Resource, write: Callable[[], JsonObject]) -> JsonObject:
        if not self.passing:
            self.passing, self.frozen = next(self.passes), (resource, write)
            raise Interrupted
        answer = write()
        self.passing -= 1
        if self.frozen is not None:
            self.wake()
        return answer

    def wake(self) -> None:
        """The frozen operator sends its write after all."""
        assert self.frozen is not None
        (resource, write), self.frozen = self.frozen, None
        with suppress(Conflict, NotFound):
            write()
            self.landed.append(resource)


class InterruptedKube(KubeClient):
    """The real client, which dies at one write."""

    interruption = Interruption()

    def create(self, resource: Resource, body: JsonObject, *, namespace: str | None = None) -> JsonObject:
        call = super().create
        return self.interruption.around(resource, lambda: call(resource, body, namespace=namespace))

    def replace(self, resource: Resource, name: str, body: JsonObject, *, namespace: str) -> JsonObject:
        call = super().replace
        return self.interruption.around(resource, lambda: call(resource, name, body, namespace=namespace))

    def replace_status(
        self, resource: Resource, name: str, body: JsonObject, *, namespace: str
    ) -> JsonObject:
        call = super().replace_status
        return self.interruption.around(resource, lambda: call(resource, name, body, namespace=namespace))


@dataclass
class MovedClock:
    """The machine's clock, moved forward."""

    ahead: timedelta = field(default_factory=timedelta)

    def now(self) -> datetime:
        return SystemClock().now() + self.ahead


@dataclass
class Bench:
    """The reconcilers without a process around them; `restart` forgets all they remember."""

    lab: OperatorLab
    clock: MovedClock = field(default_factory=MovedClock)
    lifetime: timedelta = timedelta(hours=24)
    permit: Permit = field(default_factory=Permit.always)
    notes: Notes = field(default_factory=NoNotes)

    def __post_init__(self) -> None:
        access = Access.find(kubeconfig=self.lab.control_plane.kubeconfig(OPERATOR, ()))
        self.kube = InterruptedKube(access, user_agent="bench", before_write=self.permit.check)
        self.kube.interruption = Interruption()
        self.key = ObjectKey(self.lab.namespace, "pump")
        self.restart()

    def restart(self) -> None:
        secrets, scope = Secrets(self.kube), Scope(self.lab.namespace, (self.lab.namespace,))
        self.cache = Cache(scope)
        events = EventRecorder(self.kube, self.clock, instance="bench")
        metrics = OperatorMetrics()
        tools = Tools(
            self.kube, secrets, self.cache, events, metrics, self.clock, permit=self.permit, notes=self.notes
        )
        self.rollouts = RolloutReconciler(tools, Signing(secrets, self.lifetime))
        self.models = ModelReconciler(tools, Random(1))

    def look(self) -> float | None:
        """One look at everything, as after an event; killed work is begun anew by a new operator."""
        try:
            for part in self.cache.parts:
                part.reload(self.kube)
            self.models.reconcile(self.key)
            return self.rollouts.reconcile(self.key)
        except Interrupted:
            self.restart()
            return 0.0

    def roll(self, *, until: str, fails: tuple[str, ...] = (), looks: int = 40) -> list[ModelReleaseSpec]:
        """Looks while the fleet obeys; the releases that nodes could see on the way."""
        fleet, seen = Fleet(self.lab, NAMES), []
        for _ in range(looks):
            self.look()
            if self.lab.find(MODEL_RELEASES) is not None:
                fleet.obey(fails=fails)
                if (spec := self.lab.release().spec) not in seen:
                    seen.append(spec)
            if self.lab.ready(ROLLOUTS)[1] == until:
                return seen
        raise AssertionError(f"not {until}: {self.lab.ready(ROLLOUTS)}: {self.lab.message(ROLLOUTS)}")
