"""The election's rules on simulated clocks: never two replicas that both may write, and always one in the end."""

import math
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgecanary.clients.leases import RELEASED_SECONDS, Claim, Lease
from edgecanary.controller.election import Election, Timing

TIMING = Timing()
SKEW = 0.16
"""How much faster or slower than it should a clock may run: below (duration - deadline) / (duration + deadline)."""


@dataclass
class Server:
    """The API server's Lease: a write counts only when it names the newest version."""

    lease: Lease | None = None
    writes: int = 0

    def put(self, claim: Claim, over: Lease | None) -> Lease | None:
        """The Lease as written, None for a conflict."""
        if (over and (over.uid, over.version)) != (self.lease and (self.lease.uid, self.lease.version)):
            return None
        self.writes += 1
        uid = self.lease.uid if self.lease else f"uid-{self.writes}"
        self.lease = Lease(uid, str(self.writes), claim.holder, claim.duration_seconds, claim.transitions)
        return self.lease

    def edit(self, **changes: object) -> None:
        """What a person does by hand."""
        self.writes += 1
        if self.lease is not None:
            self.lease = replace(self.lease, version=str(self.writes), **changes)  # type: ignore[arg-type]


@dataclass
class Replica:
    """A candidate whose clock runs at its own rate; each look can be taken apart."""

    name: str
    server: Server
    rate: float = 1.0
    offset: float = 0.0
    true_time: float = 0.0
    election: Election = field(init=False)
    sent: tuple[Claim, Lease | None, float] | None = None
    answer: tuple[Lease | None, float] | None = None

    def __post_init__(self) -> None:
        self.election = Election(self.name, TIMING)

    @property
    def now(self) -> float:
        return self.offset + self.true_time * self.rate

    @property
    def leads(self) -> bool:
        return self.election.leads(self.now)

    def read(self) -> None:
        """Reads, and decides what to send; the write is not on its way yet."""
        lease = self.server.lease
        claim = self.election.observe(lease, self.now)
        self.sent = None if claim is None else (claim, lease, self.now)

    def land(self) -> None:
        """The write reaches the server."""
        if self.sent is not None:
            claim, over, since = self.sent
            self.sent, self.answer = None, (self.server.put(claim, over), since)

    def hear(self) -> None:
        """The answer comes back."""
        if self.answer is not None:
            (lease, since), self.answer = self.answer, None
            if lease is not None:
                self.election.wrote(lease, sent=since, now=self.now)

    def look(self) -> None:
        self.read()
        self.land()
        self.hear()

    def end(self) -> None:
        """Ends in order."""
        lease, claim = self.server.lease, self.election.release()
        if claim is not None:
            self.server.put(claim, lease)


def pair() -> tuple[Server, Replica, Replica]:
    server = Server(Lease("uid", "1", "", RELEASED_SECONDS, 4), writes=1)
    return server, Replica("a", server), Replica("b", server)


def at(seconds: float, *replicas: Replica) -> None:
    for replica in replicas:
        replica.true_time = seconds


def test_a_lease_that_was_given_up_is_taken_at_once() -> None:
    server, a, b = pair()
    a.look()
    b.look()
    assert (a.leads, b.leads) == (True, False)
    assert server.lease == Lease("uid", "2", "a", 10, 5)
    a.end()
    b.look()
    assert (a.leads, b.leads) == (False, True)


def test_a_leader_that_renews_goes_on_leading_with_one_term() -> None:
    _, a, b = pair()
    a.look()
    term = a.election.term
    for second in range(0, 60, 2):
        at(second, a, b)
        a.look()
        b.look()
        assert (a.leads, b.leads) == (True, False)
    assert a.election.term == term


def test_a_leader_that_cannot_renew_stops_before_another_begins() -> None:
    _, a, b = pair()
    a.look()
    leading = {"a": 0.0, "b": math.inf}
    for tenth in range(200):
        at(tenth / 10, a, b)
        b.look()
        leading["a"] = max(leading["a"], a.true_time) if a.leads else leading["a"]
        leading["b"] = min(leading["b"], b.true_time) if b.leads else leading["b"]
    assert leading["a"] < TIMING.deadline
    assert TIMING.duration <= leading["b"] <= TIMING.duration + 0.2


def test_also_the_slowest_clock_stops_before_the_fastest_begins() -> None:
    server = Server(Lease("uid", "1", "", RELEASED_SECONDS, 4), writes=1)
    slow, fast = Replica("slow", server, rate=1 - SKEW), Replica("fast", server, rate=1 + SKEW)
    slow.look()
    for hundredth in range(1000):
        at(hundredth / 100, slow, fast)
        fast.look()
        assert not (slow.leads and fast.leads)
    assert fast.leads


def test_a_renewal_whose_answer_is_lost_extends_nothing_and_is_made_again() -> None:
    _, a, _ = pair()
    a.look()
    at(6.0, a)
    a.read()
    a.land()
    a.answer = None
    leading = []
    for seconds in (6.9, 7.1):
        at(seconds, a)
        leading.append(a.leads)
    a.look()
    leading.append(a.leads)
    assert leading == [True, False, True], "nobody else has had it"


def test_a_leader_counts_from_before_it_sent_not_from_the_answer() -> None:
    _, a, _ = pair()
    a.read()
    at(6.0, a)
    a.land()
    a.hear()
    at(7.1, a)
    assert not a.leads


def test_a_lease_of_somebody_with_a_wrong_clock_is_judged_by_when_it_was_seen() -> None:
    """The Lease's own times are not even read; only how long it stays as it is counts."""
    server, _, b = pair()
    server.lease = Lease("uid", "7", "a", 10, 1)
    at(1_000_000, b)
    b.look()
    assert not b.leads
    at(1_000_009, b)
    b.look()
    assert not b.leads
    at(1_000_010.5, b)
    b.look()
    assert b.leads


