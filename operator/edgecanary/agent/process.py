"""The agent's process: puts the parts together, starts them, stops them in order."""

import asyncio
import logging
import os
import signal
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from enum import StrEnum
from typing import TYPE_CHECKING

from edgecanary import __version__
from edgecanary.agent import host
from edgecanary.agent.capabilities import discover
from edgecanary.agent.cluster import Cluster
from edgecanary.agent.credentials import CredentialSeries
from edgecanary.agent.gatekeeper import Gatekeeper
from edgecanary.agent.installer import Installer
from edgecanary.agent.marks import Marks
from edgecanary.agent.memory import MemoryBudget
from edgecanary.agent.notify import Notifier
from edgecanary.agent.permits import Permits
from edgecanary.agent.ports import ProbeImpossible
from edgecanary.agent.probe import SubprocessProber
from edgecanary.agent.report import Outbox, build_status
from edgecanary.agent.reporter import Reporter
from edgecanary.agent.runtime.catalog import supported_formats
from edgecanary.agent.sandbox.layers import sandbox_words
from edgecanary.agent.service_manager import ServiceManager
from edgecanary.agent.serving.server import InferenceServer, MetricsServer
from edgecanary.agent.settings import AgentSettings
from edgecanary.agent.steps import Workshop
from edgecanary.agent.store import Store
from edgecanary.agent.supervisor import Supervisor
from edgecanary.agent.telemetry import Telemetry
from edgecanary.agent.trust import Trust
from edgecanary.api.artifacts import Format
from edgecanary.api.edgenode import EdgeNodeStatus
from edgecanary.base.clock import Clock, SystemClock
from edgecanary.clients.download import Downloader
from edgecanary.clients.nodeapi import NodeApi
from edgecanary.clients.tenancy import LOOK_SECONDS
from edgecanary.clients.validity import Credentials

if TYPE_CHECKING:
    from edgecanary.agent.push.writer import RemoteWriter

log = logging.getLogger(__name__)

_THREADS = 4
"""For blocking file operations and writes to the API server."""


class Agent:
    """One node's agent."""

    def __init__(self, settings: AgentSettings, cluster: Cluster, store: Store | None = None) -> None:
        """`store` is the one of the data directory unless given. Raises InvalidInput."""
        clock = SystemClock()
        formats = (Format(name) for name in supported_formats())
        capabilities = discover(formats, settings.accelerators)
        telemetry = Telemetry(agent_version=__version__)
        telemetry.registry.register(CredentialSeries(Credentials(settings.access).validities))
        self._settings = settings
        self._cluster = cluster
        self._store = store or Store(settings.data_dir)
        self._marks = Marks(settings.data_dir)
        self._server = InferenceServer(
            telemetry, version=__version__, settings=settings.serving, marks=self._marks
        )
        self._metrics = MetricsServer(telemetry)
        self._writer = _writer(settings, telemetry, clock)
        installer = Installer(
            self._store,
            Downloader(settings.download),
            settings.disk,
            spread_seconds=settings.download_spread_seconds,
            on_bytes=telemetry.count_download,
            tenancy=settings.tenancy,
        )
        self._telemetry = telemetry
        self._prober = SubprocessProber(settings.probe)
        self._sandbox: tuple[str, ...] = ()
        trust = Trust(settings.roots, settings.data_dir / "trust.json", clock) if settings.roots else None
        gatekeeper = Gatekeeper(settings.conditions, settings.places)
        workshop = Workshop(
            self._store,
            installer,
            self._prober,
            self._server,
            clock,
            self._marks,
            Notifier(settings.notify_hook),
            MemoryBudget(settings.memory_budget_bytes),
            gatekeeper,
            load_seconds=settings.serving.load_seconds,
            trust=trust,
            permits=Permits(settings.tenancy),
        )

        def compose() -> EdgeNodeStatus:
            return build_status(
                self._supervisor.records,
                capabilities.model_copy(update={"probe_sandbox": self._sandbox}),
                agent_version=__version__,
                now=clock.now(),
                node_uid=self._supervisor.node_uid,
                refused=self._supervisor.refused,
            )

        self._outbox = Outbox(settings.data_dir / "outbox.json")
        self._reporter = Reporter(cluster, self._outbox, compose, settings.report)
        self._supervisor = Supervisor(
            settings.node, capabilities, workshop, settings.retry, self._reporter.changed
        )

    async def run(self, stopping: asyncio.Event) -> "Ending":
        """Runs until `stopping` is set, or until a model's thread hangs for good.

        Raises StoreFailure, InvalidInput and Unavailable at the start.
        """
        async with AsyncExitStack() as stack:
            self._store.open()
            stack.callback(self._store.close)
            self._marks.open()
            stack.callback(self._marks.close)
            self._supervisor.node_uid = self._outbox.node_uid()
            self._server.expect(key for key in self._store.models() if self._store.load(key).active)
            await self._server.start(*self._settings.listen)
            stack.push_async_callback(self._server.stop)
            await self._metrics.start(self._settings.metrics_address)
            stack.push_async_callback(self._metrics.stop)
            if self._writer is not None:
                await self._writer.start()
                stack.push_async_callback(self._writer.stop)
            self._supervisor.start()
            stack.push_async_callback(self._supervisor.stop)
            self._cluster.start(self._supervisor.hear)
            stack.callback(self._cluster.stop)
            reporting = asyncio.create_task(self._reporter.run(), name="reporter")
            stack.callback(reporting.cancel)
            surveying = asyncio.create_task(self._survey(), name="sandbox survey")
            stack.callback(surveying.cancel)
            following = asyncio.create_task(self._follow_rules(), name="rules of tenancy")
            stack.callback(following.cancel)
            manager = ServiceManager()
            alive = asyncio.create_task(manager.keep_alive(), name="signs of life")
            stack.callback(alive.cancel)
            manager.ready()
            stack.callback(manager.stopping)
            log.info("agent %s of node %s runs", __version__, self._settings.node)
            hanging = asyncio.create_task(self._hangs(), name="hanging")
            stack.callback(hanging.cancel)
            await _first(stopping, reporting, hanging)
            hangs = hanging.done()
            log.info("agent of node %s stops", self._settings.node)
        if hangs:
            return Ending.HUNG
        return Ending.STUCK if self._server.watchdog.stuck else Ending.STOPPED

    async def _hangs(self) -> None:
        """Ends when a model's thread does not come back, and what it ran was replaced as far as it can be."""
        watchdog = self._server.watchdog
        while True:
            await watchdog.hung.wait()
            watchdog.hung.clear()
            await asyncio.sleep(self._settings.serving.give_up_seconds)
            if watchdog.stuck and not self._supervisor.retreating:
                log.critical("a model's thread hangs for good: this process makes way for a new one")
                return
            if watchdog.stuck:
                watchdog.hung.set()

    async def _follow_rules(self) -> None:
        """Looks at everything again whenever the rules of tenancy change."""
        tenancy = self._settings.tenancy
        known = tenancy.stamp()
        while tenancy.file is not None:
            await asyncio.sleep(LOOK_SECONDS)
            if (found := tenancy.stamp()) != known:
                known = found
                self._supervisor.reconsider()

    async def _survey(self) -> None:
        """Finds out, once, what confines probes on this node, and tells it everywhere."""
        try:
            found = await self._prober.survey()
        except ProbeImpossible as error:
            log.error("what confines probes on this node is not known: %s", error)
            return
        log.info("probes run within %s", ", ".join(found.layers) or "nothing")
        if found.missing:
            log.warning("probes run without %s", sandbox_words(found.missing))
        self._sandbox = tuple(sorted(found.layers))
        self._telemetry.set_sandbox(found.layers, found.missing)
        self._reporter.changed()


