"""What the operator shows of each Rollout: right numbers, few labels, nothing of what is gone."""

import asyncio
import itertools
from datetime import UTC, datetime, timedelta

import pytest
from prometheus_client.parser import text_string_to_metric_families

from edgecanary.api.edgemodel import EdgeModel
from edgecanary.api.fields import JsonObject
from edgecanary.api.rollout_status import NodeCounts
from edgecanary.base.clock import SystemClock
from edgecanary.controller.cache import Cache, Scope
from edgecanary.controller.metrics import OperatorMetrics
from edgecanary.controller.series import PHASES, Shown, node_states, oldest_unanswered
from edgecanary.controller.views import ObjectKey, read_model, read_rollout
from edgecanary.controller.vitals import Vitals
from tests.unit.controller import objects
from tests.unit.controller.test_vitals import Watch
from tests.unit.docs.pages import code_words, column, manifests, page, section
from tests.unit.monitoring.exposed import rolling
from tests.unit.signing import CI, sealed

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
PUMP = ObjectKey("plant", "pump")


def shown(cache: Cache) -> dict[str, float]:
    """Every series about the cache's objects, spelt as in the text format."""
    metrics = OperatorMetrics()
    metrics.show(Shown(NOW, cache.sight()))
    return {
        f"{sample.name}{dict(sorted(sample.labels.items()))}": sample.value
        for family in text_string_to_metric_families(metrics.render().decode())
        for sample in family.samples
        if sample.name.startswith(("edgecanary_rollout_", "edgecanary_model_"))
    }


def series(name: str, **labels: str) -> str:
    return f"{name}{dict(sorted({'namespace': 'plant', 'rollout': 'pump', **labels}.items()))}"


def observe(cache: Cache, kind: int, body: JsonObject, event: str = "ADDED") -> None:
    cache.parts[kind].observe(event, body)


MODELS, ROLLOUTS = 2, 4


@pytest.fixture
def cache() -> Cache:
    made = Cache(Scope("edgecanary-system"))
    observe(made, ROLLOUTS, objects.rollout("pump", 5, reason="Baking", status=rolling()))
    return made


def test_a_rollout_is_in_one_phase(cache: Cache) -> None:
    found = {name: value for name, value in shown(cache).items() if "edgecanary_rollout_phase" in name}
    assert sum(found.values()) == 1
    assert found[series("edgecanary_rollout_phase", phase="Progressing")] == 1


def test_its_nodes_count_once_each(cache: Cache) -> None:
    found = shown(cache)
    states = {name: value for name, value in found.items() if name.startswith("edgecanary_rollout_nodes{")}
    assert sum(states.values()) == 20 + 2
    expected = {"updated": 5, "failed": 1, "pending": 3, "offline": 1, "later": 10, "incompatible": 2}
    for state, number in expected.items():
        assert found[series("edgecanary_rollout_nodes", state=state)] == number
    assert found[series("edgecanary_rollout_node_failures", kind="download")] == 2


def test_its_gates_say_one_thing_each(cache: Cache) -> None:
    found = shown(cache)
    for gate, verdict in {"errors": "Pass", "accuracy": "Inconclusive", "heat": "Fail"}.items():
        for other in ("Pass", "Inconclusive", "Fail"):
            name = series("edgecanary_rollout_gate_verdict", gate=gate, verdict=other)
            assert found[name] == (other == verdict)
    assert found[series("edgecanary_rollout_gate_looks_without_value", gate="accuracy", cause="no_data")] == 4
    assert found[series("edgecanary_rollout_gate_looks_without_value", gate="heat", cause="error")] == 2


def test_its_times_are_unix_times(cache: Cache) -> None:
    found = shown(cache)
    assert (
        found[series("edgecanary_rollout_step_start_timestamp_seconds")]
        == (NOW - timedelta(hours=1)).timestamp()
    )
    baking = (NOW - timedelta(minutes=55)).timestamp()
    assert found[series("edgecanary_rollout_bake_start_timestamp_seconds")] == baking
    assert found[series("edgecanary_rollout_waiting_since_timestamp_seconds", reason="Baking")] == baking


def test_no_series_is_about_a_node_and_their_number_is_what_the_guide_says(cache: Cache) -> None:
    for number in range(500):
        observe(cache, 0, objects.node(f"n{number}", number + 1))
    found = shown(cache)
    assert not any("'node'" in name for name in found)
    assert f"There are {len(found)} series for a Rollout with three gates" in page(
        "docs/guides/monitoring.md"
    )


