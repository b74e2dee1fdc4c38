"""Watches a revision while it answers, and says when it may not go on."""

import asyncio
from collections.abc import Callable

from edgecanary.agent.health import IN_SERVICE, Fault, Figures, Recent, SoakOutcome, fault, soak_verdict
from edgecanary.agent.ports import HealthCounters, ModelKey, ModelServer
from edgecanary.api.policy import DeviceHealth

_PAUSE_SECONDS = 0.25
"""Between two looks while requests come in. Without requests nothing wakes."""

_WELL_REQUESTS = IN_SERVICE.requests
"""Answers without a fault from which on a revision that failed is well again."""

Measure = Callable[[], tuple[DeviceHealth, Figures | None]]
"""The limits as they are now, and the figures of the revision before."""


class Watch:
    """One revision on one node, as the server counts its answers."""

    def __init__(self, server: ModelServer, key: ModelKey, revision: str, measure: Measure) -> None:
        self._server = server
        self._key = key
        self._revision = revision
        self._measure = measure
        self._recent = Recent()

    async def soak(self, crashes: int) -> Fault | None:
        """Judges a revision on trial until its soak is over: what it did wrong, or None."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        while True:
            counters = self._counters()
            limits, before = self._measure()
            elapsed = loop.time() - began
            found = soak_verdict(counters, limits, elapsed, crashes=crashes, before=before)
            if found.outcome is SoakOutcome.FAILED:
                return Fault(found.reason, found.message)
            if found.outcome is SoakOutcome.PASSED:
                return None
            lately = self._lately(counters)
            if lately is not None:
                return lately
            await self._more(counters, limits.soak_seconds - elapsed)

    async def fault(self) -> Fault:
        """Waits until an active revision goes beyond its limits in what it answered lately."""
        while True:
            counters = self._counters()
            found = self._lately(counters)
            if found is not None:
                return found
            await self._more(counters, None)

    async def recovery(self) -> None:
        """Waits until a revision that went beyond its limits has answered well for a while."""
        while True:
            counters = self._counters()
            recent = self._recent.add(asyncio.get_running_loop().time(), counters)
            if recent.requests >= _WELL_REQUESTS and self._judge(recent) is None:
                return
            await self._more(counters, None)

    def _counters(self) -> HealthCounters:
        return self._server.counters(self._key, self._revision)

    def _lately(self, counters: HealthCounters) -> Fault | None:
        return self._judge(self._recent.add(asyncio.get_running_loop().time(), counters))

    def _judge(self, recent: HealthCounters) -> Fault | None:
        limits, before = self._measure()
        return fault(recent, limits, before, IN_SERVICE)

    async def _more(self, seen: HealthCounters, seconds: float | None) -> None:
        """Waits for answers, at most so long, but not less than a moment."""
        pause = _PAUSE_SECONDS if seconds is None else min(_PAUSE_SECONDS, max(0.01, seconds))
        await asyncio.sleep(pause)
        try:
            async with asyncio.timeout(None if seconds is None else max(0.0, seconds - pause)):
                await self._server.more_answers(self._key, self._revision, seen)
        except TimeoutError:
            return
