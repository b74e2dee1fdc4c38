"""The traffic generator, against agents that speak HTTP on loopback."""

import asyncio
import itertools
import json
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import numpy as np
import pytest
from aiohttp import web

from edgelab.errors import LabError
from edgelab.modelzoo.counts import RevisionCount, TrafficReport
from edgelab.modelzoo.features import features_of_bytes
from edgelab.modelzoo.field import Field, Sample
from edgelab.modelzoo.traffic import TrafficGenerator, TrafficSettings

LABELS = 214
FILES = Field(
    tuple(
        Sample(f"some/{index}", f"type-{index}", index, features_of_bytes(f"file {index}".encode()))
        for index in range(7)
    )
)
OLD, NEW = "a" * 64, "b" * 64
SETTINGS = TrafficSettings(model="file-type", requests_per_second=50, retry_seconds=0.05, json_every=2)


@dataclass
class Agent:
    """Serves the protocol over real HTTP; it knows the files, so it is right unless told otherwise."""

    revision: str = OLD
    right: bool = True
    status: int = 200
    garble: Callable[[dict[str, object]], object] | None = None
    delay: float = 0
    feedback_status: int = 200
    url: str = ""
    kinds: set[str] = field(default_factory=set)
    ids: list[str] = field(default_factory=list)
    feedback: list[dict[str, str]] = field(default_factory=list)

    async def infer(self, request: web.Request) -> web.Response:
        await asyncio.sleep(self.delay)
        if self.status != 200:
            return web.json_response({"error": "not now"}, status=self.status)
        body = await request.read()
        length = request.headers.get("Inference-Header-Content-Length")
        self.kinds.add("json" if length is None else "binary")
        header = json.loads(body[: int(length)] if length else body)
        self.ids.append(header["id"])
        (tensor,) = header["inputs"]
        assert (tensor["name"], tensor["datatype"], tensor["shape"]) == ("bytes", "INT32", [1, 2048])
        if length is None:
            values = np.array(tensor["data"], dtype=np.int32)
        else:
            values = np.frombuffer(body[int(length) :], dtype="<i4")
            assert tensor["parameters"]["binary_data_size"] == values.nbytes
        return self._answer(header["id"], values, binary=length is not None)

    def _answer(self, request_id: str, values: np.typing.NDArray[np.int32], *, binary: bool) -> web.Response:
        truth = next(s.label_index for s in FILES if np.array_equal(s.features, values))
        scores = np.zeros(LABELS, dtype=np.float32)
        scores[truth if self.right else truth + 1] = 1
        output: dict[str, object] = {"name": "target_label", "datatype": "FP32", "shape": [1, LABELS]}
        answer: dict[str, object] = {
            "model_name": "file-type",
            "model_version": self.revision,
            "id": request_id,
            "outputs": [output],
        }
        if not binary:
            output["data"] = scores.tolist()
        else:
            output["parameters"] = {"binary_data_size": scores.nbytes}
        if self.garble:
            self.garble(answer)
        header = json.dumps(answer).encode()
        if not binary:
            return web.Response(body=header, content_type="application/json")
        return web.Response(
            body=header + scores.tobytes(), headers={"Inference-Header-Content-Length": str(len(header))}
        )

    async def take_feedback(self, request: web.Request) -> web.Response:
        self.feedback.append(await request.json())
        return web.json_response({}, status=self.feedback_status)


@asynccontextmanager
async def serving(agent: Agent, port: int = 0) -> AsyncIterator[Agent]:
    """An agent listening on loopback."""
    app = web.Application()
    app.router.add_post("/v2/models/file-type/infer", agent.infer)
    app.router.add_post("/v2/models/file-type/feedback", agent.take_feedback)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", port)
    await site.start()
    agent.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield agent
    finally:
        await runner.cleanup()


async def until(traffic: TrafficGenerator, reached: Callable[[TrafficReport], bool]) -> TrafficReport:
    """Wait until a report says so."""
    async with asyncio.timeout(30):
        for _ in itertools.count():
            if reached(report := traffic.report()):
                return report
            await asyncio.sleep(0.02)
    raise AssertionError("not reached")


async def test_every_answer_is_judged_and_fed_back_under_its_revision() -> None:
    async with serving(Agent()) as agent:
        with TrafficGenerator(FILES, SETTINGS) as traffic:
            traffic.add("edge-01", agent.url)
            await until(traffic, lambda r: r.answered >= 14)
            traffic.remove("edge-01")
            report = traffic.report()
    count = report.agents["edge-01"].revisions[OLD]
    assert (count.correct, count.incorrect, report.failed) == (count.answered, 0, 0)
    assert len(agent.feedback) >= count.answered - 1
    assert {item["outcome"] for item in agent.feedback} == {"correct"}
    assert {item["revision"] for item in agent.feedback} == {OLD}
    assert [item["id"] for item in agent.feedback] == agent.ids[: len(agent.feedback)]
    assert agent.ids[:2] == ["edge-01-0", "edge-01-1"]


