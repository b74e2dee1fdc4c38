"""Delivers the node's reports: at once when there is news, else at a slow heartbeat."""

import asyncio
import contextlib
import logging
import random
from collections.abc import Callable
from dataclasses import dataclass

from edgecanary.agent.cluster import Cluster
from edgecanary.agent.report import Outbox
from edgecanary.api.edgenode import EdgeNodeStatus
from edgecanary.base.errors import EdgecanaryError
from edgecanary.clients.backoff import Backoff

log = logging.getLogger(__name__)

_GATHER_SECONDS = 0.05
"""News of several models within this time go into one report."""


@dataclass(frozen=True)
class ReportPace:
    """How often a node reports; each time is spread by a tenth, so that nodes do not fall together."""

    heartbeat_seconds: float = 600.0
    start_spread_seconds: float = 30.0
    """A restarted agent without news waits up to this long, for whole sites come back at once."""
    retry_first_seconds: float = 1.0
    retry_cap_seconds: float = 60.0


class Reporter:
    """Sends the whole status whenever `changed` was called, and at each heartbeat."""

    def __init__(
        self, cluster: Cluster, outbox: Outbox, compose: Callable[[], EdgeNodeStatus], pace: ReportPace
    ) -> None:
        """`compose` gives the status as it is now."""
        self._cluster = cluster
        self._outbox = outbox
        self._compose = compose
        self._pace = pace
        self._news = asyncio.Event()
        self._failing = False

    def changed(self) -> None:
        """There is something new to report."""
        self._news.set()

    async def run(self) -> None:
        """Reports for ever."""
        delivered = await asyncio.to_thread(self._outbox.has_delivered, self._compose())
        wait = random.uniform(0, self._pace.start_spread_seconds) if delivered else 0.0  # noqa: S311
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._news.wait(), wait)
            await self._report()
            wait = self._pace.heartbeat_seconds * random.uniform(0.9, 1.1)  # noqa: S311

    async def _report(self) -> None:
        backoff = Backoff(self._pace.retry_first_seconds, self._pace.retry_cap_seconds)
        while True:
            await asyncio.sleep(_GATHER_SECONDS)
            self._news.clear()
            status = self._compose()
            await self._keep(status, delivered=False)
            if await self._send(status):
                await self._keep(status, delivered=True)
                return
            await asyncio.sleep(backoff.next())

    async def _send(self, status: EdgeNodeStatus) -> bool:
        try:
            await self._cluster.write_status(status)
        except EdgecanaryError as error:
            log.log(
                logging.DEBUG if self._failing else logging.WARNING,
                "the report did not arrive and is kept: %s",
                error,
            )
            self._failing = True
            return False
        self._failing = False
        return True

    async def _keep(self, status: EdgeNodeStatus, *, delivered: bool) -> None:
        try:
            await asyncio.to_thread(self._outbox.put, status, delivered=delivered)
        except OSError as error:
            log.error("the report cannot be kept on disk: %s", error)
