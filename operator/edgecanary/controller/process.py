"""The operator's process: puts the parts together, starts and ends them."""

import asyncio
import contextlib
import logging
import signal
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from random import Random

from edgecanary import __version__
from edgecanary.api.fields import JsonObject
from edgecanary.artifact.onnx_content import DEFAULT_DOMAINS
from edgecanary.base.clock import SystemClock
from edgecanary.base.errors import Conflict, EdgecanaryError, NotFound
from edgecanary.clients.access import Access
from edgecanary.clients.events import EventRecorder
from edgecanary.clients.kube import KubeClient, Secrets
from edgecanary.clients.resources import NAMESPACES, Resource
from edgecanary.clients.tenancy import LOOK_SECONDS, Tenancy
from edgecanary.clients.webhook import Webhook, WebhookTarget
from edgecanary.controller.cache import Cache, Part, Scope, Wakes
from edgecanary.controller.discovery import Discovery
from edgecanary.controller.health import Check, HealthServer
from edgecanary.controller.leadership import Candidacy, Leadership, Turns
from edgecanary.controller.metrics import OperatorMetrics
from edgecanary.controller.model_reconciler import ModelReconciler
from edgecanary.controller.notifier import NoNotes, Notifier
from edgecanary.controller.permit import Permit
from edgecanary.controller.queue import WorkQueue
from edgecanary.controller.relist import SOON_SECONDS, Reactions, Relister
from edgecanary.controller.rollout_reconciler import RolloutReconciler
from edgecanary.controller.schedule import Pace
from edgecanary.controller.signing import Signing
from edgecanary.controller.threads import in_thread, start
from edgecanary.controller.tools import Tools
from edgecanary.controller.views import ObjectKey
from edgecanary.controller.vitals import Vitals
from edgecanary.controller.watch import Listeners, Watcher

