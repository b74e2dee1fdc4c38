"""Two operators, one leads: killed, frozen, cut off or told to go at any point, the other goes on where it was."""

import time
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from edgecanary.api.fields import JsonObject
from edgecanary.clients.resources import EDGE_MODELS, MODEL_RELEASES, ROLLOUTS
from edgelab.fixtures import control_plane_in
from edgelab.install import apply_rights
from edgelab.modelzoo import ZooModel
from edgelab.processes import Supervisor
from edgelab.s3 import S3Server
from tests.kube.operator_lab import Fleet, OperatorLab
from tests.kube.replicas import (
    FLAGS,
    SYSTEM,
    Journal,
    Pair,
    Replica,
    check_nothing_skipped_repeated_or_lost,
    patiently,
)

NAMES = ("a", "b", "c", "d")
STEPS = ("one", "two", "three", "all")


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    """Two replicas on a control plane that these tests may break, with an audit log."""
    folder = tmp_path_factory.mktemp("leaders")
    with (
        control_plane_in(folder, audit=True) as control_plane,
        Supervisor(folder / "replicas") as supervisor,
    ):
        apply_rights(control_plane)
        found = Pair(control_plane)
        for user in ("replica-a", "replica-b"):
            found.join(supervisor, folder, user)
        yield found


@pytest.fixture
def lab(
    pair: Pair, processes: Supervisor, s3: S3Server, bucket: str, tiny: ZooModel
) -> Iterator[OperatorLab]:
    """A Rollout in four steps that two replicas take care of; its first step waits for its node."""
    pair.mend()
    namespace = f"leaders-{uuid.uuid4().hex[:8]}"
    pair.control_plane.create_namespace(namespace)
    lab = OperatorLab(pair.control_plane, processes, namespace, system=SYSTEM)
    lab.secret(s3.environment)
    lab.add_nodes(*NAMES)
    lab.create(EDGE_MODELS, lab.upload(s3, bucket, tiny))
    yield lab
    pair.mend()
    lab.remove_nodes()


def begin(lab: OperatorLab) -> tuple[Fleet, Journal]:
    journal = Journal(lab)
    steps: list[JsonObject] = [
        {"name": name, "bakeSeconds": 0, "nodes": count} for count, name in enumerate(STEPS[:-1], 1)
    ]
    steps.append({"name": STEPS[-1], "bakeSeconds": 0, "percent": 100})
    lab.create(ROLLOUTS, lab.rollout_spec(*steps))
    patiently("it begins", lambda: lab.ready(ROLLOUTS) == ("Unknown", "NodesUpdating"))
    return Fleet(lab, NAMES), journal


def next_step(fleet: Fleet) -> None:
    """The fleet obeys once, and nodes are told something new."""
    before = fleet.lab.release().spec.sequence
    fleet.obey()
    patiently("the next step", lambda: fleet.lab.release().spec.sequence > before)


def changes(pair: Pair, replica: Replica, *, since: datetime) -> list[tuple[str, str]]:
    """What a replica has changed since then: Events aside, of which the same words make one."""
    return [
        (request.verb, request.resource)
        for request in pair.control_plane.audit_log.writes()
        if (request.user == replica.user and request.time > since and request.code < 300)
        and request.resource != "events"
    ]


def test_a_leader_that_is_killed_again_and_again_is_followed_by_the_other(
    pair: Pair, lab: OperatorLab
) -> None:
    fleet, journal = begin(lab)
    for delay in (0.0, 0.2):
        leader = pair.leader()
        fleet.obey()
        time.sleep(delay)
        leader.process.kill()
        next_step(fleet)
        assert pair.leader() is not leader
        leader.start()
    fleet.obey_until("Promoted", seconds=240)
    check_nothing_skipped_repeated_or_lost(journal, steps=len(STEPS))
    for reason in ("RolloutStarted", "Promoted"):
        assert [event["count"] for event in lab.events(reason)] == [1], reason


def test_a_leader_that_was_frozen_finds_another_when_it_wakes_and_writes_nothing(
    pair: Pair, lab: OperatorLab
) -> None:
    fleet, journal = begin(lab)
    frozen = pair.leader()
    fleet.obey()
    frozen.process.pause()
    next_step(fleet)
    assert pair.other(frozen).leads
    woken = datetime.now(UTC)
    frozen.process.resume()
    fleet.obey_until("Promoted", seconds=240)
    patiently("it says that it follows", lambda: not frozen.leads and frozen.lab.probe("/readyz")[0] == 200)
    check_nothing_skipped_repeated_or_lost(journal, steps=len(STEPS))
    assert changes(pair, frozen, since=woken) == []


