"""HTTP on a raw socket: what is understood, and how connections end."""

import asyncio
import contextlib
import logging

import pytest

from edgecanary.agent.serving.listener import Listener, parse_address
from edgecanary.base.errors import InvalidInput, Unavailable
from tests.unit.agent.serving.wire import CHUNKED, GET, Echo, post, serving


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
    with pytest.raises(
        InvalidInput, match=r"--listen: must be host:port, \[ipv6\]:port, :port or unix:/path, got"
    ):
        parse_address(text, field="--listen")


async def test_an_address_in_use_says_so() -> None:
    async with serving() as served:
        with pytest.raises(Unavailable, match=r"--listen: cannot listen on 127\.0\.0\.1:"):
            await Listener(Echo()).start(f"127.0.0.1:{served.listener.port}", field="--listen")
