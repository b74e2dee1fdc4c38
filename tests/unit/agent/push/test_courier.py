"""What is sent when, and what becomes of every answer: a real HTTP server, a clock of the test's own."""

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from edgecanary.agent.push.courier import Courier, Times
from edgecanary.agent.push.metrics import PushMetrics
from edgecanary.agent.push.outbox import SampleOutbox
from edgecanary.agent.push.sampling import Sampler
from edgecanary.agent.push.segments import Entry
from edgecanary.agent.push.settings import PushSettings
from edgecanary.clients.backoff import Backoff
from edgecanary.clients.nodeaccess import Blob
from edgecanary.clients.remotewrite import RemoteWrite, WriteTarget
from tests.unit.agent.push.receiver import Receiver, Said, Sample, receiving

START = datetime(2026, 8, 22, 12, 0, tzinfo=UTC)
HOUR = 3600.0


@dataclass
class PlainSample:
    name: str
    value: float
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass
class Node:
    """An outbox, a courier, and clocks that a test turns: the node's may be wrong, Prometheus's is not."""

    folder: Path
    receiver: Receiver
    token: Path | None = None
    passed: float = 0.0
    wrong_by: float = 0.0

    def __post_init__(self) -> None:
        self.sampler = Sampler(PushSettings(WriteTarget(self.receiver.url)).series_labels("n1"))
        self.receiver.now = lambda: START + timedelta(seconds=self.passed)
        self.restart()

    def restart(self) -> None:
        self.registry = CollectorRegistry()
        metrics = PushMetrics(self.registry)
        self.outbox = SampleOutbox(self.folder, max_bytes=2**20, on_loss=metrics.count_lost)
        self.outbox.open()
        target = WriteTarget(
            self.receiver.url, token=Blob(path=self.token) if self.token else None, seconds=5
        )
        self.courier = Courier(
            self.outbox,
            RemoteWrite(target),
            Times(self, lambda: self.passed),
            metrics,
            max_age_seconds=6 * HOUR,
            backoff=Backoff(1, 60),
        )

    def now(self) -> datetime:
        return START + timedelta(seconds=self.passed + self.wrong_by)

    def collect(self, *values: float, seconds: float = 30) -> int:
        """Samples `m0`, `m1` … with these values, after some seconds; their time."""
        self.passed += seconds
        at = round(self.now().timestamp() * 1000)
        samples = [PlainSample(f"m{index}", value) for index, value in enumerate(values)]
        self.outbox.put(self.sampler.sample(samples, now_ms=at))
        return at

    def deliver(self) -> list[float]:
        """Delivers until nothing waits or something has to be waited for; the waits."""
        waits = []
        while (wait := self.courier.deliver()) is not None:
            waits.append(wait)
            if wait:
                break
        return waits

    def taken(self) -> list[tuple[str, int, float]]:
        return [(sample.name, sample.timestamp_ms, sample.value) for sample in self.receiver.taken]

    def outcomes(self) -> dict[str, float]:
        found = Counter[str]()
        for family in self.registry.collect():
            for sample in family.samples:
                if sample.name == "edgecanary_remote_write_samples_total" and sample.value:
                    found[sample.labels["outcome"]] += int(sample.value)
        return dict(found)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as found:
        yield found


@pytest.fixture
def node(tmp_path: Path, receiver: Receiver) -> Node:
    return Node(tmp_path / "remote-write", receiver)


def test_samples_arrive_as_they_were_with_the_labels_of_a_scrape(node: Node, receiver: Receiver) -> None:
    first, second = node.collect(1.5, math.inf), node.collect(2.5, 7)
    node.deliver()
    assert node.taken() == [
        ("m0", first, 1.5),
        ("m1", first, math.inf),
        ("m0", second, 2.5),
        ("m1", second, 7),
    ]
    labels = dict(receiver.taken[0].labels)
    assert labels == {"__name__": "m0", "job": "edgecanary-agent", "instance": "n1", "node": "n1"}
    headers = receiver.headers[-1]
    assert headers["Content-Encoding"] == "snappy"
    assert headers["Content-Type"] == "application/x-protobuf"
    assert headers["X-Prometheus-Remote-Write-Version"] == "0.1.0"
    assert node.outcomes() == {"sent": 4}
    assert node.deliver() == []


