"""The agent's metrics."""

import re

from edgecanary.agent.telemetry import Feedback, Identity, Outcome, Role, Telemetry
from tests.unit.agent.modelmaking import KEY, REVISION_A, REVISION_B

A = Identity(KEY, REVISION_A, "1.0.0")
B = Identity(KEY, REVISION_B, "2.0.0")


def samples(telemetry: Telemetry) -> dict[str, float]:
    """Value by name and sorted labels, of the model series only."""
    lines = telemetry.exposition().decode().splitlines()
    found = {}
    for line in lines:
        match = re.fullmatch(r"(edgecanary_\w+)\{(.*)\} (\S+)", line)
        if match and 'namespace="' in match[2]:
            found[f"{match[1]}{{{','.join(sorted(match[2].split(',')))}}}"] = float(match[3])
    return found


def named(name: str, identity: Identity, **more: str) -> str:
    labels = {
        "namespace": "plant",
        "model": "pump",
        "revision": identity.revision,
        "version": identity.version,
    } | more
    pairs = sorted(f'{key}="{value}"' for key, value in labels.items())
    return f"{name}{{{','.join(pairs)}}}"


def test_every_counter_of_a_revision_starts_at_0_before_it_takes_traffic() -> None:
    telemetry = Telemetry(agent_version="1")
    telemetry.open(A)
    found = samples(telemetry)
    for outcome in ("ok", "error"):
        assert found[named("edgecanary_requests_total", A, outcome=outcome)] == 0
    for outcome in ("correct", "incorrect"):
        assert found[named("edgecanary_feedback_total", A, outcome=outcome)] == 0
    assert found[named("edgecanary_request_duration_seconds_count", A)] == 0
    assert found[named("edgecanary_request_duration_seconds_bucket", A, le="+Inf")] == 0


def test_events_are_counted_by_outcome_and_duration() -> None:
    telemetry = Telemetry(agent_version="1")
    telemetry.open(A)
    telemetry.count_request(A, Outcome.OK, 0.004)
    telemetry.count_request(A, Outcome.ERROR, 60)
    telemetry.count_feedback(A, Feedback.INCORRECT)
    found = samples(telemetry)
    assert found[named("edgecanary_requests_total", A, outcome="ok")] == 1
    assert found[named("edgecanary_requests_total", A, outcome="error")] == 1
    assert found[named("edgecanary_feedback_total", A, outcome="incorrect")] == 1
    assert found[named("edgecanary_request_duration_seconds_bucket", A, le="0.0025")] == 0
    assert found[named("edgecanary_request_duration_seconds_bucket", A, le="0.005")] == 1
    assert found[named("edgecanary_request_duration_seconds_bucket", A, le="+Inf")] == 2


def test_opening_again_keeps_what_was_counted() -> None:
    telemetry = Telemetry(agent_version="1")
    telemetry.open(A)
    telemetry.count_request(A, Outcome.OK, 0.1)
    telemetry.open(A)
    assert samples(telemetry)[named("edgecanary_requests_total", A, outcome="ok")] == 1


def test_a_histogram_has_at_most_ten_buckets() -> None:
    telemetry = Telemetry(agent_version="1")
    telemetry.open(A)
    assert sum("duration_seconds_bucket" in name for name in samples(telemetry)) == 10


def test_a_revision_has_one_role_at_a_time() -> None:
    telemetry = Telemetry(agent_version="1")
    telemetry.open(A)
    telemetry.set_role(A, Role.ACTIVE)
    telemetry.set_role(A, Role.PREVIOUS)
    states = {name: value for name, value in samples(telemetry).items() if "model_state" in name}
    assert states == {named("edgecanary_model_state", A, role="previous"): 1}


def test_a_revision_that_leaves_takes_all_its_series_and_no_others() -> None:
    telemetry = Telemetry(agent_version="1")
    for identity in (A, B):
        telemetry.open(identity)
        telemetry.set_role(identity, Role.ACTIVE)
        telemetry.set_memory(identity, 5)
    telemetry.close(A)
    left = samples(telemetry)
    assert left
    assert all(f'revision="{REVISION_B}"' in name for name in left)


def test_an_answer_that_comes_late_brings_no_departed_series_back() -> None:
    telemetry = Telemetry(agent_version="1")
    telemetry.open(A)
    telemetry.close(A)
    telemetry.count_request(A, Outcome.OK, 0.1)
    telemetry.count_feedback(A, Feedback.CORRECT)
    assert samples(telemetry) == {}


def test_the_agent_tells_its_version_and_its_memory() -> None:
    text = Telemetry(agent_version="1.2.3").exposition().decode()
    assert 'edgecanary_agent_info{version="1.2.3"} 1.0' in text
    assert re.search(r"^process_resident_memory_bytes [1-9]", text, re.MULTILINE)


def test_no_metric_carries_a_creation_time() -> None:
    telemetry = Telemetry(agent_version="1")
    telemetry.open(A)
    assert "_created" not in telemetry.exposition().decode()
