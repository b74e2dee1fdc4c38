"""The metrics endpoint, and memory given back when requests pause."""

import asyncio

import aiohttp
import onnxruntime
from prometheus_client.parser import text_string_to_metric_families

from edgecanary.agent import host
from edgecanary.agent.serving.quiet import QuietTrim
from edgecanary.agent.serving.server import MetricsServer
from edgecanary.agent.telemetry import Identity, Telemetry
from tests.unit.agent.modelmaking import KEY, REVISION_A


async def test_metrics_and_health_are_served_and_nothing_else() -> None:
    telemetry = Telemetry(agent_version="1.2.3")
    telemetry.open(Identity(KEY, REVISION_A, "1.0.0"))
    server = MetricsServer(telemetry)
    await server.start("127.0.0.1:0")
    base = f"http://127.0.0.1:{server.port}"
    async with aiohttp.ClientSession() as client:
        async with client.get(f"{base}/metrics") as answer:
            assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
            families = {family.name for family in text_string_to_metric_families(await answer.text())}
        assert {"edgecanary_requests", "edgecanary_feedback", "edgecanary_agent_info"} <= families
        async with client.get(f"{base}/healthz") as answer:
            assert (answer.status, await answer.text()) == (200, "ok\n")
        async with client.get(f"{base}/other") as answer:
            assert answer.status == 404
        async with client.post(f"{base}/metrics") as answer:
            assert answer.status == 405
    await server.stop()


async def test_the_heap_is_trimmed_once_after_the_last_of_several_requests() -> None:
    trimmed: list[float] = []
    happened = asyncio.Event()
    loop = asyncio.get_running_loop()

    def trim() -> None:
        trimmed.append(loop.time())
        happened.set()

    quiet = QuietTrim(0.2, rest=trim)
    last = 0.0
    for _ in range(5):
        quiet.touch()
        last = loop.time()
        await asyncio.sleep(0.05)
    async with asyncio.timeout(30):
        await happened.wait()
    assert trimmed[0] >= last + 0.19
    await asyncio.sleep(0.5)
    assert len(trimmed) == 1
    quiet.touch()
    quiet.stop()
    await asyncio.sleep(0.3)
    assert len(trimmed) == 1


def test_a_trim_gives_freed_memory_back_to_the_system() -> None:
    blocks = [bytearray(100_000) for _ in range(1000)]
    keep = blocks[::100]
    before = host.private_bytes()
    blocks.clear()
    host.trim_heap()
    assert before - host.private_bytes() > 50 * 2**20
    assert len(keep) == 10


def test_code_that_nothing_uses_now_leaves_memory_and_comes_back_by_itself() -> None:
    runtime = onnxruntime.get_available_providers()
    meter = host.PeakMeter()
    before = meter.resident_bytes()
    host.unmap_idle_code()
    assert before - meter.resident_bytes() > 5 * 2**20
    assert onnxruntime.get_available_providers() == runtime
