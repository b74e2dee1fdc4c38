"""A webhook is told what happens to Rollouts, on a real API server, with receivers that are down, wrong and slow."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgecanary.api.rollout import Rollout
from edgecanary.clients.resources import EDGE_MODELS, ROLLOUTS
from edgecanary.controller.metrics import OperatorMetrics
from edgecanary.controller.notifier import Notifier
from edgecanary.controller.views import ObjectKey
from edgelab.modelzoo import ZooModel
from edgelab.ports import free_port
from edgelab.processes import Process, Supervisor
from edgelab.s3 import S3Server
from tests.kube.bench import NAMES, Bench
from tests.kube.operator_lab import Fleet, OperatorLab, until
from tests.unit.docs.pages import blocks, page
from tests.unit.receiver import Receiver, receiving

GUIDE = "docs/guides/notifications.md"
SECRET = "a secret that both sides know"
PATIENCE = 240.0
PROMOTED = "dev.edgecanary.rollout.promoted"
ROLLED_BACK = "dev.edgecanary.rollout.rolledback"


class ToldBench(Bench):
    """The reconcilers with a notifier; `restart` forgets what it has told."""

    receiver: Receiver

    def restart(self) -> None:
        self.notifier = Notifier(
            self.kube,
            self.receiver.webhook(),
            self.permit,
            OperatorMetrics(),
            wake=lambda _: None,
            news=lambda _: None,
        )
        self.notes = self.notifier
        super().restart()

    def tell(self) -> float | None:
        return self.notifier.tell(ObjectKey(self.lab.namespace, "pump"))


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as found:
        yield found


@pytest.fixture
def bench(
    stocked_lab: OperatorLab, s3: S3Server, bucket: str, tiny: ZooModel, receiver: Receiver
) -> Iterator[ToldBench]:
    lab = stocked_lab
    lab.add_nodes(*NAMES)
    lab.create(EDGE_MODELS, lab.upload(s3, bucket, tiny))
    lab.create(ROLLOUTS, lab.rollout_spec())
    ToldBench.receiver = receiver
    found = ToldBench(lab)
    yield found
    found.kube.close()


def told(receiver: Receiver) -> list[tuple[str, str]]:
    """Type and id of each POST that came."""
    events = [json.loads(body) for _, body in receiver.seen]
    return [(event["type"], event["id"]) for event in events]


def notified(bench: Bench) -> tuple[str, ...] | None:
    return Rollout.model_validate(bench.lab.get(ROLLOUTS)).status.notified


def test_what_was_taken_is_noted_in_the_status_and_not_told_again_by_the_next_operator(
    bench: ToldBench, receiver: Receiver
) -> None:
    bench.roll(until="Promoted")
    assert notified(bench) == ()
    assert bench.tell() is None
    ((kind, event_id),) = told(receiver)
    assert kind == PROMOTED
    bench.look()
    assert notified(bench) == (event_id,)
    bench.restart()
    assert bench.tell() is None
    assert len(told(receiver)) == 1


def test_an_operator_that_is_killed_before_it_notes_what_was_taken_tells_it_again_with_the_same_id(
    bench: ToldBench, receiver: Receiver
) -> None:
    bench.roll(until="Promoted")
    bench.tell()
    bench.tell()
    assert len(told(receiver)) == 1, "in one life it is told once"
    bench.restart()
    bench.tell()
    first, second = told(receiver)
    assert first == second


def test_a_receiver_that_fails_is_left_alone_and_told_when_it_is_well_however_often_the_operator_ended(
    bench: ToldBench, receiver: Receiver
) -> None:
    receiver.status, receiver.headers = 503, {"Retry-After": "30"}
    bench.roll(until="Promoted")
    wait = bench.tell()
    assert wait is not None
    assert wait >= 30, "as long as it asked for"
    again = bench.tell()
    assert again is not None
    assert len(told(receiver)) == 1, "it is left alone until then"
    golden = {"absoluteTolerance": "0.01"}
    bench.lab.change(EDGE_MODELS, {"spec": {"version": "9.9.9", "golden": golden}})
    bench.roll(until="RolledBack", fails=NAMES)
    bench.restart()
    receiver.status, receiver.headers = 204, {}
    assert bench.tell() is None
    assert [kind for kind, _ in told(receiver)] == [PROMOTED, PROMOTED, ROLLED_BACK]


def test_an_event_that_the_receiver_cannot_use_holds_up_no_other(
    bench: ToldBench, receiver: Receiver
) -> None:
    receiver.status = 422
    bench.roll(until="Promoted")
    assert bench.tell() is None
    bench.look()
    noted = notified(bench)
    assert noted is not None
    assert len(noted) == 1


def test_without_a_webhook_nothing_is_noted(bench: ToldBench) -> None:
    bench.roll(until="Promoted")
    plain = Bench(bench.lab)
    plain.look()
    assert notified(bench) is None
    bench.restart()
    bench.look()
    noted = notified(bench)
    assert noted is not None
    assert len(noted) == 1, "what was before counts as told"
    plain.kube.close()


def start_receiver(processes: Supervisor, port: int, folder: Path) -> Process:
    """The receiver of the guide, as a process."""
    (code,) = blocks(page(GUIDE), "python")
    script = folder / "receiver.py"
    script.write_text(code)
    return processes.start("receiver", [sys.executable, script, str(port)], env={"SECRET": SECRET})


def start(lab: OperatorLab, flags: tuple[str, ...]) -> None:
    lab.start(*flags, ready=False)
    until("the operator is ready", lambda: lab.probe("/readyz")[0] == 200, seconds=PATIENCE)


def lines(receiver: Process) -> list[list[str]]:
    """Type, subject and message of each event that the guide's receiver has accepted."""
    return [
        line.split(" ", 2)
        for line in receiver.log_path.read_text().splitlines()
        if line.startswith("dev.edgecanary")
    ]


