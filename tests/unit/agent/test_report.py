"""What a node reports, when, and that no report is lost."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from edgecanary.agent.machine import State
from edgecanary.agent.record import Outcome, Record, Rejection, Verdict, new_record
from edgecanary.agent.report import MAX_MODELS, Outbox, build_status, model_status
from edgecanary.agent.reporter import Reporter, ReportPace
from edgecanary.api.artifacts import Format
from edgecanary.api.edgenode import Capabilities, EdgeNodeStatus, ModelResult, ModelState, ProbeMeasurement
from tests.unit.agent.releasing import KEY, NOW, MemoryCluster, statement, target, until

A, B = statement("1.0.0"), statement("2.0.0")
CAPABILITIES = Capabilities(architecture="amd64", memory_bytes=2**30, runtimes=(Format.ONNX,))
PROBE = ProbeMeasurement(variant="cpu", load_milliseconds=5, latency_p95_milliseconds=2, peak_memory_bytes=9)
FAST = ReportPace(
    heartbeat_seconds=3600, start_spread_seconds=3600, retry_first_seconds=0.01, retry_cap_seconds=0.05
)


def settled() -> Record:
    return new_record(KEY).model_copy(
        update={
            "active": A.revision,
            "previous": B.revision,
            "outcome": Outcome(
                desired=A.revision,
                state=ModelState.ACTIVE,
                result=ModelResult.SUCCEEDED,
                reason="Active",
                attempt=2,
                sequence=7,
                transition_time=NOW,
                probe=PROBE,
            ),
        }
    )


def status(*records: Record) -> EdgeNodeStatus:
    return build_status(records, CAPABILITIES, agent_version="0.1.0", now=NOW)


def test_a_settled_model_reports_its_outcome() -> None:
    found = model_status(settled())

    assert (found.namespace, found.name) == ("plant", "pump")
    assert (found.active, found.previous, found.desired) == (A.revision, B.revision, A.revision)
    assert (found.state, found.result, found.attempt, found.sequence) == (
        ModelState.ACTIVE,
        ModelResult.SUCCEEDED,
        2,
        7,
    )
    assert found.probe == PROBE


@pytest.mark.parametrize("state", [State.DOWNLOAD, State.WINDOW, State.HEALTH])
def test_work_under_way_is_pending_and_names_its_state(state: State) -> None:
    record = settled().model_copy(update={"state": state, "target": target(B, attempt=1)})
    found = model_status(record)

    assert (found.state, found.reason, found.result) == (ModelState.PENDING, state.value, ModelResult.NONE)
    assert (found.desired, found.attempt) == (B.revision, 1)
    assert found.message.startswith("2.0.0 is ")


def test_a_revision_on_trial_is_the_active_one() -> None:
    on_trial = settled().model_copy(update={"state": State.HEALTH, "target": target(B)})

    assert model_status(on_trial).active == B.revision


def test_why_work_is_held_up_stays_in_the_report_while_it_is_retried() -> None:
    stuck = Outcome(desired=B.revision, result=ModelResult.DOWNLOAD_FAILED, reason="NoAnswer", attempt=1)
    record = settled().model_copy(
        update={"state": State.DOWNLOAD, "target": target(B, attempt=1), "outcome": stuck}
    )

    assert model_status(record).result is ModelResult.DOWNLOAD_FAILED


def test_local_rejections_are_reported() -> None:
    verdict = Verdict(result=ModelResult.PROBE_FAILED, reason="LoadFailed", message="")
    rejection = Rejection(revision=B.revision, attempt=1, verdict=verdict, time=NOW)

    assert model_status(settled().rejecting(rejection)).rejected == (B.revision,)


def test_a_report_stays_within_what_the_api_server_takes() -> None:
    verbose = settled().outcome.model_copy(update={"message": "x" * 10_000})
    records = [
        settled().model_copy(update={"name": f"model-{number:03}", "outcome": verbose})
        for number in range(80)
    ]
    found = status(*records)

    assert len(found.models) == MAX_MODELS
    EdgeNodeStatus.model_validate(found.to_json())


def test_only_the_32_newest_rejections_are_kept_each_revision_once() -> None:
    verdict = Verdict(result=ModelResult.PROBE_FAILED, reason="LoadFailed", message="")
    record = settled()
    for number in (*range(40), 39):
        rejection = Rejection(revision=f"{number:064}", attempt=1, verdict=verdict, time=NOW)
        record = record.rejecting(rejection)

    assert [entry.revision for entry in record.rejected] == [f"{number:064}" for number in range(8, 40)]


def test_the_outbox_knows_what_was_delivered_whatever_the_time(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path / "outbox.json")
    later = status(settled()).model_copy(update={"heartbeat_time": NOW.replace(hour=20)})

    assert not outbox.has_delivered(later)
    outbox.put(status(settled()), delivered=False)
    assert not outbox.has_delivered(later)
    outbox.put(status(settled()), delivered=True)
    assert Outbox(tmp_path / "outbox.json").has_delivered(later)
    assert not outbox.has_delivered(status())


def test_a_report_names_the_node_that_it_is_about() -> None:
    found = build_status((), CAPABILITIES, agent_version="0.1.0", now=NOW, node_uid="uid-1")
    assert found.node_uid == "uid-1"
    assert status().node_uid == "", "unknown, not another"


def test_the_outbox_remembers_the_node_over_a_restart(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path / "outbox.json")
    assert outbox.node_uid() == ""
    outbox.put(status().model_copy(update={"node_uid": "uid-1"}), delivered=True)
    assert Outbox(tmp_path / "outbox.json").node_uid() == "uid-1"
    assert not outbox.has_delivered(status().model_copy(update={"node_uid": "uid-2"}))


def test_a_damaged_outbox_means_that_the_report_is_sent_again(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path / "outbox.json")
    outbox.put(status(), delivered=True)
    (tmp_path / "outbox.json").write_text("{")

    assert not outbox.has_delivered(status())


@asynccontextmanager
async def reporting(
    cluster: MemoryCluster, outbox: Outbox, compose: Callable[[], EdgeNodeStatus], pace: ReportPace = FAST
) -> AsyncIterator[Reporter]:
    reporter = Reporter(cluster, outbox, compose, pace)
    task = asyncio.create_task(reporter.run())
    try:
        yield reporter
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_a_new_node_reports_at_once_and_is_silent_then(tmp_path: Path) -> None:
    cluster = MemoryCluster()
    async with reporting(cluster, Outbox(tmp_path / "outbox.json"), status):
        await until(lambda: cluster.written)
        await asyncio.sleep(0.3)

    assert cluster.written == [status()]


async def test_news_are_reported_and_news_that_come_together_only_once(tmp_path: Path) -> None:
    cluster = MemoryCluster()
    async with reporting(cluster, Outbox(tmp_path / "outbox.json"), status) as reporter:
        await until(lambda: cluster.written)
        for _ in range(5):
            reporter.changed()
        await until(lambda: len(cluster.written) == 2)
        await asyncio.sleep(0.3)

    assert len(cluster.written) == 2


async def test_a_report_that_does_not_arrive_waits_in_the_outbox_and_arrives_later_as_it_is_then(
    tmp_path: Path,
) -> None:
    cluster, outbox = MemoryCluster(broken=True), Outbox(tmp_path / "outbox.json")
    records: list[Record] = []
    async with reporting(cluster, outbox, lambda: status(*records)):
        await until(lambda: cluster.refused > 1)
        assert (tmp_path / "outbox.json").exists()
        records.append(settled())
        cluster.broken = False
        await until(lambda: cluster.written)
        await until(lambda: outbox.has_delivered(status(settled())))

    assert cluster.written == [status(settled())]


async def test_a_restarted_agent_without_news_waits_for_its_turn(tmp_path: Path) -> None:
    cluster, outbox = MemoryCluster(), Outbox(tmp_path / "outbox.json")
    outbox.put(status(settled()), delivered=True)
    async with reporting(cluster, outbox, lambda: status(settled())):
        await asyncio.sleep(0.3)
    assert cluster.written == []

    outbox.put(status(settled()), delivered=False)
    async with reporting(cluster, outbox, lambda: status(settled())):
        await until(lambda: cluster.written)


async def test_the_heartbeat_repeats_the_report(tmp_path: Path) -> None:
    cluster = MemoryCluster()
    pace = ReportPace(heartbeat_seconds=0.05)
    async with reporting(cluster, Outbox(tmp_path / "outbox.json"), status, pace):
        await until(lambda: len(cluster.written) >= 3)


async def test_a_full_disk_does_not_keep_a_report_from_being_sent(tmp_path: Path) -> None:
    cluster = MemoryCluster()
    async with reporting(cluster, Outbox(tmp_path / "missing" / "outbox.json"), status):
        await until(lambda: cluster.written)
