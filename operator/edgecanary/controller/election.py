"""Who of several replicas leads: one candidate's rules, without a clock, threads or a network of its own.

The Lease's own times are of other machines' clocks and are not looked at. A candidate counts on its own steady
clock for how long it has seen the Lease unchanged; a leader counts from before it sent the last renewal that was
taken. So the leader always stops before another begins, as long as no steady clock runs more than a sixth faster
or slower than it should.
"""

import math
from dataclasses import dataclass

from edgecanary.clients.leases import RELEASED_SECONDS, Claim, Lease

_LONGEST_SECONDS = 300.0
"""The longest duration that is believed of a Lease that another version or a person has written."""


@dataclass(frozen=True)
class Timing:
    """How fast leaders change, in seconds. With these another replica goes on about 12 s after a kill."""

    duration: float = 10.0
    """How long a Lease must be seen unchanged before another takes it."""
    deadline: float = 7.0
    """How long after its last renewal a leader may write."""
    renew: float = 2.0
    """How often a leader renews, and how often whoever found the API server away asks again."""
    poll: float = 1.0
    """How often a candidate looks."""


@dataclass(frozen=True)
class _Seen:
    uid: str
    version: str
    since: float


class Election:
    """What one replica knows of the Lease, and whether it leads. Times are its own steady seconds."""

    def __init__(self, identity: str, timing: Timing) -> None:
        self.identity = identity
        self._timing = timing
        self._seen: _Seen | None = None
        self._longest = timing.duration
        self._mine: tuple[str, int] | None = None
        self._until = -math.inf

    @property
    def until(self) -> float:
        """Until when this replica may write; in the past when it does not lead."""
        return self._until

    @property
    def term(self) -> str:
        """A text that no other leader has, nor this one after somebody else has led."""
        uid, transitions = self._mine or ("", 0)
        return f"{transitions}.{self.identity}.{uid[:8]}"

    def leads(self, now: float) -> bool:
        """Whether this replica may write."""
        return now < self._until

    def observe(self, lease: Lease | None, now: float) -> Claim | None:
        """Takes in what was read, with the time after the answer; what to write next, None nothing."""
        if lease is None:
            # It may have been deleted under a leader. Whoever makes it anew waits like anybody else.
            self._let_go()
            return Claim("", math.ceil(self._timing.duration), 0)
        self._note(lease, now)
        if lease.holder == self.identity and self._mine == (lease.uid, lease.transitions):
            return self._claim(lease.transitions)
        self._let_go()
        if lease.released or now - self._since >= max(self._timing.duration, self._longest):
            return self._claim(lease.transitions + 1)
        return None

    def wrote(self, lease: Lease, *, sent: float, now: float) -> None:
        """Takes in that a claim was taken. `sent` is the time before it was sent, `now` after the answer."""
        self._note(lease, now)
        if lease.holder == self.identity:
            self._mine = (lease.uid, lease.transitions)
            self._until = sent + self._timing.deadline

    def stop(self) -> None:
        """Leads no more, from now on."""
        self._until = -math.inf

    def release(self) -> Claim | None:
        """Leads no more; what to write so that another may begin at once, None where nothing is held."""
        self.stop()
        return Claim("", RELEASED_SECONDS, self._mine[1]) if self._mine else None

    def pause(self, now: float) -> float:
        """Seconds until the next look, without jitter."""
        if self.leads(now):
            return self._timing.renew
        wait = self._since + max(self._timing.duration, self._longest) - now
        return min(self._timing.poll, wait) if wait > 0 else self._timing.poll

    def _let_go(self) -> None:
        self.stop()
        self._mine = None

    @property
    def _since(self) -> float:
        return self._seen.since if self._seen else math.inf

    def _claim(self, transitions: int) -> Claim:
        return Claim(self.identity, math.ceil(self._timing.duration), transitions)

    def _note(self, lease: Lease, now: float) -> None:
        if self._seen is None or (self._seen.uid, self._seen.version) != (lease.uid, lease.version):
            self._seen = _Seen(lease.uid, lease.version, now)
        self._longest = min(float(lease.duration_seconds), _LONGEST_SECONDS)
