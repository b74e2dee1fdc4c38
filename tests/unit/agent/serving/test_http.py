"""The HTTP server on a raw socket: what it accepts, what it bounds, and how it ends."""

import asyncio
import contextlib
import json
import logging
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest

from edgecanary.agent.serving.listener import Listener, parse_address
from edgecanary.agent.serving.messages import HttpFault, HttpLimits, Request, Response
from edgecanary.base.errors import InvalidInput, Unavailable

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


async def test_a_connection_serves_one_request_after_the_other() -> None:
    async with serving() as served, served.wire() as wire:
        for body in (b"one", b"two"):
            await wire.send(post(body))
            status, headers, echoed = await wire.answer()
            assert (status, echoed) == (200, b"POST /echo " + body)
            assert "connection" not in headers
            assert headers["date"].endswith(" GMT")


async def test_pipelined_requests_are_answered_in_order() -> None:
    async with serving() as served, served.wire() as wire:
        await wire.send(b"".join(post(str(number).encode()) for number in range(50)))
        for number in range(50):
            assert (await wire.answer())[2] == f"POST /echo {number}".encode()


async def test_a_flood_of_pipelined_requests_waits_in_the_clients_own_memory() -> None:
    async with serving() as served, served.wire() as wire:
        await wire.send(post(b"", path="/gate"))
        await served.echo.entered.wait()
        wire.writer.write(GET * 150_000)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(wire.writer.drain(), timeout=1)
        (connection,) = served.listener._shared.connections
        assert 1 < len(connection._exchanges) < 20_000


async def test_a_request_may_arrive_byte_by_byte() -> None:
    async with serving() as served, served.wire() as wire:
        for byte in post(b"slow"):
            await wire.send(bytes([byte]))
        assert (await wire.answer())[2] == b"POST /echo slow"


async def test_a_chunked_body_is_put_together() -> None:
    async with serving() as served, served.wire() as wire:
        await wire.send(CHUNKED + b"3\r\none\r\n")
        await wire.send(b"3\r\ntwo\r\n0\r\n\r\n")
        assert (await wire.answer())[2] == b"POST /echo onetwo"


async def test_a_client_that_waits_to_be_asked_for_its_body_is_asked() -> None:
    async with serving() as served, served.wire() as wire:
        await wire.send(post(b"body", "expect: 100-continue")[:-4])
        assert (await wire.answer())[0] == 100
        await wire.send(b"body")
        assert (await wire.answer())[2] == b"POST /echo body"


async def test_a_client_that_waits_is_not_asked_for_a_body_that_is_too_large() -> None:
    async with serving(HttpLimits(max_body_bytes=3)) as served, served.wire() as wire:
        await wire.send(post(b"body", "expect: 100-continue")[:-4])
        assert (await wire.answer())[0] == 413


async def test_head_gets_the_head_of_an_answer() -> None:
    async with serving() as served, served.wire() as wire:
        await wire.send(b"HEAD /echo HTTP/1.1\r\nhost: x\r\n\r\n" + GET)
        status, headers, _ = await wire.answer(head_only=True)
        assert (status, headers["content-length"]) == (200, "11")
        assert (await wire.answer())[2] == b"GET /echo "


async def test_http_1_0_ends_the_connection_unless_it_asks_to_keep_it() -> None:
    async with serving() as served:
        async with served.wire() as wire:
            await wire.send(b"GET /echo HTTP/1.0\r\n\r\n")
            assert (await wire.answer())[1]["connection"] == "close"
            assert await wire.ended()
        async with served.wire() as wire:
            await wire.send(b"GET /echo HTTP/1.0\r\nconnection: keep-alive\r\n\r\n")
            assert (await wire.answer())[1]["connection"] == "keep-alive"


async def test_a_client_may_end_the_connection_after_a_request() -> None:
    async with serving() as served, served.wire() as wire:
        await wire.send(post(b"last", "connection: close"))
        assert (await wire.answer())[1]["connection"] == "close"
        assert await wire.ended()


@pytest.mark.parametrize("body", [b"", b"with a body"])
async def test_the_offer_of_another_protocol_is_ignored(body: bytes) -> None:
    async with serving() as served, served.wire() as wire:
        request = post(body, "connection: Upgrade, HTTP2-Settings", "upgrade: h2c")
        await wire.send(request[:-3])
        await asyncio.sleep(0.05)
        await wire.send(request[-3:])
        _, headers, echoed = await wire.answer()
        assert (headers["connection"], echoed) == ("close", b"POST /echo " + body)
        assert await wire.ended()


async def test_the_offer_of_another_protocol_with_chunks_is_refused() -> None:
    async with serving() as served, served.wire() as wire:
        offer = b"transfer-encoding: chunked\r\nconnection: upgrade\r\nupgrade: h2c\r\n\r\n"
        await wire.send(b"POST /echo HTTP/1.1\r\nhost: x\r\n" + offer)
        assert (await wire.answer())[0] == 400


