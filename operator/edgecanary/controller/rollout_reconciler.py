"""One look at a Rollout: observe, ask Prometheus where a look is due, plan, apply, write the status."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

from edgecanary.analysis.query import Answer, MetricQuery
from edgecanary.api.edgemodel import EdgeModel
from edgecanary.api.fields import JsonObject
from edgecanary.api.modelrelease import ModelRelease
from edgecanary.api.rollout import Rollout
from edgecanary.base.errors import Conflict, EdgecanaryError, NotFound
from edgecanary.clients.events import Subject
from edgecanary.clients.resources import EDGE_MODELS, MODEL_RELEASES, ROLLOUTS, Resource
from edgecanary.controller.counts import CountsMemory
from edgecanary.controller.gate_queries import ask
from edgecanary.controller.release_urls import differs
from edgecanary.controller.release_writer import ReleaseWriter
from edgecanary.controller.signing import Signing
from edgecanary.controller.tools import Tools
from edgecanary.controller.views import ObjectKey, parse
from edgecanary.rollout.grants import NOWHERE, What, refusal
from edgecanary.rollout.planner import due_queries, plan
from edgecanary.rollout.snapshot import Plan, PlannedEvent, Snapshot

_SIGN_AGAIN = 60.0

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Observed:
    """The snapshot, and the Rollout and its release as the server has them."""

    snapshot: Snapshot
    body: JsonObject
    release_body: JsonObject | None

    @property
    def rollout(self) -> Rollout:
        return self.snapshot.rollout


class RolloutReconciler:
    """Takes Rollouts forward. All state is the API server's; counts are only remembered to be quick."""

    def __init__(self, tools: Tools, signing: Signing) -> None:
        self._tools = tools
        self._signing = signing
        self._releases = ReleaseWriter(tools.kube, tools.permit)
        self._counts = CountsMemory()

    def reconcile(self, key: ObjectKey) -> float | None:
        """Takes one Rollout as far as it can go now.

        Returns after how many seconds time alone may change something, None when only an event can. Raises
        Conflict when somebody else wrote meanwhile, and the API server's other errors.
        """
        try:
            observed = self._observe(key)
            if observed.rollout.metadata.deletion_timestamp is not None:
                return None
            return self._carry_out(self._with_answers(key, self._fenced(key, observed)))
        except _Gone:
            self._counts.forget(str(key))
            return None

    def _carry_out(self, observed: _Observed) -> float | None:
        decision = plan(observed.snapshot, self._tools.clock.now())
        # An operator that is killed after a release does not plan the same again: told first, nothing is lost,
        # and telling twice makes one Event. A warning may mean a withdrawal, and that waits for nothing.
        urgent = any(event.warning for event in decision.events)
        if not urgent:
            self._tell(observed, decision)
        renewal = self._apply_release(observed, decision)
        if urgent:
            self._tell(observed, decision)
        self._write_status(observed, decision)
        if decision.status.step is None:
            meta = observed.rollout.metadata
            self._counts.forget(str(ObjectKey(meta.namespace, meta.name)))
        waits = [wait for wait in (decision.requeue_seconds, renewal) if wait is not None]
        return min(waits, default=None)

    def _observe(self, key: ObjectKey, answers: Mapping[str, Answer] | None = None) -> _Observed:
        body = self._get(ROLLOUTS, key)
        if body is None:
            raise _Gone
        rollout = parse(Rollout, body)
        allowance = self._tools.tenancy.of(key.namespace)
        refused = refusal(lambda: allowance.check_rollout(rollout.spec))
        if refusal(lambda: allowance.check_nodes(rollout.spec.node_selector)) is not None:
            # Not even counted: how many nodes others have, and which, is their business.
            rollout = _nowhere(rollout)
        model_key = ObjectKey(key.namespace, rollout.spec.model_ref.name)
        model, release = self._get(EDGE_MODELS, model_key), self._get(MODEL_RELEASES, key)
        snapshot = Snapshot(
            rollout=rollout,
            model=None if model is None else parse(EdgeModel, model),
            release=None if release is None else parse(ModelRelease, release),
            fleet=self._tools.cache.fleet(model_key),
            answers=answers or {},
            rivals=self._tools.cache.rivals(model_key, key),
            refused=refused,
        )
        return _Observed(snapshot, body, release)

    def _fenced(self, key: ObjectKey, observed: _Observed) -> _Observed:
        """With a release that nothing from an earlier term can change any more."""
        body = observed.release_body
        if body is None or self._releases.is_fenced(observed.snapshot.release):
            return observed
        self._releases.fence(body)
        return self._observe(key)

    def _with_answers(self, key: ObjectKey, observed: _Observed) -> _Observed:
        """With Prometheus's answers where a look is due; then everything is observed again.

        Prometheus may have taken its time, and an abort that came meanwhile is not to be missed.
        """
        queries = due_queries(observed.snapshot, self._tools.clock.now())
        if not queries:
            return observed
        again = self._observe(key, self._ask(observed.rollout, queries))
        if again.rollout.metadata.generation != observed.rollout.metadata.generation:
            raise Conflict("SpecChanged", f"{key}: the spec changed while Prometheus was asked")
        return again

    def _ask(self, rollout: Rollout, queries: tuple[MetricQuery, ...]) -> Mapping[str, Answer]:
        analysis = rollout.spec.analysis
        if analysis is None:
            return {}
        return ask(
            analysis.prometheus,
            queries,
            namespace=rollout.metadata.namespace,
            reach=self._tools.tenancy.of(rollout.metadata.namespace).reach(What.PROMETHEUS),
            secrets=self._tools.secrets,
            observe=self._tools.metrics.queried,
            counts=self._counts.of(str(ObjectKey(rollout.metadata.namespace, rollout.metadata.name))),
        )

    def _apply_release(self, observed: _Observed, decision: Plan) -> float | None:
        """Writes the ModelRelease where it changes; seconds until its addresses must be renewed."""
        current = observed.snapshot.release
        known = current.spec if current else None
        wanted = decision.release or known
        if wanted is None:
            return None
        now = self._tools.clock.now()
        urls = self._signing.policy(observed.rollout.metadata.namespace)
        addressed = urls.address(wanted, known, now=now)
        if differs(addressed.spec, known) or _is_orphan(observed):
            sequence = known.sequence + 1 if known else 1
            spec = addressed.spec.model_copy(update={"sequence": sequence})
            self._releases.write(observed.rollout.metadata, spec, observed.release_body)
        if addressed.problem is not None:
            self._record(observed, _signing_problem(addressed.problem))
            return _SIGN_AGAIN
        return None if addressed.renew_at is None else _seconds(addressed.renew_at - now)

    def _write_status(self, observed: _Observed, decision: Plan) -> None:
        status = self._tools.notes.note(observed.rollout, decision.status).to_json()
        if status == observed.rollout.status.to_json():
            return
        meta = observed.rollout.metadata
        body: JsonObject = {**observed.body, "status": status}
        self._tools.kube.replace_status(ROLLOUTS, meta.name, body, namespace=meta.namespace)
        self._tools.notes.written(ObjectKey(meta.namespace, meta.name))
        known = observed.rollout.status.history
        for entry in decision.status.history:
            if entry not in known:
                self._tools.metrics.ended(entry.outcome)

    def _tell(self, observed: _Observed, decision: Plan) -> None:
        for event in decision.events:
            self._record(observed, event)

    def _record(self, observed: _Observed, event: PlannedEvent) -> None:
        meta = observed.rollout.metadata
        log.info("rollout %s/%s: %s: %s", meta.namespace, meta.name, event.reason, event.message)
        try:
            self._tools.events.record(Subject(ROLLOUTS, meta.namespace, meta.name, meta.uid), event)
        except EdgecanaryError as error:
            # What is decided must not wait for being told.
            log.warning("rollout %s/%s: no Event could be written: %s", meta.namespace, meta.name, error)

    def _get(self, resource: Resource, key: ObjectKey) -> JsonObject | None:
        try:
            return self._tools.kube.get(resource, key.name, namespace=key.namespace)
        except NotFound:
            return None


class _Gone(Exception):
    """The Rollout does not exist (any more)."""


def _nowhere(rollout: Rollout) -> Rollout:
    """The Rollout for no Node."""
    spec = rollout.spec.model_copy(update={"node_selector": NOWHERE})
    return rollout.model_copy(update={"spec": spec})


def _is_orphan(observed: _Observed) -> bool:
    """Whether the release belongs to an earlier Rollout of the same name, with which Kubernetes would collect it."""
    release, own = observed.snapshot.release, observed.rollout.metadata.uid
    return release is not None and all(owner.uid != own for owner in release.metadata.owner_references)


def _signing_problem(error: EdgecanaryError) -> PlannedEvent:
    text = f"download addresses cannot be signed: {error.message}; the nodes keep those they have"
    return PlannedEvent("AddressesUnavailable", text, warning=True)


def _seconds(span: timedelta) -> float:
    return max(0.0, span.total_seconds())
