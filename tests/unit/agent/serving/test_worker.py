"""A model's thread: what is queued and who is in the lane have their turns."""

import threading
from functools import partial

from edgecanary.agent.serving.worker import Worker


class Lane:
    """A lane that says when it is served, and waits until it is rung."""

    def __init__(self, said: list[str]) -> None:
        self._said = said
        self._bell = threading.Event()

    def serve(self, *, wait: bool) -> None:
        if wait:
            self._bell.wait()
        else:
            self._said.append("lane")
        self._bell.clear()

    def ring(self) -> None:
        self._bell.set()

    def close(self) -> None:
        self._said.append("closed")


async def test_the_lane_is_served_before_each_thing_that_is_queued() -> None:
    said: list[str] = []
    worker, begin = Worker("model"), threading.Event()
    first = worker.call(begin.wait)
    worker.serve(Lane(said))
    calls = [worker.call(partial(said.append, f"call {number}")) for number in range(3)]
    begin.set()
    await first.waiter
    for call in calls:
        await call.waiter
    worker.close()
    await worker.ended(within_seconds=60)
    # The first "lane" is before what `serve` itself queues, the last one before the end.
    assert said == ["lane", "lane", "call 0", "lane", "call 1", "lane", "call 2", "lane", "closed"]


async def test_a_thread_that_has_nothing_queued_waits_in_its_lane_until_it_is_rung() -> None:
    said: list[str] = []
    worker = Worker("model")
    worker.serve(Lane(said))
    for number in range(50):
        assert await worker.call(partial(int, number)).waiter == number
    worker.close()
    await worker.ended(within_seconds=60)
    assert said[-1] == "closed"
