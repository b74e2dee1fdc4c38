"""Real requests to real agents: files of known type, at a steady rate, with feedback on every answer.

Each agent is asked about one file at a time. The generator runs in a thread of its own; its methods may be
called from any other thread.
"""

import asyncio
import hashlib
import itertools
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import Self, TypeVar

import aiohttp
from yarl import URL

from edgelab.errors import LabError
from edgelab.modelzoo.counts import KEPT_FAILURES, Failure, Tally, TrafficReport
from edgelab.modelzoo.field import Field, Sample
from edgelab.modelzoo.protocol import (
    HEADER_LENGTH,
    Answer,
    GarbledAnswerError,
    binary_request,
    feedback_body,
    json_request,
    read_answer,
)
from edgelab.modelzoo.tiny import LABEL_COUNT

MAX_ANSWER_BYTES = 256 * 1024
_CALL_SECONDS = 30.0
_T = TypeVar("_T")


@dataclass(frozen=True)
class TrafficSettings:
    """What to ask, and how often. Raises LabError for a figure that makes no sense."""

    model: str
    """The model's name on the agents, with or without its namespace."""
    requests_per_second: float = 5.0
    """For each agent; a slow agent gets fewer, and what it missed is not made up for."""
    timeout_seconds: float = 5.0
    """For a request or its feedback, from connecting to the last byte."""
    retry_seconds: float = 1.0
    """How long to leave an agent alone after it refused or broke a connection."""
    json_every: int = 10
    """One in so many requests is JSON, the others carry binary tensors; 1 is always JSON."""

    def __post_init__(self) -> None:
        for name in ("requests_per_second", "timeout_seconds", "retry_seconds", "json_every"):
            value = getattr(self, name)
            if not 0 < value < float("inf"):
                raise LabError(f"{name} is {value}, it must be above 0")