def test_gates_and_times_of_a_step_end_with_it(cache: Cache) -> None:
    over = {key: value for key, value in rolling().items() if key != "step"}
    observe(cache, ROLLOUTS, objects.rollout("pump", 6, reason="Promoted", status=over), "MODIFIED")
    found = shown(cache)
    assert not any("gate" in name or "step" in name or "bake" in name for name in found)
    assert found[series("edgecanary_rollout_phase", phase="Promoted")] == 1


def test_nothing_is_left_of_a_rollout_that_was_deleted(cache: Cache) -> None:
    assert shown(cache)
    observe(cache, ROLLOUTS, objects.rollout("pump", 9), "DELETED")
    assert shown(cache) == {}


async def test_a_scrape_shows_the_cache_as_it_is_then(cache: Cache) -> None:
    loop = asyncio.get_running_loop()
    vitals = Vitals(loop, cache, OperatorMetrics(), (), Watch(), clock=SystemClock())
    before = await asyncio.to_thread(vitals.render_metrics)
    assert b'edgecanary_rollout_info{canary="2.4.0",model="pump",namespace="plant"' in before
    observe(cache, ROLLOUTS, objects.rollout("pump", 9), "DELETED")
    after = await asyncio.to_thread(vitals.render_metrics)
    assert b'rollout="pump"' not in after


def test_every_reason_of_the_ready_condition_has_a_phase() -> None:
    text = section(page("docs/guides/rollouts.md"), "What the Ready condition says").split(
        "With `RolledBack`"
    )[0]
    assert set(code_words(" ".join(column(text, 1)))) == set(PHASES) - {""}


@pytest.mark.parametrize("rolling", [True, False])
def test_states_of_nodes_always_add_up(rolling: bool) -> None:
    for targeted, step, updated, failed, pending in itertools.product(range(4), repeat=5):
        inside = step if rolling else targeted
        if step > targeted or updated + failed + pending > inside or (pending and not rolling):
            continue
        counts = NodeCounts(
            targeted=targeted, in_step=step, updated=updated, failed=failed, pending=pending, incompatible=1
        )
        states = node_states(counts, rolling=rolling)
        assert sum(states.values()) == targeted + 1
        assert min(states.values()) >= 0


def test_nodes_that_follow_after_a_promotion_are_stragglers() -> None:
    states = node_states(NodeCounts(targeted=10, updated=8, failed=1, offline=1), rolling=False)
    assert (states["updated"], states["failed"], states["straggling"], states["later"]) == (8, 1, 1, 0)


def unanswered(*steps: JsonObject) -> float:
    rollouts = {
        ObjectKey("plant", str(number)): read_rollout(objects.rollout("r", 1, status={"step": step}))
        for number, step in enumerate(steps)
    }
    return oldest_unanswered(rollouts, NOW)


def test_the_oldest_step_without_its_quorum_is_the_unanswered_one() -> None:
    baking: JsonObject = {"startTime": "2026-01-01T09:00:00Z", "bakeStartTime": "2026-01-01T09:10:00Z"}
    assert (
        unanswered(baking, {"startTime": "2026-01-01T11:00:00Z"}, {"startTime": "2026-01-01T11:59:00Z"})
        == 3600
    )
    assert unanswered(baking) == 0
    assert unanswered() == 0


def test_a_clock_that_was_set_back_gives_no_negative_age() -> None:
    assert unanswered({"startTime": "2026-01-01T13:00:00Z"}) == 0


@pytest.mark.parametrize("signature", ["", "{}", "nonsense", '{"payload": "!", "signatures": []}'])
def test_a_signature_that_cannot_be_read_has_no_end(signature: str) -> None:
    body: JsonObject = {"metadata": {"name": "m", "resourceVersion": "1"}, "spec": {"signature": signature}}
    assert read_model(body).expires is None


def test_a_signed_model_shows_when_its_statement_ends(cache: Cache) -> None:
    (manifest,) = manifests("docs/guides/models.md")
    model = EdgeModel.model_validate(manifest)
    expires = datetime(2027, 5, 1, tzinfo=UTC)
    envelope = sealed(model.spec, expires=expires).signed_by(CI)
    signed = model.spec.model_copy(update={"signature": envelope.to_text()}).to_json()
    observe(cache, MODELS, {**objects.plain("pump", 7), "spec": signed})
    name = "edgecanary_model_signature_expiry_timestamp_seconds{'model': 'pump', 'namespace': 'plant'}"
    assert shown(cache)[name] == expires.timestamp()
    observe(cache, MODELS, objects.plain("pump", 8), "DELETED")
    assert name not in shown(cache)