_ROLLOUT_WORKERS = 4
_MODEL_WORKERS = 2
_GRACE_SECONDS = 10.0
_HANDOVER_SECONDS = 6.0
"""For a look at the Lease that is under way, and for giving it up."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class OperatorSettings:
    """What the operator is told; times in seconds."""

    access: Access
    scope: Scope
    metrics_address: str = ":8080"
    resync_seconds: float = 600.0
    url_ttl_seconds: int = 86_400
    onnx_domains: tuple[str, ...] = ()
    """Further domains of operators that models may use."""
    candidacy: Candidacy | None = None
    """None: this operator is alone."""
    webhook: WebhookTarget | None = None
    """None: nobody is told."""
    tenancy: Tenancy = field(default_factory=Tenancy)
    """Which namespaces may target which nodes, and which hosts they may name."""


def run_operator(settings: OperatorSettings) -> int:
    """Runs until SIGTERM or SIGINT; the exit code. Raises EdgecanaryError when it cannot begin."""

    async def main() -> None:
        await _Operator(settings).run()

    asyncio.run(main())
    return 0


class _Operator:
    """The parts and their life. Made and run in the event loop's thread."""

    def __init__(self, settings: OperatorSettings) -> None:
        self._settings = settings
        self._metrics = OperatorMetrics()
        self._permit = Permit() if settings.candidacy else Permit.always()
        self._kube = KubeClient(
            settings.access,
            user_agent=f"edgecanary-operator/{__version__}",
            connections=_ROLLOUT_WORKERS + _MODEL_WORKERS + 2,
            observe=self._metrics.called,
            before_write=self._permit.check,
        )
        self._cache = Cache(settings.scope)
        self._random = Random()  # noqa: S311  it only spreads waiting times
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        self._synced = asyncio.Event()
        self._unlisted = {part.resource for part in self._cache.parts}
        self._build()

    def _build(self) -> None:
        secrets, clock = Secrets(self._kube, self._settings.tenancy), SystemClock()
        tenancy = self._settings.tenancy
        events = EventRecorder(self._kube, clock, instance=socket.gethostname())
        notifier = self._notify(self._settings.webhook) if self._settings.webhook else None
        notes = notifier or NoNotes()
        tools = Tools(
            self._kube, secrets, self._cache, events, self._metrics, clock, self._permit, notes, tenancy
        )
        signing = Signing(secrets, timedelta(seconds=self._settings.url_ttl_seconds), tenancy)
        self._watcher = Watcher(
            self._settings.access,
            self._cache.parts,
            self._settings.scope,
            Discovery(self._kube, [part.resource for part in self._cache.parts]),
            Listeners(self._wake_soon, self._list_soon, self._metrics.watch_restarted),
        )
        relister = Relister(
            self._kube,
            self._cache.parts,
            Reactions(self._wake_soon, self._note_listed, self._watcher.restart),
            seconds=self._settings.resync_seconds,
            random=self._random,
        )
        observer = self._metrics
        domains = (*DEFAULT_DOMAINS, *self._settings.onnx_domains)
        rollouts, models = RolloutReconciler(tools, signing), ModelReconciler(tools, self._random, domains)
        self._rollouts = WorkQueue(
            "rollout",
            self._permit.within(rollouts.reconcile),
            workers=_ROLLOUT_WORKERS,
            pace=Pace(cap=15.0),
            observer=observer,
        )
        self._models = WorkQueue(
            "model",
            self._permit.within(models.reconcile),
            workers=_MODEL_WORKERS,
            pace=Pace(interval=1.0),
            observer=observer,
        )
        self._lists = WorkQueue(
            "list", relister.relist, workers=1, pace=Pace(base=1.0, cap=30.0), observer=observer
        )
        self._notices = WorkQueue(
            "notice",
            self._permit.within(notifier.tell if notifier else _tell_nobody),
            workers=1,
            pace=Pace(interval=0.1, cap=30.0),
            observer=observer,
        )
        self._led = (self._rollouts, self._models, self._notices)
        self._queues = (self._lists, *self._led)
        self._leadership = self._stand(self._settings.candidacy) if self._settings.candidacy else None
        self._vitals = Vitals(
            self._loop,
            self._cache,
            self._metrics,
            self._queues,
            self._watcher,
            self._leadership,
        )

    def _notify(self, target: WebhookTarget) -> Notifier:
        user_agent = f"edgecanary-operator/{__version__}"
        return Notifier(
            self._kube,
            Webhook(target, SystemClock(), user_agent=user_agent),
            self._permit,
            self._metrics,
            wake=lambda key: self._soon(lambda: self._rollouts.add(key)),
            news=lambda key: self._soon(lambda: self._notices.add(key)),
        )

    def _stand(self, candidacy: Candidacy) -> Leadership:
        """The election: until it is won nothing is decided, but all is kept up to date."""
        self._cease()
        turns = Turns(lambda: self._soon(self._lead), lambda: self._soon(self._cease))
        return Leadership.join(
            candidacy, self._settings.access, self._permit, turns, observe=self._metrics.called
        )

    async def run(self) -> None:
        """From the first list to the last write."""
        health = HealthServer(
            self._settings.metrics_address,
            alive=self._vitals.alive_checks(),
            ready=self._ready_checks(),
            metrics=self._vitals.render_metrics,
        )
        health.start()
        for number in (signal.SIGTERM, signal.SIGINT):
            self._loop.add_signal_handler(number, self._stop.set)
        log.info("edgecanary operator %s uses %s", __version__, self._settings.access.source)
        try:
            await self._work()
        finally:
            health.stop()
            self._kube.close()

    def _ready_checks(self) -> Mapping[str, Check]:
        """A replica that follows is ready, too: it could take over."""
        synced: Check = lambda: None if self._synced.is_set() else "the first lists are not complete"  # noqa: E731
        leadership = self._leadership
        return {"sync": synced, **({"lease": leadership.unseen} if leadership else {})}

    async def _work(self) -> None:
        queues = [asyncio.create_task(q.run(), name=q.name) for q in self._queues]
        for part in self._cache.parts:
            self._lists.add(part.resource)
        begin = asyncio.create_task(self._begin(), name="begin")
        begin.add_done_callback(self._stop_on_failure)
        stop = asyncio.create_task(self._stop.wait(), name="stop")
        await asyncio.wait({stop, *queues}, return_when=asyncio.FIRST_COMPLETED)
        begin.cancel()
        log.info("ending: work under way is finished first")
        for queue in self._queues:
            queue.stop()
        _, pending = await asyncio.wait(queues, timeout=_GRACE_SECONDS)
        for task in pending:
            log.warning("%s: work under way is left off; it begins anew at the next start", task.get_name())
            task.cancel()
        if (leadership := self._leadership) is not None:
            await in_thread(lambda: leadership.stop(seconds=_HANDOVER_SECONDS), name="stop election")
        await in_thread(lambda: self._watcher.stop(seconds=_GRACE_SECONDS), name="stop watch")
        for task in {begin, *queues} - pending:
            if not task.cancelled() and (error := task.exception()) is not None:
                raise error

    def _stop_on_failure(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and task.exception() is not None:
            self._stop.set()

    async def _begin(self) -> None:
        """Nothing is planned before all kinds were listed once."""
        await self._synced.wait()
        self._watcher.start()
        everything = self._cache.everything()
        count, models = len(everything.rollouts), len(everything.models)
        log.info("ready: %d Rollouts and %d EdgeModels are known", count, models)
        if self._leadership is None:
            self._lead()
        else:
            self._leadership.start()
        await self._follow_rules()

    async def _follow_rules(self) -> None:
        """Looks at everything again whenever the rules of tenancy change."""
        known = self._settings.tenancy.stamp()
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            if (found := self._settings.tenancy.stamp()) != known:
                known = found
                log.info("the rules of tenancy have changed: everything is looked at again")
                self._wake(self._cache.everything())

    def _lead(self) -> None:
        """Decides from now on."""
        start(self._ensure_namespace, name="namespace")
        for queue in self._led:
            queue.resume()
        self._wake(self._cache.everything())

    def _cease(self) -> None:
        """Decides nothing from now on; what is under way writes nothing any more."""
        for queue in self._led:
            queue.hold()

    def _ensure_namespace(self) -> None:
        name = self._settings.scope.system
        try:
            self._kube.get(NAMESPACES, name)
        except NotFound:
            self._create_namespace(name)
        except EdgecanaryError as error:
            log.warning("cannot tell whether namespace %s, where nodes report, exists: %s", name, error)

    def _create_namespace(self, name: str) -> None:
        body: JsonObject = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
        try:
            self._kube.create(NAMESPACES, body)
        except Conflict:  # another replica was faster, or leads by now
            return
        except EdgecanaryError as error:
            log.warning("create namespace %s: without it no node can report (%s)", name, error)
            return
        log.info("namespace %s, where nodes report, did not exist and was created", name)

    def _wake_soon(self, wakes: Wakes) -> None:
        """From any thread."""
        if wakes.rollouts or wakes.models:
            self._soon(lambda: self._wake(wakes))

    def _wake(self, wakes: Wakes) -> None:
        if not self._synced.is_set():
            return
        for key in wakes.rollouts:
            self._rollouts.add(key)
            if self._settings.webhook:
                self._notices.add(key)
        for key in wakes.models:
            self._models.add(key)

    def _list_soon(self, part: Part) -> None:
        """From any thread."""
        self._soon(lambda: self._lists.add(part.resource, delay=SOON_SECONDS))

    def _note_listed(self, resource: Resource) -> None:
        """From any thread."""
        self._soon(lambda: self._listed(resource))

    def _listed(self, resource: Resource) -> None:
        self._unlisted.discard(resource)
        if not self._unlisted:
            self._synced.set()

    def _soon(self, call: Callable[[], None]) -> None:
        # At the very end the loop is closed: then nobody is left to be woken.
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(call)


def _tell_nobody(_: ObjectKey) -> None:
    return None
