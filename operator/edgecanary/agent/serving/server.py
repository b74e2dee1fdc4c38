"""The two servers of the agent: inference with its models, and metrics."""

import asyncio
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from edgecanary.agent import host
from edgecanary.agent.marks import Marks, Slot
from edgecanary.agent.ports import HealthCounters, InstalledRevision, ModelKey
from edgecanary.agent.serving.app import InferenceApp
from edgecanary.agent.serving.listener import Listener
from edgecanary.agent.serving.messages import HttpFault, HttpLimits, Request, Response
from edgecanary.agent.serving.quiet import QuietTrim
from edgecanary.agent.serving.registry import ActiveRevision, Registry, ServedRevision
from edgecanary.agent.serving.settings import ServingSettings
from edgecanary.agent.serving.watchdog import Watchdog
from edgecanary.agent.telemetry import CONTENT_TYPE, Identity, Telemetry

if TYPE_CHECKING:
    from edgecanary.agent.serving.engine import Engine


class InferenceServer:
    """Serves the active revision of each model over the Open Inference Protocol v2.

    Each active revision has a thread of its own, so that a model that hangs or is slow holds up neither the
    event loop, nor other models, nor the revision that replaces it.
    """

    def __init__(
        self,
        telemetry: Telemetry,
        *,
        version: str,
        settings: ServingSettings | None = None,
        marks: Marks | None = None,
    ) -> None:
        """`marks` say which model runs, for the next process to find; none are kept unless given."""
        self._settings = settings or ServingSettings()
        self._registry = Registry(telemetry)
        self._quiet = QuietTrim()
        self.watchdog = Watchdog(self._settings.hang_seconds)
        app = InferenceApp(
            self._registry, telemetry, self._settings, self._quiet, self.watchdog, version=version
        )
        self._listener = Listener(app.handle, self._settings.http)
        self._loading = asyncio.Lock()
        self._marks = marks or Marks(Path())

    @property
    def port(self) -> int:
        """The port it listens on; 0 when it does not."""
        return self._listener.port

    def expect(self, keys: Iterable[ModelKey]) -> None:
        """Models that are being restored after a start: until then the node is not ready, and says so."""
        self._registry.expect(keys)

    async def start(self, listen: str) -> None:
        """Listens on `host:port`. Raises InvalidInput for a bad address, Unavailable when it is taken."""
        host.share_one_heap()
        await self._listener.start(listen, field="--listen")

    async def stop(self) -> None:
        """Stops listening, lets requests end, then unloads every model."""
        await self._listener.stop(grace_seconds=self._settings.stop_seconds)
        self._quiet.stop()
        for active in self._registry.active_revisions():
            await self.deactivate(active.installed.key)

    async def activate(self, installed: InstalledRevision) -> None:
        """Loads and warms the revision, then switches to it at once; older requests finish on the old one.

        The revision that is active already keeps its model and starts its health counters anew. A revision
        that is not to be served only ends what the model served before. Raises ModelLoadFailed, in which case
        nothing has changed.
        """
        async with self._loading:
            identity = Identity(installed.key, installed.revision, installed.version)
            present = self._registry.active(installed.key)
            if not installed.serve:
                self._switch(installed.key, None)
            elif present is not None and present.identity == identity:
                present.served = ServedRevision(identity)
            else:
                self._switch(installed.key, await self._load(installed, identity))

    async def deactivate(self, key: ModelKey) -> None:
        """Stops serving the model; its requests get 404 from then on. Unknown keys are fine."""
        async with self._loading:
            self._switch(key, None)

    async def evict(self, key: ModelKey, why: str) -> None:
        """Unloads the model and waits until its memory is free; requests are told why, and to come again."""
        async with self._loading:
            closing = self._switch(key, None)
            self._registry.excuse(key, why)
        if closing is not None:
            await asyncio.wait((asyncio.wrap_future(closing),), timeout=self._settings.request_seconds)

    def counters(self, key: ModelKey, revision: str) -> HealthCounters:
        """What the revision answered since its last activation; zeros when it was never active."""
        return self._registry.counters(key, revision)

    async def more_answers(self, key: ModelKey, revision: str, seen: HealthCounters) -> None:
        """Waits until the revision's counters differ from `seen`; for ever while it is not known."""
        await self._registry.more_answers(key, revision, seen)

    async def _load(self, installed: InstalledRevision, identity: Identity) -> ActiveRevision:
        executor = ThreadPoolExecutor(1, thread_name_prefix=f"model-{installed.revision[:8]}")
        mark = self._marks.take(installed.key, installed.revision)
        work = executor.submit(_load_engine, installed, self._settings.threads, mark)
        try:
            engine = await asyncio.wrap_future(work)
        except BaseException:
            executor.shutdown(wait=False, cancel_futures=True)
            self.watchdog.leave(work)
            raise
        return ActiveRevision(ServedRevision(identity), installed, engine, executor)

    def _switch(self, key: ModelKey, active: ActiveRevision | None) -> "Future[None] | None":
        retired = self._registry.switch(key, active)
        if retired is None:
            return None
        # Behind the requests that are still queued in that thread, which ends after it.
        closing = retired.executor.submit(retired.engine.close)
        retired.executor.shutdown(wait=False)
        return closing


class MetricsServer:
    """Serves `/metrics` for Prometheus and `/healthz` for probes."""

    def __init__(self, telemetry: Telemetry) -> None:
        self._telemetry = telemetry
        self._listener = Listener(self._handle, HttpLimits(max_body_bytes=0, max_connections=32))

    @property
    def port(self) -> int:
        """The port it listens on; 0 when it does not."""
        return self._listener.port

    async def start(self, listen: str) -> None:
        """Listens on `host:port`. Raises InvalidInput for a bad address, Unavailable when it is taken."""
        await self._listener.start(listen, field="--metrics-address")

    async def stop(self) -> None:
        """Stops listening."""
        await self._listener.stop(grace_seconds=1)

    async def _handle(self, request: Request) -> Response:
        if request.method not in {"GET", "HEAD"}:
            raise HttpFault(405, f"{request.method} {request.path}: the method must be GET")
        if request.path == "/metrics":
            return Response(200, self._telemetry.exposition(), CONTENT_TYPE)
        if request.path == "/healthz":
            return Response(200, b"ok\n", "text/plain; charset=utf-8")
        raise HttpFault(404, f"there is nothing at {request.path}; there are /metrics and /healthz")


def _load_engine(installed: InstalledRevision, threads: int, mark: Slot) -> "Engine":
    from edgecanary.agent.serving import engine  # noqa: PLC0415 -- numpy and the runtime cost 40 MB

    return engine.load(installed, threads=threads, mark=mark)
