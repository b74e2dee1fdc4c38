"""Remote write into a real Prometheus: hours offline, lost answers, killed agents; each sample once."""

import asyncio
import json
import math
import os
import signal
import subprocess
import sys
import tempfile
import time
import urllib.parse
import urllib.request
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from edgecanary.agent.drift import DriftMeter
from edgecanary.agent.ports import ModelKey
from edgecanary.agent.push.courier import Courier, Times
from edgecanary.agent.push.metrics import PushMetrics
from edgecanary.agent.push.outbox import SampleOutbox
from edgecanary.agent.push.sampling import Sampler
from edgecanary.agent.push.settings import PushSettings
from edgecanary.agent.push.writer import make_writer
from edgecanary.agent.serving.server import MetricsServer
from edgecanary.agent.telemetry import Feedback, Identity, Outcome, Role, Telemetry
from edgecanary.analysis.drift import make_profile
from edgecanary.api.artifacts import DataType, ModelIO, TensorSpec
from edgecanary.api.rollout_status import MetricStatus, Verdict
from edgecanary.base.clock import SystemClock
from edgecanary.clients.backoff import Backoff
from edgecanary.clients.remotewrite import RemoteWrite, WriteTarget
from edgelab import tools
from edgelab.processes import Supervisor
from edgelab.prometheus import Prometheus, Target
from tests.kube.gate_lab import CANARY, STABLE, Gate, nodes
from tests.unit.agent.push.receiver import Said, Sample, receiving

HOUR = 3600
STEP = 120
REVISION = "7" * 64
IDENTITY = Identity(ModelKey("plant", "pump"), REVISION, "2.4.0")


