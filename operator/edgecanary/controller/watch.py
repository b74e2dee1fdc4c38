"""kopf in a thread of its own: it watches the kinds; when it gives up, it is begun anew.

kopf looks once which kinds there are and leaves out what it does not find, so it begins when all are there. It
retries by itself what it knows to be passing. It ends when its credentials are refused, when a kind is
not served, or when a watch reports a failure of the server; none of this must end the operator. It has a
thread, and so an event loop, to itself since it cancels every task of its loop when it ends.
"""

import asyncio
import itertools
import logging
import random
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

import kopf

from edgecanary.base.errors import EdgecanaryError
from edgecanary.clients.access import Access
from edgecanary.clients.kube import Forbidden
from edgecanary.clients.resources import Resource
from edgecanary.controller.cache import Part, Scope
from edgecanary.controller.handlers import Restarted, Wake, register
from edgecanary.controller.threads import start

_LIST_CHUNK = 250
_REQUEST_SECONDS = 60.0
_CONNECT_SECONDS = 10.0
_SILENCE_SECONDS = 90.0
_RETRY_CAP = 15.0
_RESTART_CAP = 30.0
_LOOK_CAP = 5.0

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Listeners:
    """Who hears of what: changes, a kind's watch that begins anew, and a restart after a failure."""

    wake: Wake
    anew: Restarted
    restarted: Callable[[], None]


class Kinds(Protocol):
    """Knows what the API server serves."""

    def missing(self) -> tuple[Resource, ...]:
        """The kinds to watch that it does not tell of. Raises the API server's errors."""
        ...


@dataclass(frozen=True)
class _Run:
    """One run of kopf: its event loop, and what ends it."""

    loop: asyncio.AbstractEventLoop
    stop: asyncio.Event


class Watcher:
    """Watches all parts of the cache until it is stopped."""

    def __init__(
        self, access: Access, parts: tuple[Part, ...], scope: Scope, kinds: Kinds, listeners: Listeners
    ) -> None:
        self._access = access
        self._parts = parts
        self._kinds = kinds
        self._scope = scope
        self._listeners = listeners
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        self._current: _Run | None = None
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)

    def start(self) -> None:
        """Begins to watch."""
        self._thread.start()

    @property
    def ended(self) -> bool:
        """Whether the thread that keeps the watches going was started and is gone."""
        return self._thread.ident is not None and not self._thread.is_alive()

    def restart(self) -> None:
        """Begins all watches anew."""
        with self._lock:
            if self._current is not None:
                self._current.loop.call_soon_threadsafe(self._current.stop.set)

    def stop(self, *, seconds: float) -> None:
        """Ends the watches; waits at most `seconds` for it."""
        self._stopping.set()
        self.restart()
        if self._thread.ident is not None:
            self._thread.join(seconds)

    def _run(self) -> None:
        for delay in _delays(base=1.0, cap=_RESTART_CAP):
            self._wait_for_kinds()
            if self._stopping.is_set():
                return
            error = start(self._watch, name="kopf").exception()
            if self._stopping.is_set():
                return
            log.warning("the watches ended (%s); they begin anew in %.1f s", error or "asked to", delay)
            self._listeners.restarted()
            self._stopping.wait(delay)

    def _wait_for_kinds(self) -> None:
        """Until the API server tells of all kinds, or forbids to ask, or this is to stop."""
        said: object = None
        for delay in _delays(base=0.5, cap=_LOOK_CAP):
            try:
                missing = self._kinds.missing()
            except Forbidden:
                return
            except EdgecanaryError as error:
                words = str(error)
            else:
                if not missing:
                    return
                words = f"the API server does not serve {', '.join(map(str, missing))}"
            if words != said:
                log.warning("%s; the watches begin when it does", words)
                said = words
            if self._stopping.wait(delay):
                return

    def _watch(self) -> None:
        # A plain registry: kopf's default one would log in through other clients that are installed.
        registry = kopf.OperatorRegistry()
        kopf.on.login(registry=registry, id="login")(self._login)
        register(registry, self._parts, self._listeners.wake, self._listeners.anew)
        asyncio.run(self._operate(registry))

    async def _operate(self, registry: kopf.OperatorRegistry) -> None:
        scope, run = self._scope, _Run(asyncio.get_running_loop(), asyncio.Event())
        namespaces = {*scope.namespaces, scope.system} if scope.namespaces else set()
        self._set_current(run)
        if self._stopping.is_set():
            run.stop.set()
        try:
            await kopf.operator(
                registry=registry,
                settings=_settings(),
                standalone=True,
                clusterwide=not namespaces,
                namespaces=sorted(namespaces),
                stop_flag=run.stop,
            )
        finally:
            self._set_current(None)

    def _set_current(self, run: "_Run | None") -> None:
        with self._lock:
            self._current = run

    async def _login(self, **_: object) -> kopf.ConnectionInfo:
        connection = self._access.connection()
        scheme, token = _split(connection.authorization)
        return kopf.ConnectionInfo(
            server=connection.server,
            ca_path=connection.ca_file,
            insecure=not connection.verify,
            scheme=scheme,
            token=token,
            certificate_path=connection.certificate_file,
            private_key_path=connection.key_file,
        )


def _split(authorization: str | None) -> tuple[str | None, str | None]:
    """Scheme and token of an Authorization header."""
    if authorization is None:
        return None, None
    scheme, _, token = authorization.partition(" ")
    return scheme.capitalize(), token.strip()


class _Backoffs:
    """Endless waits with jitter; kopf begins them anew for each request."""

    def __iter__(self) -> Iterator[float]:
        return _delays(base=0.5, cap=_RETRY_CAP)


def _delays(*, base: float, cap: float) -> Iterator[float]:
    for attempt in itertools.count():
        yield min(cap, base * 2 ** min(attempt, 16)) * random.uniform(0.5, 1)  # noqa: S311


def _settings() -> kopf.OperatorSettings:
    settings = kopf.OperatorSettings()
    settings.posting.enabled = False
    settings.scanning.disabled = True
    settings.process.ultimate_exiting_timeout = None
    settings.watching.chunk_size = _LIST_CHUNK
    settings.watching.connect_timeout = _CONNECT_SECONDS
    settings.watching.inactivity_timeout = _SILENCE_SECONDS
    settings.watching.reconnect_backoff = 0.5
    settings.networking.request_timeout = _REQUEST_SECONDS
    settings.networking.connect_timeout = _CONNECT_SECONDS
    settings.networking.error_backoffs = _Backoffs()
    return settings