async def test_tensors_travel_as_json_and_in_binary() -> None:
    async with serving(Agent()) as agent:
        with TrafficGenerator(FILES, SETTINGS) as traffic:
            traffic.add("edge-01", agent.url)
            await until(traffic, lambda r: r.answered >= 4)
    assert agent.kinds == {"json", "binary"}


async def test_a_wrong_answer_is_counted_and_fed_back_as_incorrect() -> None:
    async with serving(Agent(right=False)) as agent:
        with TrafficGenerator(FILES, SETTINGS) as traffic:
            traffic.add("edge-01", agent.url)
            report = await until(traffic, lambda r: r.incorrect >= 3)
    assert report.correct == 0
    assert {item["outcome"] for item in agent.feedback} == {"incorrect"}
    count = report.revisions()[OLD]
    assert count.first_incorrect == count.first_answer is not None


async def test_revisions_are_told_apart_by_who_answered_and_when() -> None:
    now = 1000.0
    async with serving(Agent()) as agent:
        with TrafficGenerator(FILES, SETTINGS, clock=lambda: now) as traffic:
            traffic.add("edge-01", agent.url)
            await until(traffic, lambda r: r.answered >= 3)
            agent.revision, agent.right = NEW, False
            await until(traffic, lambda r: NEW in r.revisions())
            now = 2000.0
            await until(traffic, lambda r: r.revisions()[NEW].last_answer == 2000.0)
            traffic.remove("edge-01")
            old, new = (traffic.report().agents["edge-01"].revisions[rev] for rev in (OLD, NEW))
            late = traffic.answered_since("edge-01", NEW, 1500.0)
            assert traffic.answered_since("edge-01", OLD, 1500.0) == 0
            assert traffic.answered_since("edge-01", NEW, 0.0) == new.answered
            assert 1 <= late < new.answered
    assert (old.first_answer, old.last_answer, old.first_incorrect) == (1000.0, 1000.0, None)
    assert (new.first_answer, new.last_answer, new.first_incorrect) == (1000.0, 2000.0, 1000.0)


@pytest.mark.parametrize("status", [404, 503])
async def test_a_refusal_is_counted_by_its_status(status: int) -> None:
    async with serving(Agent(status=status)) as agent:
        with TrafficGenerator(FILES, SETTINGS) as traffic:
            traffic.add("edge-01", agent.url)
            report = await until(traffic, lambda r: r.failed >= 2)
            failure = traffic.failures()[0]
    assert set(report.failed_by_kind()) == {str(status)}
    assert (report.answered, agent.feedback) == (0, [])
    assert (failure.agent, failure.kind) == ("edge-01", str(status))
    assert "not now" in failure.message


async def test_an_agent_that_is_not_there_is_asked_again_until_it_is() -> None:
    with socket.create_server(("127.0.0.1", 0)) as reserved:
        port = reserved.getsockname()[1]
    with TrafficGenerator(FILES, SETTINGS) as traffic:
        traffic.add("edge-01", f"http://127.0.0.1:{port}")
        report = await until(traffic, lambda r: r.failed >= 2)
        assert set(report.failed_by_kind()) == {"connection"}
        async with serving(Agent(), port):
            await until(traffic, lambda r: r.answered >= 2)
        failed = traffic.report().failed
        await until(traffic, lambda r: r.failed > failed)


async def test_a_late_answer_is_a_timeout_and_does_not_hold_up_other_agents() -> None:
    settings = TrafficSettings(model="file-type", requests_per_second=50, timeout_seconds=0.2)
    async with serving(Agent(delay=20)) as slow, serving(Agent()) as quick:
        with TrafficGenerator(FILES, settings) as traffic:
            traffic.add("slow", slow.url)
            traffic.add("quick", quick.url)
            report = await until(traffic, lambda r: r.failed >= 2 and r.answered >= 4)
    assert report.agents["slow"].failed.keys() == {"timeout"}
    assert report.agents["slow"].revisions == {}
    assert report.agents["quick"].failed == {}


GARBLED: dict[str, tuple[Callable[[dict[str, object]], object], str]] = {
    "another id": (lambda a: a.update(id="other"), "id is 'other'"),
    "no revision": (lambda a: a.pop("model_version"), "model_version is None"),
    "a short revision": (lambda a: a.update(model_version="1"), "model_version is '1'"),
    "no outputs": (lambda a: a.update(outputs=[]), "not one FP32 tensor"),
    "another tensor": (
        lambda a: a.update(outputs=[{"name": "x", "datatype": "FP32"}]),
        "not one FP32 tensor",
    ),
    "numbers missing": (
        lambda a: a.update(outputs=[{"name": "target_label", "datatype": "FP32", "data": [1.0]}]),
        "has shape (1,)",
    ),
    "words for numbers": (
        lambda a: a.update(outputs=[{"name": "target_label", "datatype": "FP32", "data": ["one"]}]),
        "not a tensor",
    ),
    "not a number": (
        lambda a: a.update(
            outputs=[{"name": "target_label", "datatype": "FP32", "data": [float("nan")] * LABELS}]
        ),
        "finite scores are due",
    ),
    "far too much": (lambda a: a.update(filler="x" * 300_000), "more than 262144 bytes"),
}