def test_many_moments_go_into_one_request_the_oldest_first(node: Node, receiver: Receiver) -> None:
    moments = [node.collect(float(number)) for number in range(600)]
    node.deliver()
    assert [at for _, at, _ in node.taken()] == moments
    assert len(receiver.requests) == 3


def test_a_series_that_is_gone_is_marked_so_once(node: Node) -> None:
    node.collect(1, 2)
    node.collect(1)
    node.collect(1)
    node.deliver()
    marks = [sample for sample in node.receiver.taken if sample.name == "m1"]
    assert [sample.bits == 0x7FF0000000000002 for sample in marks] == [False, True]


def test_a_lost_answer_means_that_the_very_same_samples_are_sent_again(
    node: Node, receiver: Receiver
) -> None:
    node.collect(1)
    node.collect(2)
    receiver.answer = lambda _: Said(0)
    assert node.deliver()[-1] >= 0
    node.restart()
    receiver.answer = lambda _: Said()
    node.deliver()
    assert receiver.requests[0] == receiver.requests[1]
    assert node.taken()[-1][2] == 2


@pytest.mark.parametrize("status", [500, 503, 429, 401, 403, 404, 302, 408])
def test_what_is_no_fault_of_the_samples_keeps_them(node: Node, receiver: Receiver, status: int) -> None:
    at = node.collect(1)
    receiver.answer = lambda _: Said(status, "not now")
    node.deliver()
    assert node.outcomes() == {}
    receiver.answer = lambda _: Said()
    node.deliver()
    assert node.taken() == [("m0", at, 1)]


@pytest.mark.parametrize("status", [429, 503])
def test_retry_after_is_waited_for_and_a_wild_one_is_cut(node: Node, receiver: Receiver, status: int) -> None:
    node.collect(1)
    receiver.answer = lambda _: Said(status, headers={"Retry-After": "90"})
    assert 90 <= node.deliver()[-1] <= 91
    receiver.answer = lambda _: Said(status, headers={"Retry-After": "999999999999"})
    assert 3600 <= node.deliver()[-1] <= 3602
    receiver.answer = lambda _: Said(status, headers={"Retry-After": "soon"})
    assert node.deliver()[-1] <= 4


def test_waits_grow_with_jitter_up_to_a_bound_and_start_over_after_a_success(
    node: Node, receiver: Receiver
) -> None:
    node.collect(1)
    receiver.answer = lambda _: Said(500)
    waits = [node.deliver()[-1] for _ in range(40)]
    assert all(wait <= min(60, 2**number) for number, wait in enumerate(waits))
    assert max(waits) > 20
    assert len(set(waits)) == 40
    receiver.answer = lambda _: Said()
    node.deliver()
    node.collect(1)
    receiver.answer = lambda _: Said(500)
    assert node.deliver()[-1] <= 1


def test_a_refused_sample_takes_no_other_with_it(node: Node, receiver: Receiver) -> None:
    moments = [node.collect(1, 2, 3, 4, 5) for _ in range(50)]
    bad = moments[20]
    receiver.answer = refusing(lambda sample: sample.name == "m3" and sample.timestamp_ms == bad)
    node.deliver()
    assert node.outcomes() == {"sent": 249, "refused": 1}
    found = node.taken()
    assert sorted(found) == sorted(
        (f"m{index}", at, index + 1.0) for at in moments for index in range(5) if (index, at) != (3, bad)
    )
    assert [at for name, at, _ in found if name == "m0"] == moments


def test_a_moment_of_which_all_is_refused_costs_a_bounded_number_of_requests(
    node: Node, receiver: Receiver
) -> None:
    node.collect(*(float(number) for number in range(300)))
    node.collect(1)
    receiver.answer = refusing(lambda sample: sample.timestamp_ms < round(node.now().timestamp() * 1000))
    node.deliver()
    assert node.outcomes() == {"sent": 300, "refused": 300}  # 299 marks and a sample
    assert len(receiver.requests) < 40


