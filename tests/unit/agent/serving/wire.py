"""A listener with a handler that echoes, and a client that speaks bytes."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from edgecanary.agent.serving.listener import Listener
from edgecanary.agent.serving.messages import HttpFault, HttpLimits, Request, Response

GET = b"GET /echo HTTP/1.1\r\nhost: x\r\n\r\n"
CHUNKED = b"POST /echo HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n"


def post(body: bytes, *headers: str, path: str = "/echo") -> bytes:
    head = "\r\n".join([f"POST {path} HTTP/1.1", "host: x", f"content-length: {len(body)}", *headers])
    return head.encode() + b"\r\n\r\n" + body


@dataclass
class Echo:
    """Answers with what it was sent; `/gate` waits until told, `/unread` leaves the body, `/defect` breaks."""

    gate: asyncio.Event = field(default_factory=asyncio.Event)
    entered: asyncio.Event = field(default_factory=asyncio.Event)
    gone: int = 0

    async def __call__(self, request: Request) -> Response:
        if request.path == "/unread":
            raise HttpFault(404, "nothing here", retry_after_seconds=3)
        if request.path == "/defect":
            raise LookupError("a defect")
        if request.path == "/large":
            return Response(200, bytes(2**24))
        if request.path == "/gate":
            self.entered.set()
            await self.gate.wait()
        body = bytes(await request.read_body())
        return Response(200, f"{request.method} {request.path} ".encode() + body, "text/plain")


@dataclass(frozen=True)
class Wire:
    """A client that speaks bytes."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def answer(self, *, head_only: bool = False) -> tuple[int, dict[str, str], bytes]:
        async with asyncio.timeout(30):
            head = (await self.reader.readuntil(b"\r\n\r\n")).decode()
            lines = head.split("\r\n")
            headers = dict(line.split(": ", 1) for line in lines[1:] if line)
            length = 0 if head_only else int(headers.get("content-length", "0"))
            return int(lines[0].split()[1]), headers, await self.reader.readexactly(length)

    async def ended(self) -> bool:
        """Whether the server closes the connection without another byte."""
        async with asyncio.timeout(30):
            return await self.reader.read() == b""


@dataclass(frozen=True)
class Served:
    """A listener and its handler."""

    echo: Echo
    listener: Listener

    @contextlib.asynccontextmanager
    async def wire(self) -> AsyncIterator[Wire]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.listener.port)
        try:
            yield Wire(reader, writer)
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()


@contextlib.asynccontextmanager
async def serving(limits: HttpLimits | None = None) -> AsyncIterator[Served]:
    echo = Echo()
    listener = Listener(echo, limits)
    await listener.start("127.0.0.1:0", field="--listen")
    try:
        yield Served(echo, listener)
    finally:
        await listener.stop(grace_seconds=0.1)
