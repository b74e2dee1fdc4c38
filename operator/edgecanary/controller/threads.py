"""Blocking work in threads that never keep the process alive."""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

T = TypeVar("T")


async def in_thread(work: Callable[[], T], *, name: str) -> T:
    """The result of `work`, done in a thread of its own.

    The thread is a daemon: work that hangs on a network cannot hold up the end of the process.
    """
    return await asyncio.wrap_future(start(work, name=name))


def start(work: Callable[[], T], *, name: str) -> Future[T]:
    """Begins `work` in a daemon thread; the future has its result or what it raised."""
    future: Future[T] = Future()

    def run() -> None:
        try:
            future.set_result(work())
        except BaseException as error:  # noqa: BLE001  the future hands it to whoever waits
            future.set_exception(error)

    threading.Thread(target=run, name=name, daemon=True).start()
    return future
