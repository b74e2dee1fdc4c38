"""Which agents are silent and which nodes are slow, by the operator's own clock."""

from edgecanary.api.edgenode import ModelState
from edgecanary.controller.attendance import HELD_REASONS, SILENT_SECONDS, Attendance, Attending
from edgecanary.controller.sight import Sight
from edgecanary.controller.views import EdgeNodeRecord, NodeRecord, ObjectKey, read_edge_node, read_node
from tests.unit.controller import objects
from tests.unit.docs.pages import code_words, column, page, section

PUMP = ObjectKey("plant", "pump")


def node(*, ready: bool = True) -> NodeRecord:
    return read_node(objects.node("n1", 1, ready=ready))


def agent(beat: int = 0, *, state: str = "Active", reason: str = "", desired: str = "") -> EdgeNodeRecord:
    report = {**objects.report(state=state), "reason": reason, "desired": desired or objects.REVISION}
    body = objects.edge_node("n1", 1, models=[report], heartbeat=f"2026-01-01T00:{beat:02}:00Z")
    return read_edge_node(body)


def sight(record: EdgeNodeRecord, *, ready: bool = True) -> Sight:
    return Sight(nodes={"n1": node(ready=ready)}, agents={"n1": record})


def test_an_agent_that_writes_is_reporting_whatever_its_clock_says() -> None:
    attendance = Attendance()
    rolls = [attendance.look(sight(agent(59 - minute)), minute * 60.0) for minute in range(0, 60, 10)]
    roll = rolls[-1]
    assert roll.agents == {Attending.REPORTING: 1, Attending.SILENT: 0, Attending.OFFLINE: 0}
    assert roll.longest_silence == 0


def test_an_agent_that_stops_writing_is_silent_after_a_while() -> None:
    attendance = Attendance()
    attendance.look(sight(agent(1)), 100.0)
    roll = attendance.look(sight(agent(1)), 100.0 + SILENT_SECONDS)
    assert roll.agents[Attending.SILENT] == 0
    roll = attendance.look(sight(agent(1)), 101.0 + SILENT_SECONDS)
    assert roll.agents == {Attending.REPORTING: 0, Attending.SILENT: 1, Attending.OFFLINE: 0}
    assert roll.longest_silence == SILENT_SECONDS + 1
    assert attendance.look(sight(agent(2)), 102.0 + SILENT_SECONDS).longest_silence == 0


def test_an_agent_whose_node_is_offline_is_not_silent_and_has_a_fresh_start() -> None:
    attendance = Attendance()
    attendance.look(sight(agent(1)), 0.0)
    roll = attendance.look(sight(agent(1), ready=False), 10_000.0)
    assert roll.agents == {Attending.REPORTING: 0, Attending.SILENT: 0, Attending.OFFLINE: 1}
    assert roll.longest_silence == 0
    assert attendance.look(sight(agent(1)), 10_001.0).agents[Attending.REPORTING] == 1


def test_an_agent_whose_node_is_gone_does_not_count() -> None:
    roll = Attendance().look(Sight(agents={"n1": agent()}), 0.0)
    assert set(roll.agents.values()) == {0}
    assert set(roll.models.values()) == {0}


def test_models_on_nodes_are_counted_by_state() -> None:
    roll = Attendance().look(sight(agent(state="Reverted")), 0.0)
    assert roll.models == {state: int(state is ModelState.REVERTED) for state in ModelState}


def test_a_node_is_slow_from_when_it_was_first_seen_pending_and_online() -> None:
    attendance, pending = Attendance(), agent(state="Pending", reason="Download")
    attendance.look(sight(pending, ready=False), 0.0)
    assert attendance.look(sight(pending), 50.0).pending == {(PUMP, False): 0.0}
    assert attendance.look(sight(agent(5, state="Pending", reason="Verify")), 90.0).pending == {
        (PUMP, False): 40.0
    }
    assert attendance.look(sight(agent(6)), 100.0).pending == {}
    assert attendance.look(sight(pending), 110.0).pending == {(PUMP, False): 0.0}


def test_another_revision_is_another_way() -> None:
    attendance = Attendance()
    attendance.look(sight(agent(state="Pending")), 0.0)
    assert attendance.look(sight(agent(state="Pending", desired="cd" * 32)), 60.0).pending == {
        (PUMP, False): 0.0
    }


def test_what_the_device_holds_is_told_apart() -> None:
    attendance = Attendance()
    attendance.look(sight(agent(state="Pending", reason="OutsideWindow")), 0.0)
    roll = attendance.look(sight(agent(state="Pending", reason="OutsideWindow")), 60.0)
    assert roll.pending == {(PUMP, True): 60.0}


def test_the_reasons_of_a_device_are_those_that_the_guide_has() -> None:
    listed = column(section(page("docs/guides/nodes.md"), "What the device has to say"), 2)
    assert set(code_words(" ".join(listed))) == HELD_REASONS