def _writer(settings: AgentSettings, telemetry: Telemetry, clock: Clock) -> "RemoteWriter | None":
    if settings.push is None:
        return None
    from edgecanary.agent.push.writer import make_writer  # noqa: PLC0415 - only agents that push pay for it

    return make_writer(
        settings.push, telemetry.registry, clock, node=settings.node, data_dir=settings.data_dir
    )


class Ending(StrEnum):
    """Why an agent's process ends."""

    STOPPED = "Stopped"
    """It was asked to."""
    STUCK = "Stuck"
    """It was asked to, and a thread hangs that nothing can end."""
    HUNG = "Hung"
    """A thread hangs that nothing can end; a new process has to serve."""


async def _first(stopping: asyncio.Event, *tasks: "asyncio.Task[None]") -> None:
    """Waits until the process is to stop or a task ends; a defect that ended one is raised."""
    asked = asyncio.create_task(stopping.wait())
    try:
        await asyncio.wait((asked, *tasks), return_when=asyncio.FIRST_COMPLETED)
    finally:
        asked.cancel()
    for task in tasks:
        if task.done():
            task.result()


def leave(ending: Ending) -> int:
    """Ends the process, or makes it a new one; returns the exit code where that is all there is to do.

    The interpreter's own end would crash in a model's thread that is still at work. A new program image in the
    same process has none of its threads: no supervisor of services has to notice, and the models are back in a
    second.
    """
    if ending is Ending.STOPPED and threading.active_count() == 1:
        return 0
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    if ending is Ending.HUNG:
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606 - itself
    os._exit(0)


async def serve(settings: AgentSettings) -> Ending:
    """Runs the agent against the API server until SIGTERM or SIGINT."""
    loop = asyncio.get_running_loop()
    loop.set_default_executor(ThreadPoolExecutor(_THREADS, thread_name_prefix="work"))
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    cluster = NodeApi(settings.access, settings.node, settings.system_namespace)
    return await Agent(settings, cluster).run(stopping)


def run(settings: AgentSettings) -> int:
    """Runs the agent; returns the process's exit code."""
    host.share_one_heap()
    return leave(asyncio.run(serve(settings)))
