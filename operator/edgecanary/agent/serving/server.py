"""The two servers of the agent: inference with its models, and metrics."""

import asyncio
import functools
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from edgecanary.agent import host, interpreter
from edgecanary.agent.marks import Marks, Slot
from edgecanary.agent.ports import HealthCounters, InstalledRevision, ModelKey
from edgecanary.agent.serving.app import InferenceApp
from edgecanary.agent.serving.listener import Listener
from edgecanary.agent.serving.messages import HttpFault, HttpLimits, Request, Response
from edgecanary.agent.serving.quiet import QuietTrim
from edgecanary.agent.serving.registry import ActiveRevision, Registry, ServedRevision
from edgecanary.agent.serving.settings import ServingSettings
from edgecanary.agent.serving.shadow import Quarters, Shadow, fits
from edgecanary.agent.serving.watchdog import Watchdog
from edgecanary.agent.serving.worker import Worker
from edgecanary.agent.telemetry import CONTENT_TYPE, Identity, Telemetry
from edgecanary.base.quantities import parse_bytes

if TYPE_CHECKING:
    from edgecanary.agent.serving.engine import Engine


_UNLOAD_SECONDS = 1.0
"""For a model that was told to end its run to do so when the server stops."""

_LOAD_NICENESS = 10
"""Of a thread that loads a model while others answer, so that they hardly notice."""


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
        self._telemetry = telemetry
        self._registry = Registry(telemetry)
        self._quiet = QuietTrim()
        self.watchdog = Watchdog(self._settings.hang_seconds)
        self._app = InferenceApp(
            self._registry, telemetry, self._settings, self._quiet, self.watchdog, version=version
        )
        self._listener = Listener(self._app.handle, self._settings.http)
        self._loading = asyncio.Lock()
        self._marks = marks or Marks(Path())

    @property
    def port(self) -> int:
        """The port it listens on; 0 when it does not."""
        return self._listener.port

    def expect(self, keys: Iterable[ModelKey]) -> None:
        """Models that are being restored after a start: until then the node is not ready, and says so."""
        self._registry.expect(keys)

    async def start(self, *addresses: str) -> None:
        """Listens on each `host:port` or `unix:/path`.

        Raises InvalidInput for a bad address, Unavailable when it is taken.
        """
        host.share_one_heap()
        interpreter.share_fairly()
        await self._listener.start(*addresses, field="--listen")

    async def stop(self) -> None:
        """Stops listening, lets requests end, then unloads every model."""
        await self._listener.stop(grace_seconds=self._settings.stop_seconds)
        self._app.stop()
        self._quiet.stop()
        for active in self._registry.active_revisions():
            await self.deactivate(active.installed.key)
            await active.worker.ended(within_seconds=_UNLOAD_SECONDS)

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
                # Loading leaves behind what answering does not need.
                self._quiet.touch()

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
            await asyncio.wait((closing,), timeout=self._settings.request_seconds)

    def compare(self, key: ModelKey, other: InstalledRevision | None) -> bool:
        """Lets the other revision see a share of the active one's inputs, if the settings say so; None ends that.

        It ends with the next activation or deactivation of the model, too. Whether there is anything to compare.
        """
        active, settings = self._registry.active(key), self._settings.shadow
        if active is not None:
            _end_shadow(active)
        if settings.percent == 0 or active is None or other is None or not fits(active.installed, other):
            return False
        self._registry.begin_shadow(active.identity)
        active.shadow = Shadow(
            other,
            lambda: _load_engine(other, self._marks.take(key, other.revision), self._settings.threads, 1),
            Quarters(
                percent=settings.percent,
                needed_bytes=_expected_bytes(other, active.engine.memory_bytes),
                margin_bytes=settings.margin_bytes,
                run_seconds=self._settings.request_seconds,
            ),
            busy=lambda: self._app.busy,
            tally=lambda outcome: self._telemetry.count_shadow(active.identity, outcome),
        )
        active.engine.observer = active.shadow
        return True

    def counters(self, key: ModelKey, revision: str) -> HealthCounters:
        """What the revision answered since its last activation; zeros when it was never active."""
        return self._registry.counters(key, revision)

    async def more_answers(self, key: ModelKey, revision: str, seen: HealthCounters) -> None:
        """Waits until the revision's counters differ from `seen`; for ever while it is not known."""
        await self._registry.more_answers(key, revision, seen)

    async def _load(self, installed: InstalledRevision, identity: Identity) -> ActiveRevision:
        batch, threads = self._settings.batch, self._settings.threads
        # Threads that the runtime starts inherit the priority, and are those that answer later.
        quietly = threads == 1 and bool(self._registry.active_revisions())
        loader = Worker(f"load-{installed.revision[:8]}", niceness=_LOAD_NICENESS if quietly else 0)
        mark = self._marks.take(installed.key, installed.revision)
        work = loader.call(lambda: _load_engine(installed, mark, threads, batch.max_size))
        try:
            engine = await work.waiter
        except BaseException:
            self.watchdog.leave(work)
            raise
        finally:
            loader.close()
        worker = Worker(
            f"model-{installed.revision[:8]}",
            max_batch=batch.max_size,
            max_delay_seconds=batch.max_delay_seconds,
        )
        worker.answer_with(engine.answer, together=engine.max_rows > 1, rest=engine.rest)
        return ActiveRevision(ServedRevision(identity), installed, engine, worker)

    def _switch(self, key: ModelKey, active: ActiveRevision | None) -> "asyncio.Future[None] | None":
        retired = self._registry.switch(key, active)
        self._app.retire(retired)
        if retired is None:
            return None
        _end_shadow(retired)
        # Behind the requests that are still queued in that thread, which ends after it.
        closing = retired.worker.call(retired.engine.close)
        retired.worker.close()
        return closing.waiter


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


def _end_shadow(active: ActiveRevision) -> None:
    active.engine.observer = None
    if active.shadow is not None:
        active.shadow.stop()
        active.shadow = None


def _expected_bytes(other: InstalledRevision, active_bytes: int) -> int:
    """Memory that the other revision should take: as declared, else as the active one or by its files."""
    budget = other.variant.budget
    if budget is not None and budget.peak_memory is not None:
        return parse_bytes(budget.peak_memory, field="budget.peakMemory")
    return max(active_bytes, 2 * sum(file.size_bytes for file in other.variant.files))


def _load_engine(installed: InstalledRevision, mark: Slot, threads: int, max_rows: int) -> "Engine":
    return _loader()(installed, threads=threads, mark=mark, max_rows=max_rows)


@functools.cache
def _loader() -> "Callable[..., Engine]":
    """What loads models. Before its first call there was none."""
    from edgecanary.agent.serving import engine  # noqa: PLC0415 -- numpy and the runtime cost 40 MB

    interpreter.set_aside()
    return engine.load
