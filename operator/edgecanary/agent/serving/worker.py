"""The thread of one loaded model, and what waits for it.

A plain queue and one call back into the event loop cost a third of what an executor's futures cost, which counts
where the model itself takes 20 microseconds. The threads are daemons: a model that never returns must not keep
the process from ending.
"""

import asyncio
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from queue import Empty, SimpleQueue
from typing import Generic, Protocol, TypeVar

from edgecanary.agent import host
from edgecanary.agent.serving.messages import Response

log = logging.getLogger(__name__)

T = TypeVar("T")


class Interruptible(Protocol):
    """A run of a model."""

    def interrupt(self) -> None:
        """Ends it soon; safe from any thread, at any time."""
        ...


class Ticket:
    """One inference on its way: awaited in the event loop's thread, worked on in the model's."""

    __slots__ = ("_waiter", "body", "deadline", "expired", "json_length", "name", "outcome", "run")

    def __init__(self, name: str, body: bytearray, json_length: int | None, deadline: float) -> None:
        self.name = name
        """What the client called the model."""
        self.body = body
        self.json_length = json_length
        self.deadline = deadline
        """By the event loop's clock."""
        self._waiter: asyncio.Future[Response] | None = None
        self.outcome: Response | BaseException | None = None
        self.run: Interruptible | None = None
        self.expired = False

    @property
    def waiter(self) -> "asyncio.Future[Response]":
        """Gets the outcome. For the event loop's thread."""
        if self._waiter is None:
            self._waiter = asyncio.get_running_loop().create_future()
        return self._waiter

    def begin(self, run: Interruptible) -> None:
        """The model begins with it. In the model's thread."""
        self.run = run
        # In this order: whoever expires it now finds the run.
        if self.expired:
            run.interrupt()

    def expire(self) -> None:
        """Nobody waits for it any more: its run is to end soon."""
        self.expired = True
        run = self.run
        if run is not None:
            run.interrupt()

    def running(self) -> bool:
        """Whether the model's thread is at it."""
        return self.run is not None and self.outcome is None

    def deliver(self) -> None:
        """Tells who waits. In the event loop's thread."""
        if self.waiter.done():
            return
        if isinstance(self.outcome, BaseException):
            self.waiter.set_exception(self.outcome)
        elif self.outcome is not None:
            self.waiter.set_result(self.outcome)


class Deadlines:
    """Expires tickets that take too long, with at most one timer and none while nothing waits."""

    def __init__(self) -> None:
        self._tickets: deque[Ticket] = deque()
        self._timer: asyncio.TimerHandle | None = None

    def watch(self, ticket: Ticket) -> None:
        """Tickets come in the order of their deadlines."""
        while self._tickets and self._tickets[0].waiter.done():
            self._tickets.popleft()
        self._tickets.append(ticket)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_at(ticket.deadline, self._look)

    def stop(self) -> None:
        """Expires nothing any more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        now = asyncio.get_running_loop().time()
        while self._tickets and (self._tickets[0].waiter.done() or self._tickets[0].deadline <= now):
            ticket = self._tickets.popleft()
            if not ticket.waiter.done():
                ticket.expire()
                ticket.waiter.set_exception(TimeoutError())
        self._timer = None
        if self._tickets:
            self._timer = asyncio.get_running_loop().call_at(self._tickets[0].deadline, self._look)


class Call(Generic[T]):
    """Something else to be done in the model's thread."""

    def __init__(self, function: Callable[[], T]) -> None:
        self._function = function
        self._loop = asyncio.get_running_loop()
        self._runs = False
        self.waiter: asyncio.Future[T] = self._loop.create_future()
        """What the function returns or raises."""

    def running(self) -> bool:
        """Whether the thread is at it."""
        return self._runs

    def work(self) -> None:
        """Does it. In the thread."""
        self._runs = True
        try:
            result = self._function()
        except BaseException as error:  # noqa: BLE001 -- raised where the result is awaited
            self._runs = False
            call_soon(self._loop, self._fail, error)
        else:
            self._runs = False
            call_soon(self._loop, self._succeed, result)

    def _fail(self, error: BaseException) -> None:
        if not self.waiter.done():
            self.waiter.set_exception(error)

    def _succeed(self, result: T) -> None:
        if not self.waiter.done():
            self.waiter.set_result(result)


class Lane(Protocol):
    """Connections that the thread serves itself between what is queued."""

    def serve(self, *, wait: bool) -> None:
        """Answers what is there; with `wait` it first waits for requests or the bell."""
        ...

    def ring(self) -> None:
        """Ends the waiting. Safe from any thread."""
        ...

    def close(self) -> None:
        """Nothing is served any more."""
        ...


