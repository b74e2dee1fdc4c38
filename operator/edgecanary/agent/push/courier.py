"""Brings what waits in the outbox to Prometheus: the oldest first, each sample at one time only once.

Blocking, and used by one thread at a time. Times are Unix milliseconds. Prometheus's own clock, read from its
answers, decides what is too old and what lies in the future; the node's clock may be wrong by years.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol

from edgecanary.agent.push import wire
from edgecanary.agent.push.metrics import PushMetrics
from edgecanary.agent.push.outbox import Loss, SampleOutbox, Waiting
from edgecanary.agent.push.sampling import compress, decompress
from edgecanary.base.clock import Clock
from edgecanary.base.errors import EdgecanaryError
from edgecanary.clients.backoff import Backoff
from edgecanary.clients.remotewrite import WriteAnswer

log = logging.getLogger(__name__)

FUTURE_MS = 600_000
"""How far ahead of Prometheus's clock a sample may be."""

_BATCH_ENTRIES = 256
_BATCH_BYTES = 256 * 1024
"""Compressed; ten times as much once unpacked."""
_SALVAGE_REQUESTS = 32
_LONGEST_WAIT_SECONDS = 3600.0
_BAD_DATA = frozenset({400, 422})
_TOO_LARGE = 413


class Sender(Protocol):
    """How requests go out; `clients.remotewrite.RemoteWrite` is the one."""

    def send(self, body: bytes) -> WriteAnswer:
        """Sends a compressed WriteRequest. Raises EdgecanaryError when there is no whole answer."""
        ...


@dataclass(frozen=True)
class Times:
    """Where the courier gets the time from."""

    clock: Clock
    """The node's clock, which may jump."""
    elapsed: Callable[[], float]
    """Seconds that never jump, and go on while the node sleeps."""


@dataclass(frozen=True)
class _Heard:
    """Prometheus's clock at a moment of ours."""

    server_ms: int
    elapsed: float


class _TryLater(Exception):
    """Prometheus cannot take samples now."""

    def __init__(self, why: str, wait_seconds: float | None) -> None:
        super().__init__(why)
        self.wait_seconds = wait_seconds


