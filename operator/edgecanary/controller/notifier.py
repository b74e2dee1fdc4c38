"""Tells the webhook what the status of Rollouts says and it has not heard.

The status is the queue: what is untold is found there, by any leader, and what was taken is noted there by the
reconciler's next write. Nothing of a rollout waits for it. An event is sent again when the note is lost, with the
same id.
"""

import logging
import threading
from collections.abc import Callable, Collection
from typing import Protocol

from edgecanary.api import API_VERSION
from edgecanary.api.rollout import Rollout
from edgecanary.api.rollout_status import RolloutStatus
from edgecanary.base.clock import steady_seconds
from edgecanary.base.errors import EdgecanaryError, NotFound, Unavailable, WrongAnswer
from edgecanary.clients.backoff import Backoff, spread
from edgecanary.clients.kube import KubeClient
from edgecanary.clients.resources import ROLLOUTS
from edgecanary.clients.webhook import CloudEvent, Webhook
from edgecanary.controller.permit import Permit
from edgecanary.controller.views import ObjectKey, parse
from edgecanary.rollout.notices import Notice, untold, with_notified

_FIRST_SECONDS, _CAP_SECONDS = 1.0, 300.0
_SPREAD_SECONDS = 1.0

log = logging.getLogger(__name__)


class NoticeObserver(Protocol):
    """Hears of each try, for metrics."""

    def notified(self, outcome: str) -> None:
        """One try ended; `outcome` is taken, refused or failed."""
        ...


class Notes(Protocol):
    """What the reconciler of Rollouts needs of the notifier."""

    def note(self, before: Rollout, status: RolloutStatus) -> RolloutStatus:
        """The status to write, with what was told so far."""
        ...

    def written(self, key: ObjectKey) -> None:
        """The status of the Rollout is written: there may be news."""
        ...


class NoNotes:
    """For an operator that tells nobody."""

    def note(self, before: Rollout, status: RolloutStatus) -> RolloutStatus:  # noqa: ARG002
        """The status without notes, so that a later webhook does not hear of all that was before it."""
        return status.model_copy(update={"notified": None})

    def written(self, key: ObjectKey) -> None:
        """Nobody listens."""


class Notifier:
    """Tells one receiver; `tell` is the work of a queue, for one Rollout at a time."""

    def __init__(
        self,
        kube: KubeClient,
        webhook: Webhook,
        permit: Permit,
        observer: NoticeObserver,
        *,
        wake: Callable[[ObjectKey], None],
        news: Callable[[ObjectKey], None],
    ) -> None:
        """`wake` has the Rollout reconciled, so that its status takes the note; `news` has `tell` called."""
        self._kube = kube
        self._webhook = webhook
        self._permit = permit
        self._observer = observer
        self._wake = wake
        self._news = news
        self._lock = threading.Lock()
        self._told: dict[ObjectKey, tuple[str, ...]] = {}
        self._backoff = Backoff(_FIRST_SECONDS, _CAP_SECONDS)
        self._silent_until = 0.0

    def note(self, before: Rollout, status: RolloutStatus) -> RolloutStatus:
        """The status to write, with what was told so far."""
        meta = before.metadata
        return with_notified(before, status, self._told_of(ObjectKey(meta.namespace, meta.name)))

    def written(self, key: ObjectKey) -> None:
        """The status of the Rollout is written: there may be news."""
        self._news(key)

    def tell(self, key: ObjectKey) -> float | None:
        """Tells what is untold of one Rollout, the oldest first; seconds until the next try, if one is needed.

        Raises the API server's errors, and Conflict when another replica leads.
        """
        try:
            rollout = parse(Rollout, self._kube.get(ROLLOUTS, key.name, namespace=key.namespace))
        except NotFound:
            self._keep(key, ())
            return None
        noted = rollout.status.notified or ()
        self._keep(key, tuple(each for each in self._told_of(key) if each not in noted))
        for notice in untold(rollout, self._told_of(key)):
            self._permit.check()
            wait = self._silent_until - steady_seconds()
            if wait > 0 or (wait := self._send(key, notice)) > 0:
                return wait + spread(_SPREAD_SECONDS)
            self._keep(key, (*self._told_of(key), notice.id))
            self._wake(key)
        return None

    def _send(self, key: ObjectKey, notice: Notice) -> float:
        """One try; for how many seconds the receiver is then left alone, 0 when it has taken the event."""
        try:
            self._webhook.send(to_cloud_event(notice))
        except WrongAnswer as error:
            log.error("rollout %s: %s is not sent again: %s", key, notice.type.value, error)
            self._observer.notified("refused")
        except EdgecanaryError as error:
            after = error.retry_after_seconds if isinstance(error, Unavailable) else 0.0
            wait = self._backoff.next(after)
            self._silent_until = steady_seconds() + wait
            log.warning(
                "rollout %s: %s is not taken (%s): %s; again in %.1f s",
                *(key, notice.type.value, self._webhook.place, error, wait),
            )
            self._observer.notified("failed")
            return wait
        else:
            log.info("rollout %s: %s is told (%s)", key, notice.type.value, notice.id)
            self._observer.notified("taken")
        self._backoff.reset()
        return 0.0

    def _told_of(self, key: ObjectKey) -> tuple[str, ...]:
        with self._lock:
            return self._told.get(key, ())

    def _keep(self, key: ObjectKey, told: Collection[str]) -> None:
        """What was told of the Rollout and its status does not have yet."""
        with self._lock:
            if told:
                self._told[key] = tuple(told)
            else:
                self._told.pop(key, None)


def to_cloud_event(notice: Notice) -> CloudEvent:
    """The event that a receiver gets."""
    data = notice.data
    return CloudEvent(
        id=notice.id,
        type=notice.type.value,
        source=f"/apis/{API_VERSION}/namespaces/{data.namespace}/rollouts/{data.name}",
        subject=f"{data.namespace}/{data.name}",
        time=notice.time,
        data=data.to_json(),
    )
