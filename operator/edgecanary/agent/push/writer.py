"""Collects the agent's metrics into the outbox and has them delivered, beside the serving and never before it."""

import asyncio
import logging
import random
import threading
import time
from datetime import UTC
from pathlib import Path

from prometheus_client import CollectorRegistry
from prometheus_client.samples import Sample

from edgecanary.agent.installer import in_own_thread
from edgecanary.agent.push.courier import Courier, Sender, Times
from edgecanary.agent.push.metrics import PushMetrics
from edgecanary.agent.push.outbox import SampleOutbox
from edgecanary.agent.push.sampling import Sampler
from edgecanary.agent.push.settings import PushSettings
from edgecanary.base.clock import Clock
from edgecanary.clients.backoff import Backoff

log = logging.getLogger(__name__)

HOLD_BACK_MS = 3_600_000
"""A clock that was set back by up to an hour is waited for: counters lose nothing meanwhile."""

_STOP_SECONDS = 2.0


class RemoteWriter:
    """Pushes one registry. The event loop only reads the counters; disk and network have threads of their own."""

    def __init__(
        self,
        settings: PushSettings,
        registry: CollectorRegistry,
        sender: Sender,
        clock: Clock,
        *,
        node: str,
        folder: Path,
    ) -> None:
        self._settings = settings
        self._registry = registry
        self._clock = clock
        metrics = PushMetrics(registry)
        self._outbox = SampleOutbox(folder, max_bytes=settings.max_bytes, on_loss=metrics.count_lost)
        metrics.watch(
            lambda: self._outbox.waiting_bytes,
            lambda: float(self._outbox.on_disk),
            max_bytes=settings.max_bytes,
        )
        self._sampler = Sampler(settings.series_labels(node))
        self._courier = Courier(
            self._outbox,
            sender,
            Times(clock, _uptime),
            metrics,
            max_age_seconds=settings.max_age_seconds,
            backoff=Backoff(settings.retry_first_seconds, settings.retry_cap_seconds),
        )
        self._task: asyncio.Task[None] | None = None
        self._news = asyncio.Event()
        self._keeping = threading.Lock()

    async def start(self) -> None:
        """Begins to collect and deliver."""
        self._task = asyncio.create_task(self._run(), name="remote write")
        self._task.add_done_callback(_ended)

    async def stop(self) -> None:
        """Ends collecting and delivering, and notes that the agent's series end here; what waits stays on disk."""
        if self._task is None:
            return
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        self._task = None
        try:
            async with asyncio.timeout(_STOP_SECONDS):
                await in_own_thread(lambda: self._keep([]), name="outbox")
        except TimeoutError:
            log.warning("the disk does not answer: that the metrics end here is not noted")

    async def _run(self) -> None:
        await in_own_thread(self._outbox.open, name="outbox")
        self._news.set()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._collect_on_time())
            group.create_task(self._deliver_on_news())

    async def collect(self) -> None:
        """Puts the metrics as they are now into the outbox."""
        samples = [sample for family in self._registry.collect() for sample in family.samples]
        await in_own_thread(lambda: self._keep(samples), name="outbox")
        self._news.set()

    async def _collect_on_time(self) -> None:
        interval = self._settings.interval_seconds
        # Nodes that started together do not collect and send together.
        await asyncio.sleep(random.uniform(0, interval))  # noqa: S311
        while True:
            await self.collect()
            await asyncio.sleep(interval)

    async def _deliver_on_news(self) -> None:
        while True:
            await self._news.wait()
            self._news.clear()
            await self._drain()

    async def _drain(self) -> None:
        wait: float | None = 0.0
        while wait is not None:
            await asyncio.sleep(wait)
            wait = await in_own_thread(self._courier.deliver, name="push")

    def _keep(self, samples: list[Sample]) -> None:
        with self._keeping:
            now_ms = max(1, round(self._clock.now().astimezone(UTC).timestamp() * 1000))
            behind_ms = self._outbox.newest_ms - now_ms
            if 0 <= behind_ms <= HOLD_BACK_MS:
                log.debug("the clock was set back: nothing is collected for %d s", behind_ms // 1000)
                return
            entry = self._sampler.sample(samples, now_ms=now_ms)
            if entry.samples:
                self._outbox.put(entry)


def _ended(task: "asyncio.Task[None]") -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        log.critical("remote write ended by a defect of the agent; serving goes on", exc_info=error)


def _uptime() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def make_writer(
    settings: PushSettings, registry: CollectorRegistry, clock: Clock, *, node: str, data_dir: Path
) -> RemoteWriter:
    """A writer that really writes."""
    from edgecanary.clients.remotewrite import RemoteWrite  # noqa: PLC0415

    return RemoteWriter(
        settings, registry, RemoteWrite(settings.target), clock, node=node, folder=data_dir / "remote-write"
    )
