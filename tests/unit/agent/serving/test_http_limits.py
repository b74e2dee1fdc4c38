"""HTTP on a raw socket: what is bounded in size, time and number, and what is refused."""

import asyncio
import contextlib
import json

import pytest

from edgecanary.agent.serving.messages import HttpLimits
from tests.unit.agent.serving.wire import CHUNKED, GET, post, serving


async def test_a_flood_of_pipelined_requests_waits_in_the_clients_own_memory() -> None:
    async with serving() as served, served.wire() as wire:
        await wire.send(post(b"", path="/gate"))
        await served.echo.entered.wait()
        wire.writer.write(GET * 150_000)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(wire.writer.drain(), timeout=1)
        (connection,) = served.listener._shared.connections
        queued = len(connection._exchanges)
        wire.writer.transport.abort()
        assert 1 < queued < 20_000


async def test_a_client_that_waits_is_not_asked_for_a_body_that_is_too_large() -> None:
    async with serving(HttpLimits(max_body_bytes=3)) as served, served.wire() as wire:
        await wire.send(post(b"body", "expect: 100-continue")[:-4])
        assert (await wire.answer())[0] == 413


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