class Courier:
    """Delivers the outbox."""

    def __init__(
        self,
        outbox: SampleOutbox,
        sender: Sender,
        times: Times,
        metrics: PushMetrics,
        *,
        max_age_seconds: float,
        backoff: Backoff,
    ) -> None:
        self._outbox = outbox
        self._sender = sender
        self._times = times
        self._metrics = metrics
        self._max_age_ms = round(max_age_seconds * 1000)
        self._backoff = backoff
        self._greeted = False
        self._heard: _Heard | None = None
        self._batch = _BATCH_ENTRIES
        self._failing = False

    def deliver(self) -> float | None:
        """Sends one batch. Seconds to wait before the next one; None when nothing waits any more."""
        if not self._outbox.peek(entries=1, max_bytes=0):
            return None
        try:
            self._deliver()
        except _TryLater as reason:
            return self._later(str(reason), reason.wait_seconds)
        except EdgecanaryError as error:
            return self._later(str(error), None)
        if self._failing:
            log.info("remote write works again")
        self._failing = False
        self._backoff.reset()
        return 0.0

    def _later(self, why: str, wait_seconds: float | None) -> float:
        self._metrics.count_failure()
        log.log(
            logging.DEBUG if self._failing else logging.WARNING,
            "remote write: %s; samples are kept and sent later",
            why,
        )
        self._failing = True
        least = min(wait_seconds or 0.0, _LONGEST_WAIT_SECONDS)
        return least + self._backoff.next()

    def _deliver(self) -> None:
        if not self._greeted:
            # An empty request: what Prometheus's clock says is needed before the first sample goes out.
            answer = self._send(compress(b""))
            if not self._is_refused(answer):
                self._check(answer)
        waiting = self._outbox.peek(entries=self._batch, max_bytes=_BATCH_BYTES)
        sendable = self._sift(waiting)
        if sendable:
            self._send_all(sendable)

    def _sift(self, waiting: Sequence[Waiting]) -> list[Waiting]:
        """What can be sent, up to the first entry of the other kind; drops what never can be, if it comes first.

        Raises _TryLater when the first entry lies in Prometheus's future and the node's clock still says so too.
        """
        reasons = [self._reason_against(item) for item in waiting]
        first = reasons[0] if reasons else None
        alike = next((index for index, reason in enumerate(reasons) if reason != first), len(reasons))
        head = list(waiting[:alike])
        if first is None:
            return head
        if isinstance(first, _Hold):
            raise _TryLater("the node's clock is ahead of Prometheus's", None)
        self._give_up(head, first)
        return []

    def _reason_against(self, item: Waiting) -> "Loss | _Hold | None":
        """Why the entry must not be sent."""
        moment, server, own = item.entry.timestamp_ms, self._server_ms(), self._own_ms()
        if self._outbox.sent_ms > server + FUTURE_MS:
            self._outbox.forget_sent_time()
        if moment > server + FUTURE_MS:
            return _Hold() if moment <= own + FUTURE_MS else Loss.CLOCK
        if moment <= self._outbox.sent_ms:
            # Two histories of one counter in the same minutes would look like restarts.
            return Loss.CLOCK
        return Loss.EXPIRED if moment < server - self._max_age_ms else None

    def _give_up(self, items: list[Waiting], why: Loss) -> None:
        samples = sum(item.entry.samples for item in items)
        log.warning("remote write: %d samples are dropped: %s", samples, why)
        self._outbox.acknowledge(items, sent=False)
        self._metrics.count_lost(why, samples)

    def _send_all(self, items: list[Waiting]) -> None:
        try:
            requests = [decompress(item.entry.payload) for item in items]
        except ValueError:
            self._batch = 1
            if len(items) == 1:
                self._give_up(items, Loss.DAMAGED)
            return
        answer = self._send(compress(wire.join(requests)) if len(items) > 1 else items[0].entry.payload)
        if self._is_refused(answer):
            if len(items) > 1:
                # One bad sample makes Prometheus refuse the whole request: the others must not go with it.
                self._batch = max(1, len(items) // 2)
                return
            self._salvage(items[0], requests[0], answer)
            return
        self._check(answer)
        self._outbox.acknowledge(items)
        self._metrics.count_sent(sum(item.entry.samples for item in items))
        self._batch = min(_BATCH_ENTRIES, self._batch * 2)

    def _salvage(self, item: Waiting, request: bytes, refusal: WriteAnswer) -> None:
        """Sends what Prometheus takes of one moment's samples, by halves."""
        log.warning(
            "remote write: samples were refused: HTTP %d: %s",
            refusal.status,
            refusal.message or "no reason given",
        )
        series = wire.split(request)
        piles, sent, requests = _halves(series), 0, 0
        while piles and requests < _SALVAGE_REQUESTS:
            pile = piles.pop()
            answer = self._send(compress(wire.join(pile)))
            requests += 1
            if not self._is_refused(answer):
                self._check(answer)
                sent += len(pile)
            else:
                piles += _halves(pile)
        self._outbox.acknowledge([item])
        self._metrics.count_sent(sent)
        self._metrics.count_lost(Loss.REFUSED, len(series) - sent)

    def _is_refused(self, answer: WriteAnswer) -> bool:
        return answer.status in _BAD_DATA or answer.status == _TOO_LARGE

    def _check(self, answer: WriteAnswer) -> None:
        """Raises _TryLater unless the samples arrived."""
        if not 200 <= answer.status < 300:
            why = f"HTTP {answer.status}: {answer.message}" if answer.message else f"HTTP {answer.status}"
            raise _TryLater(why, answer.retry_after_seconds)

    def _send(self, body: bytes) -> WriteAnswer:
        answer = self._sender.send(body)
        self._greeted = True
        if answer.server_time is not None:
            self._heard = _Heard(_ms(answer.server_time), self._times.elapsed())
            self._metrics.set_offset((self._own_ms() - self._heard.server_ms) / 1000)
        return answer

    def _server_ms(self) -> int:
        if self._heard is None:
            return self._own_ms()
        return self._heard.server_ms + round((self._times.elapsed() - self._heard.elapsed) * 1000)

    def _own_ms(self) -> int:
        return _ms(self._times.clock.now())


@dataclass(frozen=True)
class _Hold:
    """Not now: Prometheus's clock has to reach the sample's time, or the node's to be set right."""


def _halves(series: list[bytes]) -> list[list[bytes]]:
    """Two halves; none of a single one, which cannot be made any smaller."""
    middle = len(series) // 2
    return [series[:middle], series[middle:]] if middle else []


def _ms(moment: datetime) -> int:
    return round(moment.astimezone(UTC).timestamp() * 1000)