def test_an_approval_and_a_promotion_reach_the_guides_receiver_though_it_is_late_and_the_operator_dies(
    stocked_lab: OperatorLab, s3: S3Server, bucket: str, tiny: ZooModel, processes: Supervisor, tmp_path: Path
) -> None:
    lab, port = stocked_lab, free_port()
    secret = tmp_path / "secret"
    secret.write_text(f"another secret, of last year\n{SECRET}\n")
    flags = (f"--notify-url=http://127.0.0.1:{port}/in/h1dden", f"--notify-secret-file={secret}")
    lab.add_nodes(*NAMES)
    lab.create(EDGE_MODELS, lab.upload(s3, bucket, tiny))
    lab.create(
        ROLLOUTS,
        lab.rollout_spec(
            {"name": "one", "nodes": 1, "bakeSeconds": 0, "approval": "Manual"},
            {"name": "all", "percent": 100, "bakeSeconds": 0},
        ),
    )
    start(lab, flags)
    fleet = Fleet(lab, NAMES)
    fleet.obey_until("AwaitingApproval", seconds=PATIENCE)
    failed = 'edgecanary_notifications_total{outcome="failed"}'
    until("it has tried in vain", lambda: lab.metric(failed) >= 1, seconds=PATIENCE)
    receiver = start_receiver(processes, port, tmp_path)
    until("the approval is asked for", lambda: len(lines(receiver)) == 1, seconds=PATIENCE)
    lab.process.kill()
    lab.annotate("promote", "go")
    start(lab, flags)
    fleet.obey_until("Promoted", seconds=PATIENCE)
    until("the promotion is told", lambda: len(lines(receiver)) == 2, seconds=PATIENCE)
    place = f"{lab.namespace}/pump"
    (asked, promoted) = lines(receiver)
    assert asked[:2] == ["dev.edgecanary.rollout.approvalneeded", place]
    assert promoted == [PROMOTED, place, "0.1.0 is stable now"]
    until("both are noted", lambda: len(Rollout.model_validate(lab.get(ROLLOUTS)).status.notified or ()) == 2)
    assert lab.stop() == 0
    for hidden in ("h1dden", SECRET):
        assert hidden not in lab.log().replace(flags[0], "")
