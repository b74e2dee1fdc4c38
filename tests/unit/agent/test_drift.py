"""Drift on the node: what is counted and when, what it costs a request, and what the metrics say."""

import asyncio
import math
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from edgecanary.agent import drift
from edgecanary.agent.drift import DriftMeter, Sampler, load_meter
from edgecanary.agent.telemetry import DriftReading, FeatureReading, Identity, Telemetry
from edgecanary.analysis.drift import make_profile
from edgecanary.analysis.profile import DriftProfile
from edgecanary.api.artifacts import DataType, ModelIO, TensorSpec
from tests.unit.agent.modelmaking import (
    KEY,
    REVISION_A,
    REVISION_B,
    adding_model,
    identity_model,
    install,
    row_io,
)
from tests.unit.agent.serving.harness import Node, rows, running_node

IO = row_io()
RANDOM = np.random.default_rng(1)


def requests(count: int, shift: float = 0.0) -> NDArray[np.float32]:
    return (RANDOM.normal(size=(count, 4)) + shift).astype(np.float32)


@pytest.fixture(scope="module")
def profile() -> DriftProfile:
    x = requests(2000)
    return make_profile({"x": x}, {"y": x}, IO)


class Clock:
    def __init__(self) -> None:
        self.time = 100.0

    def __call__(self) -> float:
        return self.time


def counted(meter: DriftMeter, values: NDArray[np.float32]) -> DriftReading:
    for row in values:
        meter.count({"x": row[np.newaxis]}, {"y": row[np.newaxis]})
    return meter.read()


def score(reading: DriftReading, name: str) -> float:
    return next(feature.score for feature in reading.features if feature.name == name)


def test_scores_are_near_0_for_what_the_model_knows_and_rise_when_it_changes(profile: DriftProfile) -> None:
    clock = Clock()
    meter = DriftMeter(profile, IO, clock)
    reading = counted(meter, requests(100))
    assert reading.samples == 100
    assert all(abs(feature.score) < 0.06 for feature in reading.features)
    shifted = requests(200)
    shifted[:, 2] += 3
    reading = counted(meter, shifted)
    assert score(reading, "x.Element2") > 0.2
    assert abs(score(reading, "x.Element1")) < 0.03


def test_before_there_are_enough_samples_there_is_no_score(profile: DriftProfile) -> None:
    meter = DriftMeter(profile, IO, Clock())
    assert all(math.isnan(feature.score) for feature in meter.read().features)
    assert all(math.isnan(feature.score) for feature in counted(meter, requests(49)).features)
    assert all(not math.isnan(feature.score) for feature in counted(meter, requests(1)).features)


def test_the_past_is_forgotten_and_the_counters_are_not(profile: DriftProfile) -> None:
    meter = DriftMeter(profile, IO, Clock())
    counted(meter, requests(500, shift=5))
    assert score(meter.read(), "x.Element0") > 0.7
    reading = counted(meter, requests(1001))
    assert 500 <= reading.samples <= 1000
    assert abs(score(reading, "x.Element0")) < 0.02
    assert all(sum(count for _, count in feature.bins) == 1501 for feature in reading.features)


def test_a_node_with_few_requests_forgets_after_hours(profile: DriftProfile) -> None:
    clock = Clock()
    meter = DriftMeter(profile, IO, clock)
    counted(meter, requests(120, shift=5))
    for _ in range(240):
        clock.time += 60
        counted(meter, requests(1))
    assert abs(score(meter.read(), "x.Element0")) < 0.05


def test_numbers_that_are_none_and_outputs_that_nobody_asked_for(profile: DriftProfile) -> None:
    meter = DriftMeter(profile, IO, Clock())
    for _ in range(60):
        meter.count({"x": np.full((1, 4), np.nan, np.float32)}, {})
    reading = meter.read()
    assert score(reading, "x.Element0") > 0.9
    assert math.isnan(score(reading, "y.Confidence"))
    assert dict(reading.features[1].bins)["NaN"] == 60


@pytest.mark.parametrize(("per_second", "share"), [(1, 1.0), (2, 0.9), (100, 0.02), (5000, 0.0004)])
def test_about_two_requests_a_second_are_measured_and_all_where_there_are_fewer(
    per_second: float, share: float
) -> None:
    clock = Clock()
    sampler = Sampler(clock, 0.5)
    count = max(400, int(per_second * 100))
    taken = 0
    for _ in range(count):
        clock.time += 1 / per_second
        taken += sampler.takes()
    assert taken == pytest.approx(count * share, rel=0.35)