def test_a_longer_duration_of_another_version_is_waited_for_and_a_mad_one_is_not() -> None:
    for written, waits in ((30, 30), (10**9, 300), (0, 10), (-5, 10)):
        server, _, b = pair()
        server.lease = Lease("uid", "7", "other", written, 1)
        b.look()
        at(waits - 0.5, b)
        b.look()
        assert not b.leads, written
        at(waits + 0.5, b)
        b.look()
        assert b.leads, written


def test_where_there_is_no_lease_it_is_made_and_waited_out_since_a_leader_may_have_lost_it() -> None:
    server, a, b = pair()
    a.look()
    server.lease = None
    b.look()
    a.look()
    assert (a.leads, b.leads) == (False, False)
    at(9.5, a, b)
    a.look()
    b.look()
    assert (a.leads, b.leads) == (False, False)
    at(11, a, b)
    b.look()
    a.look()
    assert (a.leads, b.leads) == (False, True)


@pytest.mark.parametrize("holder", ["", "b", "a-person"])
def test_a_holder_that_was_set_by_hand_ends_the_term_and_is_waited_out(holder: str) -> None:
    server, a, b = pair()
    a.look()
    server.edit(holder=holder)
    a.look()
    b.look()
    assert (a.leads, b.leads) == (False, False)
    at(11, a, b)
    b.look()
    assert b.leads


def test_a_note_on_the_lease_costs_nobody_anything() -> None:
    server, a, b = pair()
    a.look()
    a.read()
    server.edit()
    a.land()
    a.hear()
    assert a.leads
    a.look()
    at(6.9, a, b)
    assert a.leads


def test_who_follows_gives_up_nothing_when_it_ends() -> None:
    server, a, b = pair()
    a.look()
    a.end()
    b.look()
    before = server.lease
    a.look()
    a.end()
    assert server.lease == before
    assert b.leads


def test_terms_differ_between_leaders_and_between_two_turns_of_one() -> None:
    _, a, b = pair()
    terms = []
    for turn in (a, b, a):
        turn.look()
        assert turn.leads
        terms.append(turn.election.term)
        turn.end()
    assert len(set(terms)) == 3


def test_a_candidate_looks_again_as_soon_as_the_lease_can_be_taken() -> None:
    server, _, b = pair()
    server.lease = Lease("uid", "7", "a", 10, 1)
    b.look()
    assert b.election.pause(b.now) == TIMING.poll
    at(9.6, b)
    assert b.election.pause(b.now) == pytest.approx(0.4)
    at(10.4, b)
    assert b.election.pause(b.now) == TIMING.poll


RATES = st.tuples(*[st.sampled_from((1 - SKEW, 1.0, 1 + SKEW))] * 2)
MOMENTS = st.lists(
    st.tuples(
        st.sampled_from((0.1, 0.5, 1.0, 2.0)),
        st.tuples(*[st.sampled_from(("look", "look", "look", "read", "land", "hear"))] * 2),
        st.sampled_from((*[""] * 12, "cut", "cut", "heal", "end", "delete", "clear", "touch", "steal")),
        st.integers(0, 1),
    ),
    min_size=15,
    max_size=40,
)
"""How long nothing happens, what each replica does then, and what happens to which of them."""


@settings(max_examples=100, deadline=None)
@given(rates=RATES, offsets=st.tuples(*[st.floats(-1e6, 1e6)] * 2), moments=MOMENTS)
def test_there_are_never_two_that_may_write(
    rates: tuple[float, ...],
    offsets: tuple[float, ...],
    moments: list[tuple[float, tuple[str, ...], str, int]],
) -> None:
    """Replicas cut off, writes that arrive late or never, lost answers, wrong clocks, hands that delete and steal."""
    server = Server(Lease("uid", "1", "", RELEASED_SECONDS, 0), writes=1)
    replicas = [Replica(f"r{n}", server, rates[n], offsets[n]) for n in range(2)]
    time, cut = 0.0, set[int]()
    for seconds, acts, event, which in moments:
        time += seconds
        at(time, *replicas)
        befall(server, replicas, cut, event, which)
        assert sum(replica.leads for replica in replicas) <= 1
        for number, act in enumerate(acts):
            if number not in cut:
                getattr(replicas[number], act)()
            assert sum(replica.leads for replica in replicas) <= 1


def befall(server: Server, replicas: list[Replica], cut: set[int], event: str, which: int) -> None:
    match event:
        case "cut":
            cut.add(which)
        case "heal":
            cut.clear()
        case "end":
            replicas[which].end()
        case "":
            return
        case _:
            interfere(server, event, f"r{which}")


def interfere(server: Server, action: str, name: str) -> None:
    if action == "delete":
        server.lease = None
    elif action == "touch":
        server.edit()
    elif action == "clear" or (server.lease and server.lease.holder != name):
        server.edit(holder="" if action == "clear" else name)


@settings(max_examples=30, deadline=None)
@given(rates=RATES, moments=MOMENTS, alive=st.integers(0, 1))
def test_whoever_is_left_leads_in_the_end(
    rates: tuple[float, ...], moments: list[tuple[float, tuple[str, ...], str, int]], alive: int
) -> None:
    server = Server()
    replicas = [Replica(f"r{n}", server, rates[n]) for n in range(2)]
    time = 0.0
    for seconds, acts, event, which in moments:
        time += seconds
        at(time, *replicas)
        befall(server, replicas, set(), event, which)
        for number, act in enumerate(acts):
            getattr(replicas[number], act)()
    for _ in range(16):
        time += TIMING.poll
        at(time, *replicas)
        replicas[alive].look()
    assert replicas[alive].leads