class TrafficGenerator:
    """Sends traffic while it is entered as a context; counts outlive the agents they belong to.

    `clock` gives seconds since the epoch, for the times in the counts.
    """

    def __init__(
        self, files: Field, settings: TrafficSettings, *, clock: Callable[[], float] = time.time
    ) -> None:
        if not files.samples:
            raise LabError("there are no files to send")
        self._files = files.samples
        self._settings = settings
        self._clock = clock
        self._agents: dict[str, _Agent] = {}
        self._failures: deque[Failure] = deque(maxlen=KEPT_FAILURES)
        self._broken: BaseException | None = None
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="traffic", daemon=True)
        self._session: aiohttp.ClientSession | None = None

    def __enter__(self) -> Self:
        self._thread.start()
        self._call(self._open)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result(_CALL_SECONDS)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_CALL_SECONDS)
        self._loop.close()

    def add(self, agent: str, base_url: str) -> None:
        """Start to ask an agent at `http://host:port`.

        Raises LabError when it is being asked already, or when the address is not one.
        """
        self._call(lambda: self._add(agent, base_url))

    def remove(self, agent: str) -> None:
        """Stop asking an agent; a request under way is dropped and not counted.

        Raises LabError when it is not being asked.
        """
        self._call(lambda: self._remove(agent))

    def replace(self, agent: str, base_url: str) -> None:
        """Ask an agent at another address from now on. Raises LabError as `add` and `remove` do."""
        self.remove(agent)
        self.add(agent, base_url)

    def set_rate(self, requests_per_second: float) -> None:
        """Change the rate of every agent, from each one's next request on."""
        settings = replace(self._settings, requests_per_second=requests_per_second)
        self._call(lambda: setattr(self, "_settings", settings))

    def report(self) -> TrafficReport:
        """The counts as they are now."""
        return self._call(
            lambda: TrafficReport({name: agent.tally.frozen() for name, agent in self._agents.items()})
        )

    def answered_since(self, agent: str, revision: str, moment: float) -> int:
        """How many requests, sent at `moment` (seconds since the epoch) or later, a revision answered."""
        return self._call(lambda: self._known(agent).tally.answered_since(revision, moment))

    def failures(self) -> tuple[Failure, ...]:
        """The last hundred failures, oldest first."""
        return self._call(lambda: tuple(self._failures))

    def _call(self, action: Callable[[], _T]) -> _T:
        """Run an action in the generator's thread; raises LabError when the generator is not running."""
        if self._broken is not None:
            raise LabError("the traffic generator broke down, this is a defect in it") from self._broken
        if not self._thread.is_alive():
            raise LabError("the traffic generator is not running: use it as a context manager")

        async def run() -> _T:
            return action()

        return asyncio.run_coroutine_threadsafe(run(), self._loop).result(_CALL_SECONDS)

    def _open(self) -> None:
        self._session = aiohttp.ClientSession(
            timeout=aiohttp.ClientTimeout(total=self._settings.timeout_seconds),
            connector=aiohttp.TCPConnector(limit=0),
            skip_auto_headers=["User-Agent", "Accept-Encoding"],
        )

    async def _close(self) -> None:
        tasks = [agent.task for agent in self._agents.values() if agent.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._session is not None:
            await self._session.close()

    def _add(self, name: str, base_url: str) -> None:
        try:
            url = URL(base_url)
        except ValueError as error:
            raise LabError(f"{name}: {base_url!r} is not an address: {error}") from error
        if url.scheme != "http" or not url.host:
            raise LabError(f"{name}: {base_url!r} is not an address such as http://127.0.0.1:9010")
        agent = self._agents.setdefault(name, _Agent(name))
        if agent.task is not None:
            raise LabError(f"{name} is being asked already: use replace to change its address")
        agent.task = self._loop.create_task(self._drive(agent, url / "v2" / "models" / self._settings.model))
        agent.task.add_done_callback(self._ended)

    def _remove(self, name: str) -> None:
        agent = self._known(name)
        if agent.task is None:
            raise LabError(f"{name} is not being asked")
        agent.task.cancel()
        agent.task = None

    def _known(self, name: str) -> "_Agent":
        if name not in self._agents:
            raise LabError(f"{name} was never added; known are {sorted(self._agents)}")
        return self._agents[name]

    def _ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled():
            self._broken = task.exception()

    async def _drive(self, agent: "_Agent", model: URL) -> None:
        """Ask one agent for ever."""
        due = self._loop.time() + agent.phase() / self._settings.requests_per_second
        while True:
            await asyncio.sleep(due - self._loop.time())
            try:
                await self._ask(agent, model)
                pause = 0.0
            except _Unreachable:
                pause = self._settings.retry_seconds
            due = max(due + 1 / self._settings.requests_per_second, self._loop.time() + pause)

    async def _ask(self, agent: "_Agent", model: URL) -> None:
        """One request and its feedback; raises _Unreachable when the agent cannot be talked to."""
        number = next(agent.numbers)
        sample = self._files[(agent.first() + number) % len(self._files)]
        request_id = f"{agent.name}-{number}"
        sent = self._clock()
        try:
            answer = await self._infer(
                model, request_id, sample, plain=number % self._settings.json_every == 0
            )
        except _FailedError as error:
            agent.tally.failed[error.kind] += 1
            self._note(agent, error)
            return
        correct = answer.label_index == sample.label_index
        agent.tally.answer(answer.revision, correct=correct, sent=sent, received=self._clock())
        body = feedback_body(request_id, correct=correct, revision=answer.revision)
        try:
            await self._post(model / "feedback", body, {"Content-Type": "application/json"})
        except _FailedError as error:
            agent.tally.feedback_failed[error.kind] += 1
            self._note(agent, error)

    def _note(self, agent: "_Agent", error: "_FailedError") -> None:
        self._failures.append(Failure(self._clock(), agent.name, error.kind, str(error)))
        if isinstance(error, _Unreachable):
            raise error

    async def _infer(self, model: URL, request_id: str, sample: Sample, *, plain: bool) -> Answer:
        request = (json_request if plain else binary_request)(request_id, sample.features)
        body, header_length = await self._post(model / "infer", request.body, request.headers)
        try:
            return read_answer(body, header_length, request_id=request_id, labels=LABEL_COUNT)
        except GarbledAnswerError as error:
            raise _FailedError("garbled", str(error)) from error

    async def _post(self, url: URL, body: bytes, headers: dict[str, str]) -> tuple[bytes, str | None]:
        """Post and read the whole answer; raises _FailedError for anything but HTTP 200."""
        if self._session is None:
            raise LabError("the traffic generator is not open")
        try:
            async with self._session.post(url, data=body, headers=headers, allow_redirects=False) as response:
                content = await response.content.read(MAX_ANSWER_BYTES)
                while chunk := await response.content.read(MAX_ANSWER_BYTES):
                    content += chunk
                    if len(content) > MAX_ANSWER_BYTES:
                        raise _FailedError("garbled", f"{url}: more than {MAX_ANSWER_BYTES} bytes")
                if response.status != 200:
                    words = content[:200].decode(errors="replace")
                    raise _FailedError(str(response.status), f"{url}: HTTP {response.status}: {words}")
                return content, response.headers.get(HEADER_LENGTH)
        except TimeoutError as error:
            raise _FailedError(
                "timeout", f"{url}: no answer in {self._settings.timeout_seconds} s"
            ) from error
        except aiohttp.ClientConnectionError as error:
            raise _Unreachable("connection", f"{url}: {error}") from error
        except aiohttp.ClientError as error:
            raise _FailedError("garbled", f"{url}: {error}") from error


@dataclass
class _Agent:
    """One agent: where it stands in the files and what came of it."""

    name: str
    tally: Tally = field(default_factory=Tally)
    numbers: Iterator[int] = field(default_factory=itertools.count)
    task: asyncio.Task[None] | None = None

    def first(self) -> int:
        """Where in the files to begin: agents begin at different places, the same ones in every run."""
        return int.from_bytes(hashlib.sha256(self.name.encode()).digest()[:4])

    def phase(self) -> float:
        """When to begin, as a share of the time between two requests, so that agents are not in step."""
        return hashlib.sha256(self.name.encode()).digest()[4] / 256


class _FailedError(Exception):
    """A request without an answer."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


class _Unreachable(_FailedError):
    """No connection, or one that broke."""
