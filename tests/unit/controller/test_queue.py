"""The work queue on a real event loop and real threads; order is forced by events, not by timing."""

import asyncio
import logging
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from edgecanary.base.errors import Conflict, Unavailable
from edgecanary.controller.queue import WorkQueue
from edgecanary.controller.schedule import Pace

FAST = Pace(interval=0.0, base=0.001, cap=0.002)
DEADLINE = 20.0


class Outcomes:
    """Notes what the queue says of its work."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    def finished(self, queue: str, outcome: str, seconds: float) -> None:
        assert queue == "test"
        assert seconds >= 0
        self.seen.append(outcome)


@asynccontextmanager
async def running(
    work: Callable[[str], float | None], *, workers: int = 2, outcomes: Outcomes | None = None
) -> AsyncIterator[WorkQueue[str]]:
    queue = WorkQueue("test", work, workers=workers, pace=FAST, observer=outcomes or Outcomes())
    task = asyncio.create_task(queue.run())
    try:
        yield queue
    finally:
        queue.stop()
        await asyncio.wait_for(task, DEADLINE)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(DEADLINE):
        while True:
            if condition():
                return
            await asyncio.sleep(0.005)


async def test_each_key_is_worked_on_and_the_queue_is_idle_again() -> None:
    done: list[str] = []
    async with running(done.append) as queue:
        queue.add("a")
        queue.add("b")
        await until(lambda: sorted(done) == ["a", "b"])
        await until(lambda: queue.load().working == 0)
        assert queue.load().waiting == 0


async def test_one_key_is_never_worked_on_twice_at_once() -> None:
    gate, inside, most, runs = threading.Lock(), 0, 0, 0

    def work(_: str) -> None:
        nonlocal inside, most, runs
        with gate:
            inside += 1
            most = max(most, inside)
        threading.Event().wait(0.002)
        with gate:
            inside -= 1
            runs += 1

    async with running(work, workers=4) as queue:
        for _ in range(50):
            queue.add("a")
            await asyncio.sleep(0.001)
        await until(lambda: queue.load().working == 0 and queue.load().waiting == 0)
    assert most == 1
    assert runs > 1


async def test_no_more_keys_are_worked_on_at_once_than_there_are_workers() -> None:
    release, inside, lock = threading.Event(), 0, threading.Lock()

    def work(_: str) -> None:
        nonlocal inside
        with lock:
            inside += 1
        release.wait(DEADLINE)

    async with running(work, workers=3) as queue:
        for key in "abcdefgh":
            queue.add(key)
        await until(lambda: inside == 3)
        assert queue.load().working == 3
        assert queue.load().waiting == 5
        release.set()
        await until(lambda: inside == 8)


async def test_what_is_added_while_its_key_is_worked_on_is_done_afterwards() -> None:
    started, release, runs = threading.Event(), threading.Event(), 0

    def work(_: str) -> None:
        nonlocal runs
        runs += 1
        started.set()
        release.wait(DEADLINE)

    async with running(work) as queue:
        queue.add("a")
        await asyncio.to_thread(started.wait, DEADLINE)
        queue.add("a")
        queue.add("a")
        release.set()
        await until(lambda: runs == 2)
        await until(lambda: queue.load().working == 0)
    assert runs == 2


async def test_failing_work_is_tried_again_until_it_succeeds() -> None:
    tries, outcomes = 0, Outcomes()

    def work(_: str) -> None:
        nonlocal tries
        tries += 1
        if tries == 1:
            raise Unavailable("StoreDown", "no answer")
        if tries == 2:
            raise Conflict("Conflict", "somebody else wrote first")

    async with running(work, outcomes=outcomes) as queue:
        queue.add("a")
        await until(lambda: outcomes.seen == ["StoreDown", "Conflict", "ok"])


async def test_a_defect_is_logged_with_its_trace_and_ends_nothing(caplog: pytest.LogCaptureFixture) -> None:
    outcomes = Outcomes()

    def work(key: str) -> None:
        if key == "broken" and len(outcomes.seen) < 1:
            raise ZeroDivisionError("oops")

    with caplog.at_level(logging.ERROR):
        async with running(work, outcomes=outcomes) as queue:
            queue.add("broken")
            await until(lambda: outcomes.seen == ["Defect", "ok"])
            queue.add("whole")
            await until(lambda: outcomes.seen == ["Defect", "ok", "ok"])
    assert "a defect of edgecanary" in caplog.text
    assert "ZeroDivisionError: oops" in caplog.text


async def test_work_that_asks_to_come_again_comes_again() -> None:
    runs = 0

    def work(_: str) -> float | None:
        nonlocal runs
        runs += 1
        return 0.001 if runs < 5 else None

    async with running(work) as queue:
        queue.add("a")
        await until(lambda: runs == 5)
        await until(lambda: queue.load().working == 0)
    assert runs == 5


async def test_a_stopped_queue_finishes_what_is_under_way_and_begins_nothing() -> None:
    started, release, done = threading.Event(), threading.Event(), []

    def work(key: str) -> None:
        started.set()
        release.wait(DEADLINE)
        done.append(key)

    queue = WorkQueue("test", work, workers=1, pace=FAST, observer=Outcomes())
    task = asyncio.create_task(queue.run())
    queue.add("a")
    await asyncio.to_thread(started.wait, DEADLINE)
    queue.add("b")
    queue.stop()
    release.set()
    await asyncio.wait_for(task, DEADLINE)
    assert done == ["a"]


async def test_an_idle_queue_does_not_wake_up_by_itself() -> None:
    wakeups = 0
    async with running(lambda _: None) as queue:
        original = queue._schedule.next_due

        def counting() -> float | None:
            nonlocal wakeups
            wakeups += 1
            return original()

        queue._schedule.next_due = counting  # type: ignore[method-assign]
        await asyncio.sleep(0.2)
    assert wakeups <= 1


async def test_a_queue_that_is_held_hands_out_nothing_and_nothing_waits_in_it() -> None:
    done: list[str] = []
    async with running(done.append) as queue:
        queue.add("a")
        await until(lambda: done == ["a"])
        queue.hold()
        queue.add("b")
        await asyncio.sleep(0.05)
        assert done == ["a"]
        load = queue.load()
        assert (load.waiting, load.longest_wait) == (0, 0.0), "it is not ill"
        queue.resume()
        await until(lambda: done == ["a", "b"])


async def test_what_waits_when_a_queue_is_held_is_forgotten() -> None:
    done: list[str] = []
    async with running(done.append) as queue:
        queue.add("later", delay=0.05)
        queue.hold()
        queue.resume()
        queue.add("now")
        await until(lambda: done == ["now"])
        await asyncio.sleep(0.2)
        assert done == ["now"]


async def test_work_under_way_when_a_queue_is_held_is_finished() -> None:
    begun, go_on, done = threading.Event(), threading.Event(), list[str]()

    def work(key: str) -> None:
        begun.set()
        go_on.wait(DEADLINE)
        done.append(key)

    async with running(work) as queue:
        queue.add("a")
        await until(begun.is_set)
        queue.hold()
        go_on.set()
        await until(lambda: done == ["a"])
