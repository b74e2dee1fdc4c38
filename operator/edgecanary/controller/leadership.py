"""Takes part in the election in a thread of its own, and says when this replica begins and ceases to lead."""

import contextlib
import logging
import secrets
import threading
from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from edgecanary import __version__
from edgecanary.base.clock import SystemClock, steady_seconds
from edgecanary.base.errors import Conflict, EdgecanaryError
from edgecanary.clients.access import Access
from edgecanary.clients.kube import CallObserver, KubeClient, Timeouts
from edgecanary.clients.leases import LEASE_NAME, Lease, LeaseStore
from edgecanary.controller.election import Election, Timing
from edgecanary.controller.permit import Permit

TIMEOUTS = Timeouts(connect=2.0, read=3.0)
"""For calls about the Lease, in seconds: two fit between two renewals that must not both fail."""

_JITTER = 0.2
_STUCK_SECONDS = 120.0

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Candidacy:
    """In which namespace the Lease is, and what this replica is called there; a random part is added."""

    namespace: str
    name: str


@dataclass(frozen=True)
class Turns:
    """Who hears of the turns that this replica gets and loses; called in the election's thread."""

    begin: Callable[[], None]
    cease: Callable[[], None]


class Leadership:
    """Looks at the Lease, takes it, renews it, and gives and takes the permit to write."""

    def __init__(
        self,
        store: LeaseStore,
        permit: Permit,
        turns: Turns,
        *,
        identity: str,
        random: Random,
        timing: Timing | None = None,
    ) -> None:
        self._store = store
        self._permit = permit
        self._turns = turns
        self._random = random
        self._election = Election(identity, timing or Timing())
        self._leading = False
        self._holder: str | None = None
        self._trouble = ""
        self._looked = steady_seconds()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="election", daemon=True)

    @classmethod
    def join(
        cls, candidacy: Candidacy, access: Access, permit: Permit, turns: Turns, *, observe: CallObserver
    ) -> "Leadership":
        """A candidate with a connection of its own: nothing may hold up a renewal.

        Its identity is one that no other process has or had, also not one of the same pod.
        """
        identity = f"{candidacy.name}_{secrets.token_hex(4)}"
        kube = KubeClient(
            access,
            user_agent=f"edgecanary-operator/{__version__} leader-election",
            connections=1,
            timeouts=TIMEOUTS,
            observe=observe,
        )
        store = LeaseStore(kube, candidacy.namespace, SystemClock())
        return cls(store, permit, turns, identity=identity, random=Random())  # noqa: S311  it only spreads looks

    def start(self) -> None:
        """Begins to stand for election."""
        log.info("%s stands for leader", self._election.identity)
        self._looked = steady_seconds()
        self._thread.start()

    def stop(self, *, seconds: float) -> None:
        """Writes no more and gives the Lease up, so that another goes on at once; waits at most so long."""
        self._stopping.set()
        if self._thread.ident is None:
            return
        self._thread.join(seconds)
        self._permit.take()

    @property
    def leads(self) -> bool:
        """Whether this replica may write now."""
        return self._permit.valid

    def problem(self) -> str | None:
        """What is wrong with this thread, None when nothing is."""
        if self._thread.ident is None:
            return None
        if not self._thread.is_alive():
            return "the thread that takes part in the election has ended"
        silent = steady_seconds() - self._looked
        return f"no look at the Lease for {silent:.0f} s" if silent > _STUCK_SECONDS else None

    def unseen(self) -> str | None:
        """Why this replica could not take over: it has never seen the Lease. None once it has."""
        return None if self._holder is not None else self._trouble or "the Lease has not been read yet"

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._looked = steady_seconds()
            hurry = self._look()
            self._follow()
            pause = self._election.pause(steady_seconds())
            self._stopping.wait(0.05 if hurry else pause * self._random.uniform(1 - _JITTER, 1 + _JITTER))
        self._release()

    def _look(self) -> bool:
        """One look at the Lease and what follows from it; whether to look again at once."""
        try:
            lease = self._store.read()
            claim = self._election.observe(lease, steady_seconds())
            if not self._election.leads(steady_seconds()):
                self._permit.take()
            self._saw(lease)
            if claim is None:
                return False
            sent = steady_seconds()
            written = self._store.write(claim)
            self._election.wrote(written, sent=sent, now=steady_seconds())
            self._saw(written)
        except Conflict as error:
            log.debug("the Lease changed meanwhile: %s", error)
            return True
        except EdgecanaryError as error:
            self._complain(error)
        return False

    def _follow(self) -> None:
        """Gives or takes the permit, and tells of it."""
        if self._election.leads(steady_seconds()):
            self._permit.give(self._election.term, self._election.until)
            if not self._leading:
                self._leading = True
                log.info("%s leads (term %s)", self._election.identity, self._election.term)
                self._turns.begin()
            return
        self._permit.take()
        if self._leading:
            self._leading = False
            log.warning(
                "%s stands down: %s",
                self._election.identity,
                self._trouble or f"{self._holder or 'nobody'} leads",
            )
            self._turns.cease()

    def _release(self) -> None:
        self._permit.take()
        claim = self._election.release()
        if claim is None:
            return
        with contextlib.suppress(EdgecanaryError):
            self._store.write(claim)
            log.info("%s has given the Lease %s up", self._election.identity, LEASE_NAME)

    def _saw(self, lease: Lease | None) -> None:
        if lease is None:
            return
        holder = lease.holder
        if holder not in ("", self._holder, self._election.identity):
            log.info("%s leads; this replica follows", holder)
        self._holder, self._trouble = holder, ""

    def _complain(self, error: EdgecanaryError) -> None:
        if error.message != self._trouble:
            log.warning("the Lease %s: %s: %s", LEASE_NAME, error.reason, error)
        self._trouble = error.message