@pytest.mark.parametrize("what", GARBLED)
async def test_an_answer_that_is_none_is_counted_as_garbled_with_the_reason(what: str) -> None:
    garble, reason = GARBLED[what]
    async with serving(Agent(garble=garble)) as agent:
        with TrafficGenerator(FILES, SETTINGS) as traffic:
            traffic.add("edge-01", agent.url)
            report = await until(traffic, lambda r: r.failed >= 2)
            messages = {failure.message for failure in traffic.failures()}
    assert set(report.failed_by_kind()) == {"garbled"}
    assert report.answered == 0
    assert all(reason in message for message in messages), messages


async def test_feedback_that_is_not_taken_leaves_the_answer_counted() -> None:
    async with serving(Agent(feedback_status=410)) as agent:
        with TrafficGenerator(FILES, SETTINGS) as traffic:
            traffic.add("edge-01", agent.url)
            report = await until(traffic, lambda r: r.agents["edge-01"].feedback_failed.get("410", 0) >= 2)
    assert report.failed == 0
    assert report.correct == report.answered >= 2


async def test_agents_come_go_and_move_while_counts_stay() -> None:
    async with serving(Agent()) as first, serving(Agent(revision=NEW)) as second:
        with TrafficGenerator(FILES, SETTINGS) as traffic:
            traffic.add("edge-01", first.url)
            await until(traffic, lambda r: r.answered >= 2)
            traffic.replace("edge-01", second.url)
            await until(traffic, lambda r: NEW in r.revisions())
            assert len(set(second.ids) & set(first.ids)) == 0
            traffic.remove("edge-01")
            report = traffic.report()
            traffic.add("edge-02", first.url)
            await until(traffic, lambda r: "edge-02" in r.agents and r.answered > report.answered)
            assert traffic.report().agents["edge-01"] == report.agents["edge-01"]
    assert set(report.agents["edge-01"].revisions) == {OLD, NEW}


def test_mistakes_in_use_are_told_by_name() -> None:
    with TrafficGenerator(FILES, SETTINGS) as traffic:
        traffic.add("edge-01", "http://127.0.0.1:9")
        with pytest.raises(LabError, match="edge-01 is being asked already"):
            traffic.add("edge-01", "http://127.0.0.1:10")
        with pytest.raises(LabError, match="edge-02 was never added"):
            traffic.remove("edge-02")
        with pytest.raises(LabError, match=r"edge-03: '127.0.0.1:9010' is not an address"):
            traffic.add("edge-03", "127.0.0.1:9010")
        traffic.remove("edge-01")
        with pytest.raises(LabError, match="edge-01 is not being asked"):
            traffic.remove("edge-01")
        with pytest.raises(LabError, match="requests_per_second is 0"):
            traffic.set_rate(0)
    with pytest.raises(LabError, match="not running"):
        traffic.report()


SETTING_OF: dict[str, Callable[[float], TrafficSettings]] = {
    "requests_per_second": lambda value: TrafficSettings("m", requests_per_second=value),
    "timeout_seconds": lambda value: TrafficSettings("m", timeout_seconds=value),
    "retry_seconds": lambda value: TrafficSettings("m", retry_seconds=value),
}


@pytest.mark.parametrize("name", SETTING_OF)
@pytest.mark.parametrize("value", [0.0, -1.0, float("nan"), float("inf")])
def test_a_setting_that_makes_no_sense_is_refused(name: str, value: float) -> None:
    with pytest.raises(LabError, match=f"{name} is {value}, it must be above 0"):
        SETTING_OF[name](value)


def test_json_in_one_of_no_requests_makes_no_sense() -> None:
    with pytest.raises(LabError, match="json_every is 0, it must be above 0"):
        TrafficSettings("m", json_every=0)


async def test_a_generator_that_broke_down_says_so_in_place_of_numbers() -> None:
    def broken_clock() -> float:
        raise ZeroDivisionError

    with TrafficGenerator(FILES, SETTINGS, clock=broken_clock) as traffic:
        traffic.add("edge-01", "http://127.0.0.1:9")
        with pytest.raises(LabError, match="broke down"):
            await until(traffic, lambda report: report.answered > 0)


def test_there_must_be_files_to_send() -> None:
    with pytest.raises(LabError, match="no files"):
        TrafficGenerator(Field(()), SETTINGS)


def test_counts_of_a_revision_add_up_over_agents() -> None:
    total = RevisionCount(2, 1, 1, 10.0, 20.0, 15.0) + RevisionCount(1, 1, 0, 5.0, 30.0)
    assert total == RevisionCount(3, 2, 1, 5.0, 30.0, 15.0)
    assert RevisionCount() + RevisionCount() == RevisionCount()
