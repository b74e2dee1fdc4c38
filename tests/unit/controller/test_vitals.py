"""/healthz looks at the operator itself: its event loop, its queues and its watches."""

import asyncio
from dataclasses import dataclass

import pytest

from edgecanary.controller.cache import Cache, Scope
from edgecanary.controller.health import failures
from edgecanary.controller.metrics import OperatorMetrics
from edgecanary.controller.queue import Load
from edgecanary.controller.vitals import Vitals


@dataclass
class Queue:
    """A queue with a load of the test's choice."""

    name: str
    waiting: int = 0
    longest_work: float = 0.0
    longest_wait: float = 0.0

    def load(self) -> Load:
        return Load(self.waiting, 1, self.longest_work, self.longest_wait)


@dataclass
class Watch:
    """Watches that run or have ended."""

    ended: bool = False


async def problems(*queues: Queue, watch: Watch | None = None) -> list[str]:
    loop = asyncio.get_running_loop()
    vitals = Vitals(loop, Cache(Scope("system")), OperatorMetrics(), queues, watch or Watch())
    return await asyncio.to_thread(failures, vitals.alive_checks())


async def test_a_busy_operator_is_well() -> None:
    assert await problems(Queue("rollout", waiting=500, longest_work=60, longest_wait=20)) == []


async def test_a_key_that_nobody_takes_up_is_an_illness() -> None:
    assert await problems(Queue("rollout", longest_wait=400)) == [
        "queues: a key of queue rollout has waited for 6 min 40 s"
    ]


async def test_work_that_does_not_end_is_an_illness() -> None:
    assert await problems(Queue("rollout", longest_work=1000)) == [
        "queues: a key of queue rollout has been worked on for 16 min 40 s"
    ]


async def test_the_check_of_a_large_model_may_take_long() -> None:
    assert await problems(Queue("model", longest_work=10_000)) == []


async def test_watches_whose_thread_has_ended_are_an_illness() -> None:
    assert await problems(watch=Watch(ended=True)) == [
        "watches: the thread that keeps the watches going has ended"
    ]


def test_an_event_loop_that_hangs_is_an_illness(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgecanary.controller.vitals._LOOP_SECONDS", 0.05)
    loop = asyncio.new_event_loop()
    vitals = Vitals(loop, Cache(Scope("system")), OperatorMetrics(), (Queue("rollout"),), Watch())
    assert failures(vitals.alive_checks()) == ["queues: the event loop has not answered for 0.05 s"]
    assert b"edgecanary_operator_info" in vitals.render_metrics(), "metrics are served all the same"
    loop.run_until_complete(asyncio.sleep(0))
    loop.close()


async def test_the_load_is_shown_in_the_metrics() -> None:
    vitals = Vitals(
        asyncio.get_running_loop(),
        Cache(Scope("system")),
        OperatorMetrics(),
        (Queue("rollout", waiting=7),),
        Watch(),
    )
    text = await asyncio.to_thread(vitals.render_metrics)
    assert b'edgecanary_operator_queue_waiting{queue="rollout"} 7.0' in text