class Worker:
    """One thread with a queue. Work is done in the order in which it was given."""

    _lane: Lane | None = None

    def __init__(
        self, name: str, *, max_batch: int = 1, max_delay_seconds: float = 0.0, niceness: int = 0
    ) -> None:
        """With `max_batch` above 1, up to so many tickets that wait at once are answered together.

        The first of them waits at most `max_delay_seconds` for others. With `niceness` the thread gives way to others.
        """
        self._niceness = niceness
        self._queue: SimpleQueue[Ticket | Call[object] | None] = SimpleQueue()
        self._max_batch = max_batch
        self._max_delay_seconds = max_delay_seconds
        self._next: Ticket | Call[object] | None = None
        self._loop = asyncio.get_running_loop()
        self._answer: Callable[[Sequence[Ticket]], None] | None = None
        self._rest: Callable[[], None] = _nothing
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._thread.start()

    def answer_with(
        self,
        answer: Callable[[Sequence[Ticket]], None],
        *,
        together: bool,
        rest: Callable[[], None] | None = None,
    ) -> None:
        """What answers tickets: it settles the outcome of each. `together`: several at once are fine.

        `rest` is called after the answers were given.
        """
        self._answer = answer
        self._rest = rest or _nothing
        if not together:
            self._max_batch = 1

    def serve(self, lane: Lane) -> None:
        """Has the thread serve a lane as well from now on. Not where requests are answered together."""
        self._lane = lane
        # Whatever it does or waits for now: after this it knows.
        self._put(Call(_nothing))

    @property
    def together(self) -> bool:
        """Whether requests that wait at the same time are answered together."""
        return self._max_batch > 1

    def submit(self, ticket: Ticket) -> None:
        """Queues an inference; its waiter gets the outcome."""
        self._put(ticket)

    def answer_one(self, ticket: Ticket) -> None:
        """Settles a ticket's outcome. In the thread."""
        try:
            if self._answer is None:
                raise RuntimeError("the thread has no model to answer with")
            self._answer((ticket,))
        except BaseException as defect:  # noqa: BLE001 -- whoever asked raises it, and the thread lives on
            ticket.outcome = ticket.outcome or defect

    def call(self, function: Callable[[], T]) -> Call[T]:
        """Queues a function."""
        call = Call(function)
        self._put(call)  # type: ignore[arg-type]
        return call

    def close(self) -> None:
        """Ends the thread behind what is queued."""
        self._put(None)

    async def ended(self, *, within_seconds: float) -> None:
        """Waits for the thread to end, but not for ever: a runtime may hang in it."""
        await asyncio.to_thread(self._thread.join, within_seconds)

    def _put(self, item: Ticket | Call[object] | None) -> None:
        self._queue.put(item)
        # In this order: a thread that waits in its lane since it saw no item is told of it.
        if self._lane is not None:
            self._lane.ring()

    def _work(self) -> None:
        if self._niceness:
            host.lower_priority(self._niceness)
        while True:
            item = self._next if self._next is not None else self._take()
            self._next = None
            if item is None:
                if self._lane is not None:
                    self._lane.close()
                return
            if isinstance(item, Call):
                item.work()
            else:
                self._settle(self._gather(item))

    def _take(self) -> Ticket | Call[object] | None:
        """The next item; the lane is served before each, and until there is one."""
        waits = False
        # In turns: where something is always queued, who is in the lane would wait for good.
        while self._lane is not None and not waits:
            waits = not self._queue.empty()
            self._lane.serve(wait=not waits)
            self._do_the_rest()
        return self._queue.get()

    def _gather(self, first: Ticket) -> list[Ticket]:
        """The tickets to answer together."""
        tickets = [first]
        if self._max_batch == 1:
            return tickets
        until = time.monotonic() + self._max_delay_seconds
        while len(tickets) < self._max_batch:
            left = until - time.monotonic()
            try:
                item = self._queue.get(timeout=left) if left > 0 else self._queue.get_nowait()
            except Empty:
                break
            if not isinstance(item, Ticket):
                # What is behind the tickets stays behind them; the end is put back, being the last.
                if item is None:
                    self._queue.put(None)
                self._next = item
                break
            tickets.append(item)
        return tickets

    def _settle(self, tickets: list[Ticket]) -> None:
        alive = [ticket for ticket in tickets if not ticket.expired]
        try:
            if self._answer is None:
                raise RuntimeError("the thread has no model to answer with")
            if alive:
                self._answer(alive)
        except BaseException as defect:  # noqa: BLE001 -- the requests' tasks raise it, and the thread lives on
            for ticket in alive:
                ticket.outcome = ticket.outcome or defect
        call_soon(self._loop, _deliver_all, tickets)
        self._do_the_rest()

    def _do_the_rest(self) -> None:
        try:
            self._rest()
        except Exception:
            log.exception("what follows an answer failed")


def _nothing() -> None:
    """There is no rest."""


def _deliver_all(tickets: Sequence[Ticket]) -> None:
    for ticket in tickets:
        ticket.deliver()


def call_soon(loop: asyncio.AbstractEventLoop, function: Callable[..., object], *arguments: object) -> None:
    """Calls in the event loop's thread, unless the loop has ended: then nobody waits."""
    try:
        loop.call_soon_threadsafe(function, *arguments)
    except RuntimeError:
        if not loop.is_closed():
            raise