@dataclass
class Offline:
    """A node whose clock a test turns: what it collected, by series and time."""

    folder: Path
    url: str
    moment: float
    max_bytes: int = 64 * 2**20
    max_age_hours: float = 12
    node: str = "n1"
    collected: dict[str, list[tuple[float, float]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.telemetry = Telemetry(agent_version="1")
        self.telemetry.open(IDENTITY)
        self.telemetry.set_role(IDENTITY, Role.ACTIVE)
        self.metrics = PushMetrics(self.telemetry.registry)
        self.sampler = Sampler(PushSettings(WriteTarget(self.url)).series_labels(self.node))
        self.outbox = SampleOutbox(self.folder, max_bytes=self.max_bytes, on_loss=self.metrics.count_lost)
        self.outbox.open()

    def now(self) -> datetime:
        return datetime.fromtimestamp(self.moment, UTC)

    def work(self, *, until: float) -> None:
        """Serves requests and collects its metrics every two minutes of its own time."""
        while self.moment < until:
            self.telemetry.count_request(IDENTITY, Outcome.OK, 0.003)
            self.telemetry.count_request(IDENTITY, Outcome.ERROR, 0.3)
            self.telemetry.count_feedback(IDENTITY, Feedback.CORRECT)
            self._collect()
            self.moment += STEP

    def serve(self, identity: Identity, *, until: float, errors: float) -> None:
        """Twice as many requests as a real node can count by itself, at once; the share `errors` of them fails."""
        self.telemetry.open(identity)
        random = np.random.default_rng(zlib.crc32(self.node.encode()))
        while self.moment < until:
            total = random.poisson(240)
            bad = random.binomial(total, errors)
            for outcome, count in ((Outcome.OK, total - bad), (Outcome.ERROR, bad)):
                self.telemetry._requests.labels(*identity.labels, outcome).inc(int(count))
            self._collect()
            self.moment += STEP

    def courier(self, url: str | None = None) -> Courier:
        return Courier(
            self.outbox,
            RemoteWrite(WriteTarget(url or self.url)),
            Times(self, time.monotonic),
            self.metrics,
            max_age_seconds=self.max_age_hours * HOUR,
            backoff=Backoff(0.01, 0.05),
        )

    def deliver(self, url: str | None = None) -> None:
        """Until nothing waits."""
        courier = self.courier(url)
        deadline = time.monotonic() + 60
        while (wait := courier.deliver()) is not None:
            assert time.monotonic() < deadline
            time.sleep(wait)

    def _collect(self) -> None:
        at = round(self.moment * 1000)
        found = [s for family in self.telemetry.registry.collect() for s in family.samples]
        for sample in found:
            if sample.name.startswith("edgecanary_re"):
                key = series({"__name__": sample.name, **sample.labels, **self.sampler._labels})
                self.collected.setdefault(key, []).append((at / 1000, sample.value))
        self.outbox.put(self.sampler.sample(found, now_ms=at))

    def lost(self) -> float:
        outcomes = ("evicted", "expired", "refused", "clock", "damaged")
        name = "edgecanary_remote_write_samples_total"
        return sum(self.telemetry.registry.get_sample_value(name, {"outcome": o}) or 0 for o in outcomes)


def identity(revision: str) -> Identity:
    return Identity(ModelKey("plant", "pump"), revision, revision[:3])


def series(labels: Mapping[str, str]) -> str:
    return json.dumps(dict(sorted(labels.items())))


def in_prometheus(
    prometheus: Prometheus, selector: str, hours: float
) -> dict[str, list[tuple[float, float]]]:
    """The raw samples, as they lie in Prometheus."""
    query = urllib.parse.urlencode({"query": f"{selector}[{math.ceil(hours * 3600)}s]"})
    with urllib.request.urlopen(f"{prometheus.url}/api/v1/query?{query}", timeout=60) as answer:
        result = json.load(answer)["data"]["result"]
    return {series(item["metric"]): [(at, float(text)) for at, text in item["values"]] for item in result}


OURS = '{__name__=~"edgecanary_re.*"}'


@pytest.fixture
def wide(processes: Supervisor, prometheus: Prometheus) -> Iterator[Prometheus]:
    """A Prometheus that takes samples of the last twelve hours, and already has newer ones of others."""
    tools.prometheus()
    with tempfile.TemporaryDirectory(prefix="edgelab-prometheus-", ignore_cleanup_errors=True) as folder:
        found = Prometheus(processes, Path(folder), out_of_order_seconds=12 * HOUR)
        found.start()
        other = Offline(Path(folder) / "other", found.remote_write_url, time.time() - 60, node="other")
        other.work(until=time.time() - 1)
        other.deliver()
        yield found
        found.stop()


def test_hours_offline_arrive_whole_each_sample_once_at_its_own_time(
    wide: Prometheus, tmp_path: Path
) -> None:
    begin = float(math.floor(time.time() - 10 * HOUR))
    node = Offline(tmp_path / "o", wide.remote_write_url, begin)
    node.work(until=begin + 2 * HOUR)
    node.deliver()
    node.work(until=time.time() - 1)
    node.deliver()
    found = in_prometheus(wide, OURS.replace("}", ',node="n1"}'), 11)
    assert found == node.collected
    assert len(node.collected) > 15
    assert min(len(samples) for samples in node.collected.values()) >= 299
    assert node.lost() == 0


def test_beyond_the_bound_the_newest_are_whole_and_the_dropped_are_counted(
    wide: Prometheus, tmp_path: Path
) -> None:
    begin = float(math.floor(time.time() - 10 * HOUR))
    node = Offline(tmp_path / "o", wide.remote_write_url, begin, max_age_hours=4)
    node.work(until=time.time() - 1)
    node.deliver()
    found = in_prometheus(wide, OURS.replace("}", ',node="n1"}'), 11)
    assert set(found) == set(node.collected)
    for key, samples in found.items():
        assert samples == node.collected[key][-len(samples) :]
        assert 119 <= len(samples) <= 120
    dropped = 299 - len(next(iter(found.values())))
    assert node.lost() >= dropped * len(found)


def test_answers_that_are_lost_bring_no_sample_twice(wide: Prometheus, tmp_path: Path) -> None:
    begin = float(math.floor(time.time() - 5 * HOUR))
    with receiving(wide.remote_write_url) as proxy:
        cut = iter(range(10**9))

        def every_other(_: list[Sample]) -> Said:
            return Said(0) if next(cut) % 2 == 0 else Said()

        proxy.answer = every_other
        node = Offline(tmp_path / "o", proxy.url, begin)
        node.work(until=begin + 4 * HOUR)
        node.deliver()
        node.work(until=time.time() - 1)
        node.deliver()
        assert len(proxy.requests) > 2 * len({tuple(request) for request in proxy.requests}) - 1
    assert in_prometheus(wide, OURS.replace("}", ',node="n1"}'), 6) == node.collected
    assert node.lost() == 0


def test_an_agent_that_is_killed_after_sending_and_before_noting_it_brings_none_twice_and_loses_none(
    wide: Prometheus, tmp_path: Path
) -> None:
    begin = float(math.floor(time.time() - 3 * HOUR))
    with receiving(wide.remote_write_url) as proxy:
        node = Offline(tmp_path / "o", proxy.url, begin)
        node.work(until=time.time() - 1)
        taken = len(proxy.requests)

        def hang(_: list[Sample]) -> Said:
            child.send_signal(signal.SIGKILL)
            proxy.ending.wait(5)
            return Said(0)

        proxy.answer = hang
        child = subprocess.Popen(
            [sys.executable, "-c", _DELIVER, str(tmp_path / "o"), proxy.url],
            env={**os.environ, "PYTHONPATH": "operator"},
        )
        assert child.wait(60) == -signal.SIGKILL
        assert len(proxy.requests) == taken + 1
        proxy.answer = lambda _: Said()
        node.outbox = SampleOutbox(tmp_path / "o", max_bytes=node.max_bytes, on_loss=node.metrics.count_lost)
        node.outbox.open()
        node.deliver()
        assert proxy.requests[taken] == proxy.requests[taken + 1]
    assert in_prometheus(wide, OURS.replace("}", ',node="n1"}'), 4) == node.collected
    assert node.lost() == 0


def test_a_gate_judges_samples_of_nodes_that_were_offline_all_the_while(
    wide: Prometheus, tmp_path: Path
) -> None:
    begin = float(math.floor(time.time() - HOUR))
    names = nodes(6)
    for name in names:
        node = Offline(tmp_path / name, wide.remote_write_url, begin - HOUR, node=name)
        if name in names[:2]:
            node.serve(identity(STABLE), until=begin + 60, errors=0.02)
            node.serve(identity(CANARY), until=time.time() - 1, errors=0.1)
        else:
            node.serve(identity(STABLE), until=time.time() - 1, errors=0.02)
        node.deliver()
    status = Gate(wide, {"preset": "ErrorRate", "comparison": {}}, begin, HOUR).look()
    assert (status.verdict, status.reason) == (Verdict.FAIL, "RegressionFound"), status.message
    assert status.evidence is not None
    assert (status.evidence.canary_nodes, status.evidence.control_nodes) == (2, 4)


async def test_pushed_series_have_the_labels_of_scraped_ones(prometheus: Prometheus, tmp_path: Path) -> None:
    telemetry = Telemetry(agent_version="1")
    telemetry.open(IDENTITY)
    server = MetricsServer(telemetry)
    await server.start("127.0.0.1:0")
    prometheus.set_targets([Target(f"127.0.0.1:{server.port}", {"node": "scraped"})])
    target = WriteTarget(prometheus.remote_write_url)
    pushed = Telemetry(agent_version="1")
    pushed.open(IDENTITY)
    writer = make_writer(
        PushSettings(target, 0.2), pushed.registry, SystemClock(), node="pushed", data_dir=tmp_path
    )
    await writer.start()
    found: dict[str, dict[str, set[str]]] = {}
    async with asyncio.timeout(60):
        while set(found) != {"scraped", "pushed"}:
            await asyncio.sleep(0.1)
            samples = await asyncio.to_thread(
                prometheus.query, '{__name__=~"edgecanary_(re|m).*",namespace="plant"}'
            )
            found = {}
            for sample in samples:
                names = found.setdefault(sample.labels["node"], {})
                names.setdefault(sample.labels["__name__"], set()).update(sample.labels)
    await writer.stop()
    await server.stop()
    assert found["pushed"] == found["scraped"]
    assert {"job", "instance", "node", "outcome"} <= found["pushed"]["edgecanary_requests_total"]


def test_the_drift_preset_reads_what_nodes_count(wide: Prometheus, tmp_path: Path) -> None:
    random = np.random.default_rng(1)
    io = ModelIO(
        inputs=(TensorSpec(name="x", dtype=DataType.FP32, shape=(-1, 4)),),
        outputs=(TensorSpec(name="y", dtype=DataType.FP32, shape=(-1, 1)),),
    )

    def requests(count: int) -> NDArray[np.float32]:
        return random.normal(size=(count, 4)).astype(np.float32)

    known = requests(1000)
    profile = make_profile({"x": known}, {"y": known[:, :1]}, io)
    gate = Gate(wide, {"preset": "Drift", "threshold": {"max": "0.1"}, "minSamples": 150}, time.time() - 60)

    def served(name: str, shift: float, count: int) -> MetricStatus:
        node = Offline(tmp_path / name, wide.remote_write_url, time.time() - 1, node=name)
        meter = DriftMeter(profile, io)
        node.telemetry.open(identity(CANARY))
        node.telemetry.set_drift(identity(CANARY), meter)
        for row in requests(count) + np.float32(shift):
            meter.count({"x": row[np.newaxis]}, {"y": row[np.newaxis, :1]})
        node._collect()
        node.deliver()
        return gate.look()

    few = served("a", 0, 40)
    assert (few.verdict, few.reason) == (Verdict.INCONCLUSIVE, "NoData"), few.message
    more = served("b", 0, 100)
    assert (more.verdict, more.samples) == (Verdict.INCONCLUSIVE, 140), more.message
    good = served("c", 0, 100)
    assert (good.verdict, good.samples) == (Verdict.PASS, 240), good.message
    assert abs(float(good.value or 1)) < 0.06
    bad = served("d", 2, 100)
    assert (bad.verdict, bad.reason) == (Verdict.FAIL, "LimitExceeded"), bad.message
    assert float(bad.value or 0) > 0.2


_DELIVER = """
import sys, time
from pathlib import Path
from prometheus_client import CollectorRegistry
from edgecanary.agent.drift import DriftMeter
from edgecanary.agent.ports import ModelKey
from edgecanary.agent.push.courier import Courier, Times
from edgecanary.agent.push.metrics import PushMetrics
from edgecanary.agent.push.outbox import SampleOutbox
from edgecanary.base.clock import SystemClock
from edgecanary.analysis.drift import make_profile
from edgecanary.api.artifacts import DataType, ModelIO, TensorSpec
from edgecanary.api.rollout_status import MetricStatus, Verdict
from edgecanary.base.clock import SystemClock
from edgecanary.clients.backoff import Backoff
from edgecanary.clients.remotewrite import RemoteWrite, WriteTarget
outbox = SampleOutbox(Path(sys.argv[1]), max_bytes=2**26, on_loss=lambda why, count: None)
outbox.open()
sender = RemoteWrite(WriteTarget(sys.argv[2]))
times = Times(SystemClock(), time.monotonic)
metrics = PushMetrics(CollectorRegistry())
courier = Courier(outbox, sender, times, metrics, max_age_seconds=43200, backoff=Backoff(1, 1))
while courier.deliver() is not None:
    pass
"""