async def test_a_client_that_closed_its_side_still_gets_its_answer() -> None:
    async with serving() as served, served.wire() as wire:
        await wire.send(post(b"bye"))
        wire.writer.write_eof()
        assert (await wire.answer())[2] == b"POST /echo bye"
        assert await wire.ended()


async def test_a_client_that_leaves_in_the_middle_of_its_body_is_forgotten() -> None:
    async with serving() as served:
        async with served.wire() as wire:
            await wire.send(post(b"half a body")[:-4])
            wire.writer.write_eof()
            assert await wire.ended()
        async with served.wire() as wire:
            await wire.send(GET)
            assert (await wire.answer())[0] == 200


async def test_a_body_over_the_limit_gets_an_answer_that_the_client_can_read() -> None:
    async with serving(HttpLimits(max_body_bytes=10)) as served, served.wire() as wire:
        await wire.send(post(b"0123456789"))
        assert (await wire.answer())[0] == 200
        await wire.send(post(bytes(300_000)))
        status, headers, body = await wire.answer()
        assert (status, headers["connection"]) == (413, "close")
        words = "the request body of 300000 bytes is too large, at most 10 bytes are allowed"
        assert json.loads(body) == {"error": words}
        assert await wire.ended()


async def test_a_chunked_body_is_cut_off_at_the_limit() -> None:
    async with serving(HttpLimits(max_body_bytes=10)) as served, served.wire() as wire:
        await wire.send(CHUNKED + b"6\r\n012345\r\n")
        await wire.send(b"6\r\n012345\r\n")
        assert (await wire.answer())[0] == 413


async def test_an_answer_before_the_body_was_read_ends_the_connection() -> None:
    async with serving() as served, served.wire() as wire:
        await wire.send(post(bytes(100_000), path="/unread")[:50_000])
        status, headers, body = await wire.answer()
        assert (status, headers["retry-after"]) == (404, "3")
        assert json.loads(body) == {"error": "nothing here"}
        assert await wire.ended()


async def test_all_bodies_together_are_bounded_and_room_comes_back() -> None:
    limits = HttpLimits(max_body_bytes=100, max_buffered_bytes=150)
    async with serving(limits) as served, served.wire() as first, served.wire() as second:
        await first.send(post(bytes(100))[:-1])
        await asyncio.sleep(0.1)
        await second.send(post(bytes(100)))
        status, headers, body = await second.answer()
        assert (status, headers["retry-after"]) == (503, "1")
        assert b"too many request bodies at once" in body
        await first.send(bytes(1))
        assert (await first.answer())[0] == 200
        for _ in range(5):
            await first.send(post(bytes(100)))
            assert (await first.answer())[0] == 200


async def test_room_comes_back_from_clients_that_left_and_requests_that_failed() -> None:
    limits = HttpLimits(max_body_bytes=100, max_buffered_bytes=100, body_seconds=0.2)
    async with serving(limits) as served:
        async with served.wire() as wire:
            await wire.send(post(bytes(100))[:-1])
            await asyncio.sleep(0.05)
        async with served.wire() as wire:
            await wire.send(post(bytes(100))[:-1])
            assert (await wire.answer())[0] == 408
        async with served.wire() as wire:
            await wire.send(post(bytes(100), path="/unread"))
            assert (await wire.answer())[0] == 404
            await wire.send(post(bytes(100)))
            assert (await wire.answer())[0] == 200


async def test_a_body_that_arrives_after_its_answer_takes_no_room() -> None:
    async with serving(HttpLimits(max_body_bytes=100, max_buffered_bytes=100)) as served:
        async with served.wire() as wire:
            await wire.send(post(bytes(100), path="/large")[:-99])
            await asyncio.sleep(0.2)
            await wire.send(bytes(99))
            await asyncio.sleep(0.2)
            assert (await wire.answer())[0] == 200
        async with served.wire() as wire:
            await wire.send(post(bytes(100)))
            assert (await wire.answer())[0] == 200


async def test_a_head_over_the_limit_is_refused_in_one_piece_or_many() -> None:
    async with serving(HttpLimits(max_head_bytes=1000)) as served:
        async with served.wire() as wire:
            await wire.send(b"GET /echo HTTP/1.1\r\n" + b"a: b\r\n" * 400)
            assert (await wire.answer())[0] == 431
        async with served.wire() as wire:
            await wire.send(b"GET /echo HTTP/1.1\r\nlong: ")
            with contextlib.suppress(ConnectionError):
                for _ in range(20):
                    await wire.send(b"x" * 100)
                    await asyncio.sleep(0)
            assert (await wire.answer())[0] == 431


@pytest.mark.parametrize(
    "garbage",
    [
        b"\x16\x03\x01\x02\x00\x01",
        b"GET\r\n\r\n",
        b"POST /echo HTTP/1.1\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nx",
        b"POST /echo HTTP/1.1\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST /echo HTTP/1.1\r\ncontent-length: -1\r\n\r\n",
        b"GET /echo HTTP/1.1\r\nbad header\r\n\r\n",
    ],
    ids=["TLS", "no version", "two lengths", "length and chunks", "negative length", "header without colon"],
)
async def test_what_is_no_valid_http_is_a_400(garbage: bytes) -> None:
    async with serving() as served, served.wire() as wire:
        await wire.send(garbage)
        status, _, body = await wire.answer()
        assert status == 400
        assert "not a valid HTTP/1.1 request" in json.loads(body)["error"]
        assert await wire.ended()