def test_a_request_that_is_too_large_is_made_smaller(node: Node, receiver: Receiver) -> None:
    moments = [node.collect(*range(10)) for _ in range(40)]
    receiver.answer = lambda samples: Said(413) if len(samples) > 50 else Said()
    node.deliver()
    assert sorted({at for _, at, _ in node.taken()}) == moments
    assert node.outcomes() == {"sent": 400}


def test_samples_beyond_the_age_bound_are_dropped_and_counted_when_prometheus_is_back(node: Node) -> None:
    for _ in range(10):
        node.collect(1, seconds=HOUR)
    node.deliver()
    assert node.outcomes() == {"expired": 3, "sent": 7}


def test_a_clock_that_is_ahead_waits_until_it_is_set_right(node: Node, receiver: Receiver) -> None:
    at = node.collect(1)
    node.wrong_by = 30 * 86400
    node.collect(2)
    node.collect(3)
    assert node.deliver()[-1] >= 0
    assert node.taken() == [("m0", at, 1)]
    assert node.outcomes() == {"sent": 1}
    node.wrong_by = 0
    later = node.collect(4)
    node.deliver()
    assert node.taken() == [("m0", at, 1), ("m0", later, 4)]
    assert node.outcomes() == {"sent": 2, "clock": 2}
    offset = node.registry.get_sample_value("edgecanary_remote_write_clock_offset_seconds")
    assert offset == pytest.approx(0, abs=1.1)


def test_nothing_goes_out_before_prometheus_has_said_what_time_it_is(node: Node, receiver: Receiver) -> None:
    node.wrong_by = 86400
    node.collect(1)
    node.deliver()
    assert receiver.requests == []
    assert len(receiver.headers) == 1


def test_a_clock_that_lost_its_time_and_found_it_again_sends_no_second_history(node: Node) -> None:
    first = node.collect(10)
    node.collect(11, seconds=4 * HOUR)
    node.deliver()
    node.wrong_by = -2 * HOUR
    node.restart()
    node.collect(3)
    node.wrong_by = 0
    last = node.collect(4)
    node.deliver()
    assert [(at, value) for _, at, value in node.taken()] == [
        (first, 10),
        (first + 14_400_000, 11),
        (last, 4),
    ]
    assert node.outcomes() == {"clock": 1, "sent": 1}


def test_a_server_without_a_clock_is_written_to_by_the_nodes_own(node: Node, receiver: Receiver) -> None:
    receiver.now = lambda: None
    at = node.collect(1)
    node.deliver()
    assert node.taken() == [("m0", at, 1)]


def test_a_time_of_the_far_future_that_once_was_sent_does_not_block_for_ever(
    node: Node, receiver: Receiver
) -> None:
    receiver.now = lambda: None
    node.wrong_by = 86400
    node.collect(1)
    node.deliver()
    node.wrong_by = 0
    at = node.collect(2)
    node.deliver()
    assert node.taken()[-1] == ("m0", at, 2)


def test_the_token_is_read_anew_for_every_request_and_an_unreadable_one_keeps_the_samples(
    tmp_path: Path, receiver: Receiver
) -> None:
    token = tmp_path / "token"
    node = Node(tmp_path / "remote-write", receiver, token)
    node.collect(1)
    assert node.deliver()[-1] >= 0
    assert receiver.headers == []
    token.write_text("secret\n")
    node.deliver()
    assert receiver.headers[-1]["Authorization"] == "Bearer secret"
    assert node.outcomes() == {"sent": 1}


def test_a_payload_that_snappy_cannot_read_is_given_up(node: Node) -> None:
    at = node.collect(1)
    node.outbox.put(Entry(at + 1, 5, b"\xff" * 9))
    node.collect(3)
    node.deliver()
    assert [value for _, _, value in node.taken()] == [1, 3]
    assert node.outcomes() == {"sent": 2, "damaged": 5}


def refusing(bad: Callable[[Sample], bool]) -> Callable[[list[Sample]], Said]:
    """As Prometheus does it: one bad sample refuses the whole request."""
    return lambda samples: Said(400, "out of order sample") if any(map(bad, samples)) else Said()
