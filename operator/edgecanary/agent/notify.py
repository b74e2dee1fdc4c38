"""Tells the application's own runtime which revision is active, by a hook on the device.

A message says all there is to know, so the application may get it any number of times. It is sent after each
switch, rollback and start until it is taken; a newer one for the model replaces it.
"""

import asyncio
import json
import logging
from dataclasses import dataclass

from edgecanary.agent.ports import InstalledRevision, ModelKey
from edgecanary.base.errors import Unavailable
from edgecanary.clients.backoff import Backoff
from edgecanary.clients.localhook import LocalHook

log = logging.getLogger(__name__)

ASK_SECONDS = 5.0
"""How often the application is asked about a revision on trial."""

_REFUSALS = (409, 422)
_FIRST_SECONDS, _CAP_SECONDS = 1.0, 60.0


@dataclass(frozen=True)
class News:
    """What the application is told: the active revision, or that there is none."""

    key: ModelKey
    installed: InstalledRevision | None
    trial: bool = False
    """The revision is on trial: a refusal takes it back."""

    def encode(self) -> bytes:
        """The message's body."""
        found = self.installed
        return json.dumps(
            {
                "namespace": self.key.namespace,
                "model": self.key.name,
                "revision": found and found.revision,
                "version": found and found.version,
                "path": found and str(found.directory.absolute()),
                "phase": "Trial" if self.trial else "Active" if found else "Withdrawn",
            }
        ).encode()


class Notifier:
    """The hook, and what it was not told yet. Without a hook nobody is told anything."""

    def __init__(self, hook: LocalHook | None = None) -> None:
        self._hook = hook
        self._tasks: dict[ModelKey, asyncio.Task[None]] = {}

    @property
    def present(self) -> bool:
        """Whether there is a hook."""
        return self._hook is not None

    def announce(self, news: News) -> None:
        """Has the application told, as soon as it listens."""
        if self._hook is None:
            return
        self.forget(news.key)
        self._tasks[news.key] = asyncio.create_task(self._deliver(news), name=f"notify {news.key}")

    def forget(self, key: ModelKey) -> None:
        """Ends the attempts to tell of a model."""
        task = self._tasks.pop(key, None)
        if task is not None:
            task.cancel()

    async def ask(self, news: News) -> str | None:
        """Tells the application of a revision on trial: None when it takes it, else why not. Raises Unavailable."""
        if self._hook is None:
            return None
        answer = await asyncio.to_thread(self._hook.call, "POST", news.encode())
        if answer.good:
            return None
        if answer.status in _REFUSALS:
            return answer.text[:500] or "it gave no reason"
        raise Unavailable(
            "NotifyUnanswered",
            f"the hook {self._hook.url} answered {answer.status}; 2xx takes the revision, 409 or 422 refuses it",
        )

    async def trial(self, news: News, soak_seconds: float) -> str | None:
        """Asks again and again, for the time of the soak: why the application refuses a revision; None: it does not.

        Raises Unavailable while it does not answer: the soak begins when it does.
        """
        loop = asyncio.get_running_loop()
        began = loop.time()
        while self.present:
            refusal = await self.ask(news)
            left = soak_seconds - (loop.time() - began)
            if refusal is not None or left <= 0:
                return refusal
            await asyncio.sleep(min(ASK_SECONDS, left))
        return None

    async def _deliver(self, news: News) -> None:
        backoff = Backoff(_FIRST_SECONDS, _CAP_SECONDS)
        while True:
            try:
                refusal = await self.ask(news)
            except Unavailable as error:
                log.warning("%s: the application was not told yet: %s", news.key, error)
                await asyncio.sleep(backoff.next())
                continue
            if refusal is not None:
                log.warning("%s: the application refuses what is active: %s", news.key, refusal)
            return