async def test_a_broken_chunk_fails_its_own_request() -> None:
    async with serving() as served, served.wire() as wire:
        await wire.send(CHUNKED + b"zz\r\n")
        assert (await wire.answer())[0] == 400


async def test_garbage_behind_a_request_is_answered_after_it() -> None:
    async with serving() as served, served.wire() as wire:
        await wire.send(GET + b"\x00\x00\x00\x00")
        assert (await wire.answer())[0] == 200
        assert (await wire.answer())[0] == 400


async def test_a_head_or_body_that_does_not_end_in_time_is_a_408() -> None:
    async with serving(HttpLimits(head_seconds=0.2, body_seconds=0.2)) as served:
        async with served.wire() as wire:
            await wire.send(b"GET /echo HT")
            assert (await wire.answer())[0] == 408
        async with served.wire() as wire:
            await wire.send(post(b"body")[:-1])
            assert (await wire.answer())[0] == 408


async def test_a_silent_connection_is_closed() -> None:
    async with serving(HttpLimits(head_seconds=0.1, idle_seconds=0.1)) as served:
        async with served.wire() as wire:
            assert await wire.ended()
        async with served.wire() as wire:
            await wire.send(GET)
            await wire.answer()
            assert await wire.ended()


async def test_a_connection_too_many_is_told_so() -> None:
    async with serving(HttpLimits(max_connections=2)) as served:
        async with served.wire() as first, served.wire() as second:
            await first.send(GET)
            await second.send(GET)
            await first.answer()
            await second.answer()
            async with served.wire() as third:
                status, headers, _ = await third.answer()
                assert (status, headers["retry-after"]) == (503, "1")
                assert await third.ended()
        await asyncio.sleep(0.1)
        async with served.wire() as fourth:
            await fourth.send(GET)
            assert (await fourth.answer())[0] == 200


async def test_a_client_that_does_not_take_its_answer_is_dropped() -> None:
    async with serving(HttpLimits(send_seconds=0.2)) as served, served.wire() as wire:
        await wire.send(b"GET /large HTTP/1.1\r\nhost: x\r\n\r\n")
        await asyncio.sleep(1)
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await wire.answer()


async def test_a_defect_is_a_500_in_the_log_and_not_the_end(caplog: pytest.LogCaptureFixture) -> None:
    async with serving() as served:
        async with served.wire() as wire:
            with caplog.at_level(logging.ERROR):
                await wire.send(b"GET /defect HTTP/1.1\r\nhost: x\r\n\r\n")
                status, _, body = await wire.answer()
            assert (status, body) == (500, b'{"error":"the server failed, see its log"}')
            assert "a defect" in caplog.text
        async with served.wire() as wire:
            await wire.send(GET)
            assert (await wire.answer())[0] == 200


async def test_stopping_lets_requests_end_and_takes_no_more() -> None:
    async with serving() as served, served.wire() as wire, served.wire() as idle:
        await wire.send(post(b"late", path="/gate"))
        await served.echo.entered.wait()
        port = served.listener.port
        stopping = asyncio.create_task(served.listener.stop(grace_seconds=30))
        assert await idle.ended()
        with pytest.raises(ConnectionError):
            await asyncio.open_connection("127.0.0.1", port)
        served.echo.gate.set()
        status, headers, body = await wire.answer()
        assert (status, headers["connection"], body) == (200, "close", b"POST /gate late")
        await stopping


async def test_stopping_ends_what_does_not_end_by_itself() -> None:
    async with serving() as served, served.wire() as wire:
        await wire.send(post(b"never", path="/gate"))
        await served.echo.entered.wait()
        await served.listener.stop(grace_seconds=0.1)
        with contextlib.suppress(ConnectionError):
            assert await wire.ended()


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:9010", ("127.0.0.1", 9010)),
        (":9011", ("", 9011)),
        ("[::1]:9010", ("::1", 9010)),
        ("localhost:0", ("localhost", 0)),
    ],
)
def test_addresses_are_host_and_port(text: str, address: tuple[str, int]) -> None:
    assert parse_address(text, field="--listen") == address


@pytest.mark.parametrize(
    "text", ["", "9010", "localhost", "host:", "host:x", "host:65536", "::1:9010", "[x]:1"]
)
def test_other_addresses_are_refused_by_the_settings_name(text: str) -> None:
    with pytest.raises(InvalidInput, match=r"--listen: must be host:port, \[ipv6\]:port or :port, got"):
        parse_address(text, field="--listen")


async def test_an_address_in_use_says_so() -> None:
    async with serving() as served:
        with pytest.raises(Unavailable, match=r"--listen: cannot listen on 127\.0\.0\.1:"):
            await Listener(Echo()).start(f"127.0.0.1:{served.listener.port}", field="--listen")
