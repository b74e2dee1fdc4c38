"""Memory is given back when requests pause: once, and sooner after a large one."""

import asyncio
from collections.abc import Callable

import pytest

from edgecanary.agent.serving.quiet import LARGE_BYTES, QuietTrim

SOON, QUIET = 1.0, 5.0


class Watched:
    """What is done when, on a clock that jumps to the next timer."""

    def __init__(self) -> None:
        self.done: list[tuple[str, float]] = []
        self.trim = QuietTrim(QUIET, SOON, self._noting("trim"), self._noting("rest"))

    def _noting(self, what: str) -> Callable[[], None]:
        return lambda: self.done.append((what, asyncio.get_running_loop().time()))

    async def play(self, *requests: tuple[float, int]) -> list[tuple[str, float]]:
        """Requests at these times and of these sizes; what was done a good while after the last."""
        for at, size in requests:
            await asyncio.sleep(at - asyncio.get_running_loop().time())
            self.trim.touch(size)
        await asyncio.sleep(60.0)
        return self.done


class JumpingLoop(asyncio.SelectorEventLoop):
    """An event loop whose time passes only while it waits, and then at once."""

    now = 0.0

    def time(self) -> float:
        return self.now

    def _run_once(self) -> None:
        ready, scheduled = vars(self)["_ready"], vars(self)["_scheduled"]
        due = [timer.when() for timer in scheduled if not timer.cancelled()]
        if not ready and due:
            self.now = max(self.now, min(due))
        super()._run_once()  # type: ignore[misc] # not in the stubs


def played(*requests: tuple[float, int]) -> list[tuple[str, float]]:
    with asyncio.Runner(loop_factory=JumpingLoop) as runner:
        return runner.run(Watched().play(*requests))


def test_after_a_quiet_while_memory_is_given_back_once() -> None:
    assert played((0, 10), (1, 10), (4, 10)) == [("rest", 9.0)]


def test_after_a_large_request_its_memory_is_given_back_sooner() -> None:
    assert played((0, LARGE_BYTES)) == [("trim", 1.0), ("rest", 5.0)]


def test_a_large_request_among_small_ones_is_not_overlooked() -> None:
    assert played((0, 10), (0.5, LARGE_BYTES), (0.8, 10)) == [("trim", 1.8), ("rest", 5.8)]


def test_nothing_is_given_back_while_requests_come() -> None:
    times = [n / 2 for n in range(40)]
    assert played(*((at, LARGE_BYTES) for at in times)) == [("trim", 20.5), ("rest", 24.5)]


@pytest.mark.parametrize("size", [0, LARGE_BYTES - 1])
def test_other_requests_are_not_large(size: int) -> None:
    assert played((0, size)) == [("rest", 5.0)]


def test_each_pause_gives_back_again() -> None:
    assert played((0, 10), (10, LARGE_BYTES), (30, 10)) == [
        ("rest", 5.0),
        ("trim", 11.0),
        ("rest", 15.0),
        ("rest", 35.0),
    ]


def test_one_that_was_stopped_gives_nothing_back() -> None:
    async def stopped() -> list[tuple[str, float]]:
        watched = Watched()
        watched.trim.touch(LARGE_BYTES)
        watched.trim.stop()
        return await watched.play()

    with asyncio.Runner(loop_factory=JumpingLoop) as runner:
        assert runner.run(stopped()) == []