def test_a_leader_that_is_told_to_go_hands_over(pair: Pair, lab: OperatorLab) -> None:
    fleet, journal = begin(lab)
    leader, turns = pair.leader(), pair.lease()["leaseTransitions"]
    assert leader.process.stop(grace=40) == 0
    assert "has given the Lease edgecanary-operator up" in leader.lab.log()
    fleet.obey_until("Promoted", seconds=240)
    assert pair.leader() is not leader
    assert isinstance(turns, int)
    assert pair.lease()["leaseTransitions"] == turns + 1
    check_nothing_skipped_repeated_or_lost(journal, steps=len(STEPS))


def test_a_leader_that_is_cut_off_stands_down_and_follows_when_it_is_back(
    pair: Pair, lab: OperatorLab
) -> None:
    fleet, journal = begin(lab)
    leader = pair.leader()
    leader.network.pause()
    next_step(fleet)
    patiently("it stands down", lambda: not leader.leads)
    assert leader.lab.probe("/healthz")[0] == 200, "a network that is down is not its illness"
    back = datetime.now(UTC)
    leader.network.resume()
    fleet.obey_until("Promoted", seconds=240)
    check_nothing_skipped_repeated_or_lost(journal, steps=len(STEPS))
    assert changes(pair, leader, since=back) == []


def test_a_lease_that_is_deleted_or_stolen_by_hand_costs_time_and_nothing_else(
    pair: Pair, lab: OperatorLab
) -> None:
    fleet, journal = begin(lab)
    admin = pair.control_plane.admin
    admin.delete(pair.lease_path())
    next_step(fleet)
    patiently("there is a Lease again", lambda: pair.lease().get("holderIdentity"))
    admin.patch(pair.lease_path(), {"spec": {"holderIdentity": "a-person"}})
    next_step(fleet)
    admin.patch(pair.lease_path(), {"spec": {"holderIdentity": ""}})
    fleet.obey_until("Promoted", seconds=240)
    check_nothing_skipped_repeated_or_lost(journal, steps=len(STEPS))
    patiently("one leads again", lambda: sum(replica.leads for replica in pair.replicas) == 1)


def test_an_api_server_that_is_away_for_longer_than_a_term_ends_it(pair: Pair, lab: OperatorLab) -> None:
    fleet, journal = begin(lab)
    fleet.obey()
    pair.control_plane.api_server.pause()
    patiently("nobody leads", lambda: not any(replica.leads for replica in pair.replicas))
    assert [replica.lab.probe("/healthz")[0] for replica in pair.replicas] == [200, 200]
    pair.control_plane.api_server.resume()
    fleet.obey_until("Promoted", seconds=240)
    check_nothing_skipped_repeated_or_lost(journal, steps=len(STEPS))


def test_both_replicas_are_ready_and_the_lease_names_the_one_that_leads(pair: Pair) -> None:
    leader = pair.mend()
    assert [replica.lab.probe("/readyz")[0] for replica in pair.replicas] == [200, 200]
    assert [replica.leads for replica in pair.replicas].count(True) == 1
    holder = str(pair.lease()["holderIdentity"])
    assert f"{holder} leads" in leader.lab.log()


def test_a_replica_that_may_not_see_the_lease_is_not_ready_and_says_what_to_grant(
    pair: Pair, processes: Supervisor
) -> None:
    pair.mend()
    user = f"poor-{uuid.uuid4().hex[:6]}"
    plane = pair.control_plane
    for role in ("edgecanary-operator", "edgecanary-operator-nodes"):
        name = f"{user}-{role}"
        plane.kubectl("create", "clusterrolebinding", name, f"--clusterrole={role}", f"--user={user}")
    lab = OperatorLab(plane, processes, SYSTEM, name="poor")
    lab.start(*FLAGS, user=user, ready=False, everywhere=True)
    patiently("it says why", lambda: 'resources: ["leases"], verbs: ["get"]' in lab.probe("/readyz")[1])
    assert lab.probe("/readyz")[0] == 503
    assert lab.probe("/healthz")[0] == 200
    lab.stop()


def test_an_operator_that_is_alone_leads(pair: Pair, processes: Supervisor) -> None:
    """Without --leader-elect there is no Lease to wait for."""
    lab = OperatorLab(pair.control_plane, processes, "nowhere", system=SYSTEM)
    lab.start(ready=False)
    patiently("it leads", lambda: lab.metric("edgecanary_leader") == 1)
    assert lab.find(MODEL_RELEASES) is None
    lab.stop()