def test_after_a_quiet_time_a_burst_is_measured_no_more_often() -> None:
    clock = Clock()
    sampler = Sampler(clock, 0.5)
    taken = 0
    for _ in range(100):
        clock.time += 3600
        for _ in range(1000):
            clock.time += 0.001
            taken += sampler.takes()
    assert taken <= 600


def test_requests_that_alternate_are_measured_alike() -> None:
    clock = Clock()
    sampler = Sampler(clock, 0.5)
    even = []
    for number in range(20_000):
        clock.time += 0.05
        if sampler.takes():
            even.append(number % 2 == 0)
    assert 0.45 < sum(even) / len(even) < 0.55


@pytest.mark.parametrize(
    "content", [b"", b"{}", b"[" * 70_000, None], ids=["empty", "object", "long", "none"]
)
def test_a_profile_that_cannot_be_used_is_logged_and_the_model_serves_all_the_same(
    content: bytes | None, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "profile.json"
    if content is not None:
        path.write_bytes(content)
    assert load_meter(path, IO) is None
    assert "there will be no drift score" in caplog.text


def test_the_metrics_have_few_series_whatever_the_profile() -> None:
    io = ModelIO(
        inputs=tuple(TensorSpec(name=f"x{i}", dtype=DataType.FP32, shape=(-1, 16)) for i in range(12)),
        outputs=IO.outputs,
    )
    x = {f"x{i}": RANDOM.normal(size=(200, 16)).astype(np.float32) for i in range(12)}
    meter = DriftMeter(make_profile(x, {"y": requests(200)}, io), io, Clock())
    telemetry = Telemetry(agent_version="1")
    identity = Identity(KEY, REVISION_A, "1")
    telemetry.set_drift(identity, meter)
    for _ in range(60):
        meter.count({name: value[:1] for name, value in x.items()}, {"y": requests(1)})
    lines = [
        line for line in telemetry.exposition().decode().splitlines() if line.startswith("edgecanary_drift")
    ]
    assert len(lines) == 10 + 1 + 100
    assert sum(line.startswith("edgecanary_drift_score{") for line in lines) == 10


def test_bins_are_counters_with_their_upper_edges_and_a_revision_takes_its_series_with_it() -> None:
    class Source:
        def read(self) -> DriftReading:
            return DriftReading(
                3, (FeatureReading("x.Mean", math.nan, (("0.5", 2), ("+Inf", 1), ("NaN", 0))),)
            )

    telemetry = Telemetry(agent_version="1")
    identity = Identity(KEY, REVISION_A, "1")
    telemetry.open(identity)
    telemetry.set_drift(identity, Source())
    labels = {"namespace": "plant", "model": "pump", "revision": REVISION_A, "version": "1"}
    value = telemetry.registry.get_sample_value
    assert value("edgecanary_drift_samples", labels) == 3
    assert value("edgecanary_drift_score", {**labels, "feature": "x.Mean"}) is None
    bins = {**labels, "feature": "x.Mean", "bin": "0.5"}
    assert value("edgecanary_drift_observations_total", bins) == 2
    telemetry.close(identity)
    assert value("edgecanary_drift_samples", labels) is None


async def test_a_served_model_with_a_profile_has_a_score_and_without_one_has_none(
    tmp_path: Path, profile: DriftProfile, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drift, "INTERVAL_SECONDS", 1e-9)
    path = tmp_path / "profile.json"
    path.write_text(profile.model_dump_json(by_alias=True, exclude_none=True))
    watched = install(tmp_path, identity_model(), IO)
    watched = type(watched)(**{**vars(watched), "profile_path": path})
    async with running_node() as node:
        await node.server.activate(watched)
        for row in requests(60, shift=4):
            assert (await node.infer(rows(*(float(number) for number in row)))).status == 200
        assert (await node.infer({"inputs": []})).status == 400
        await until_samples(node, 60)
        assert (value(node, "edgecanary_drift_score", feature="x.Element0") or 0) > 0.5
        assert (value(node, "edgecanary_drift_score", feature="y.Confidence") or 0) > 0.5

        await node.server.activate(install(tmp_path, adding_model(1), IO, revision=REVISION_B))
        assert value(node, "edgecanary_drift_samples") is None
        assert value(node, "edgecanary_drift_samples", revision=REVISION_B, version="1.0.b") is None
        assert (await node.infer(rows(1, 2, 3, 4))).status == 200


async def until_samples(node: Node, count: int) -> None:
    async with asyncio.timeout(30):
        while value(node, "edgecanary_drift_samples") != count:
            await asyncio.sleep(0.01)


def value(node: Node, name: str, **more: str) -> float | None:
    labels = {"namespace": "plant", "model": "pump", "revision": REVISION_A, "version": "1.0.a"}
    return node.metric(name, **{**labels, **more})
