"""HTTP/1.1 on one connection, parsed by llhttp: bounded in memory and time, and no timer that ticks.

A handler is called as soon as a request's head is there and reads the body itself, so that it can refuse a
request before its body is taken in. Pipelined requests are answered one after the other.
"""

import asyncio
import functools
import logging
from collections import deque
from dataclasses import dataclass, field

import httptools

from edgecanary.agent.serving.alarm import Alarm
from edgecanary.agent.serving.exchange import BodyRoom, Exchange, Head, encode_head
from edgecanary.agent.serving.loan import Loan
from edgecanary.agent.serving.messages import (
    ClientGone,
    Handler,
    HttpFault,
    HttpLimits,
    Request,
    Response,
    fault_response,
)
from edgecanary.agent.serving.worker import Ticket

log = logging.getLogger(__name__)

_NO_HEAD = Head(method="", path="", headers={}, http_version="1.1", keep_alive=False)


@dataclass
class Shared:
    """What the connections of one listener share."""

    handler: Handler
    limits: HttpLimits
    room: BodyRoom
    connections: "set[Connection]" = field(default_factory=set)
    emptied: asyncio.Event = field(default_factory=asyncio.Event)
    stopping: bool = False


class Connection(asyncio.Protocol):
    """One client's connection."""

    def __init__(self, shared: Shared) -> None:
        self._shared = shared
        self._limits = shared.limits
        self._parser = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport | None = None
        self._exchanges: deque[Exchange] = deque()
        self._receiving: Exchange | None = None
        self._task: asyncio.Task[None] | None = None
        self._alarm = Alarm()
        self._writable = asyncio.Event()
        self._writable.set()
        self._in_head = False
        self._dropping = False
        self._upgraded = False
        self._head_bytes = 0
        self._url = b""
        self._headers: dict[str, str] = {}
        self._start = self._fresh = b""
        self._loan = Loan(self)

    # The transport's calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Takes the connection, or turns it away when there are too many."""
        if not isinstance(transport, asyncio.Transport):
            raise TypeError(f"a stream transport is needed, got {type(transport).__name__}")
        self._transport = transport
        full = len(self._shared.connections) >= self._limits.max_connections
        self._shared.connections.add(self)
        if full:
            self._refuse(HttpFault(503, "too many connections, try again", retry_after_seconds=1))
        else:
            self._alarm.set(self._limits.head_seconds, self._give_up_waiting)

    def connection_lost(self, _exc: Exception | None) -> None:
        """Lets go of everything; a request that was whole still runs to its end."""
        self._alarm.drop()
        self._loan.recall()
        self._transport = None
        for exchange in self._exchanges:
            exchange.lose()
        self._writable.set()
        self._shared.connections.discard(self)
        if not self._shared.connections:
            self._shared.emptied.set()

    def data_received(self, data: bytes) -> None:
        """Parses what arrived."""
        if self._upgraded:
            self._take_rest(data)
        elif not self._dropping:
            self._parse(data)

    def _parse(self, data: bytes) -> None:
        waiting = self._in_head
        if not waiting and self._receiving is None:
            self._fresh = data[: data.find(b"\r\n\r\n") + 4]
        self._head_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            for exchange in self._exchanges:
                exchange.keep_alive = False
            self._take_rest(data[upgrade.args[0] :])
        except httptools.HttpParserCallbackError:
            raise
        except httptools.HttpParserError as error:
            self._refuse(HttpFault(400, f"this is not a valid HTTP/1.1 request: {error}"))
        if not self._in_head or self._dropping:
            return
        if self._head_bytes > self._limits.max_head_bytes:
            self._refuse(HttpFault(431, f"the head must be at most {self._limits.max_head_bytes} bytes"))
        elif not waiting and not self._exchanges:
            self._alarm.set(self._limits.head_seconds, self._give_up_waiting)

    def _take_rest(self, data: bytes) -> None:
        """Takes a body that the parser leaves alone since the client offered another protocol with it.

        The offer is ignored, as the client must expect, and the connection ends with this request.
        """
        exchange = self._receiving
        if exchange is None:
            self._dropping = True
            return
        piece = data[: exchange.missing]
        exchange.feed(piece)
        exchange.missing -= len(piece)
        if exchange.missing == 0:
            exchange.end()
            self._receiving = None

    def eof_received(self) -> bool:
        """Keeps the connection for the answers that are due."""
        self._dropping = True
        if self._receiving is not None:
            self._receiving.lose()
        for exchange in self._exchanges:
            exchange.keep_alive = False
        return bool(self._exchanges)

    def pause_writing(self) -> None:
        """The client takes the answer more slowly than it is given."""
        self._writable.clear()

    def resume_writing(self) -> None:
        """The client took enough."""
        self._writable.set()

    # The parser's calls.

    def on_message_begin(self) -> None:
        """A request begins."""
        self._in_head = True
        # Known only for the first request of what arrived at once.
        self._start, self._fresh = self._fresh, b""
        self._head_bytes = 0
        self._url = b""
        self._headers = {}

    def on_url(self, url: bytes) -> None:
        """A piece of the target."""
        self._url += url
        self._head_bytes += len(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header."""
        self._headers[name.decode("latin-1").lower()] = value.decode("latin-1")
        self._head_bytes += len(name) + len(value) + len(": \r\n")

    def on_headers_complete(self) -> None:
        """The head is whole: the request can be handled."""
        self._in_head = False
        self._alarm.unset()
        head = Head(
            method=self._parser.get_method().decode("latin-1"),
            path=self._url.split(b"?", 1)[0].decode("latin-1"),
            headers=self._headers,
            http_version=self._parser.get_http_version(),
            keep_alive=self._parser.should_keep_alive(),
        )
        self._receiving = Exchange(head, self._shared.room, self._limits)
        self._upgraded = self._parser.should_upgrade()
        if self._upgraded and "transfer-encoding" in self._headers:
            self._receiving.fail(HttpFault(400, "Upgrade: must be absent when the body is sent in chunks"))
        self._enqueue(self._receiving)

    def on_body(self, body: bytes) -> None:
        """A piece of the body."""
        if self._receiving is not None:
            self._receiving.feed(body)

    def on_message_complete(self) -> None:
        """The request is whole, unless the parser says so only for the offer of another protocol."""
        if self._receiving is not None and not (self._upgraded and self._receiving.missing):
            self._receiving.end()
            self._receiving = None

    # What the listener calls.

    def shut_down(self) -> None:
        """Ends the connection after the answer that is due, if any."""
        self._loan.recall()
        if not self._exchanges:
            self._close()

    def abort(self) -> None:
        """Ends the connection now."""
        self._loan.recall()
        if self._task is not None:
            self._task.cancel()
        if self._transport is not None:
            self._transport.abort()

    # Lent to a model's thread.

    @property
    def stopping(self) -> bool:
        """Whether answers end the connection. Safe from any thread."""
        return self._shared.stopping

    def take_back(self, read: bytes, unsent: bytes) -> None:
        """Goes on with what a lane read of a request, after sending what is left of an answer."""
        self._loan.end(strayed=bool(read))
        if self._transport is None:
            return
        self._transport.write(unsent)
        self._transport.resume_reading()
        self._alarm.set(self._limits.idle_seconds, self._give_up_waiting)
        if self._shared.stopping:
            self._close()
        elif read:
            self._parse(read)

    def take_over(self, ticket: Ticket) -> None:
        """Waits for a request that the lane is at, and answers it."""
        loan = self._loan.end(strayed=False)
        if self._transport is None or loan is None:
            ticket.expire()
            return
        self._alarm.unset()
        exchange = Exchange(loan.guest.head, self._shared.room, self._limits)
        exchange.answer = lambda: loan.lane.service.finish(ticket)
        exchange.end()
        self._enqueue(exchange)
        self._transport.resume_reading()

    def _lend(self) -> bool:
        """Lends the connection if that is wished and nothing of a further request has come."""
        if self._transport is None or self._in_head or self._receiving or self._shared.stopping:
            return False
        return self._loan.begin(self._transport, self._start, self._limits.max_body_bytes)

    # Answering.

    def _enqueue(self, exchange: Exchange) -> None:
        self._exchanges.append(exchange)
        if len(self._exchanges) > 1 and self._transport is not None:
            self._transport.pause_reading()
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._answer_all())
            self._task.add_done_callback(self._task_done)

    def _refuse(self, fault: HttpFault) -> None:
        """Answers what is due, then this, then ends the connection."""
        self._dropping = True
        self._in_head = False
        if self._receiving is not None:
            self._receiving.fail(fault)
            return
        exchange = Exchange(_NO_HEAD, self._shared.room, self._limits)
        exchange.fail(fault)
        self._enqueue(exchange)

    async def _answer_all(self) -> None:
        """Answers what is queued. Ends without waiting for anything once the queue is empty."""
        while self._exchanges and self._transport is not None:
            exchange = self._exchanges[0]
            try:
                response = await self._respond(exchange)
            except ClientGone:
                self._exchanges.clear()
                self._close()
                break
            finally:
                exchange.release()
            await self._send(exchange, response)
            self._exchanges.popleft()
            if not self._goes_on(exchange):
                self._exchanges.clear()
                self._close(linger=not exchange.complete)
        self._task = None
        self._rest()

    def _rest(self) -> None:
        """Waits for the next request."""
        if self._transport is not None and not self._dropping:
            if not self._lend():
                self._transport.resume_reading()
            seconds = self._limits.head_seconds if self._in_head else self._limits.idle_seconds
            self._alarm.set(seconds, self._give_up_waiting)

    async def _respond(self, exchange: Exchange) -> Response:
        head = exchange.head
        try:
            if head is _NO_HEAD and exchange.fault is not None:
                raise exchange.fault
            if exchange.answer is not None:
                return await exchange.answer()
            self._loan.turn_to(head)
            read = functools.partial(exchange.receive, self._ask_for_body)
            request = Request(head.method, head.path, head.headers, read, self._loan.wish)
            return await self._shared.handler(request)
        except HttpFault as fault:
            return fault_response(fault)

    async def _send(self, exchange: Exchange, response: Response) -> None:
        if self._transport is None:
            return
        head = encode_head(exchange.head, response, keep_alive=self._goes_on(exchange))
        self._transport.write(head if exchange.head.method == "HEAD" else head + response.body)
        if self._writable.is_set():
            return
        try:
            async with asyncio.timeout(self._limits.send_seconds):
                await self._writable.wait()
        except TimeoutError:
            if self._transport is not None:
                self._transport.abort()

    def _goes_on(self, exchange: Exchange) -> bool:
        return exchange.keep_alive and exchange.complete and not self._shared.stopping

    def _broken(self, defect: BaseException) -> None:
        """The handler broke: says so in the log and to the client."""
        log.error("a request broke the server", exc_info=defect)
        self._task = None
        self._exchanges.clear()
        self._write(Response(500, b'{"error":"the server failed, see its log"}'))
        self._close(linger=True)

    def _task_done(self, task: asyncio.Task[None]) -> None:
        defect = None if task.cancelled() else task.exception()
        if defect is not None:
            self._broken(defect)

    def _ask_for_body(self) -> None:
        if self._transport is not None:
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def _write(self, response: Response) -> None:
        if self._transport is not None:
            self._transport.write(encode_head(_NO_HEAD, response, keep_alive=False) + response.body)

    def _close(self, *, linger: bool = False) -> None:
        """Ends the connection once the answer is out; with `linger` it first drops what still arrives."""
        self._dropping = True
        transport = self._transport
        if transport is None:
            return
        if linger and transport.can_write_eof() and not transport.is_closing():
            transport.write_eof()
            transport.resume_reading()
            self._alarm.set(self._limits.linger_seconds, transport.abort)
        else:
            transport.close()
            self._alarm.set(self._limits.send_seconds, transport.abort)

    def _give_up_waiting(self) -> None:
        """No request came, or its head did not end."""
        left = self._loan.idle_since() + self._limits.idle_seconds - asyncio.get_running_loop().time()
        if left > 0:
            self._alarm.set(left, self._give_up_waiting)
            return
        self._loan.recall()
        if self._loan.lasts or self._exchanges:
            return
        if self._in_head:
            seconds = f"{self._limits.head_seconds:g}"
            self._refuse(HttpFault(408, f"the request's head did not end within {seconds} seconds"))
        else:
            self._close()
