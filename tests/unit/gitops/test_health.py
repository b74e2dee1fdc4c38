"""What Argo CD and Flux show of a Rollout or an EdgeModel, in every state that the operator can say."""

import re
from typing import cast

import pytest

from edgecanary.api.fields import JsonObject
from edgecanary.api.rollout_status import RolloutStatus
from edgecanary.rollout.conditions import ReadyStatus, Situation, done
from edgecanary.rollout.waiting import ENDS_WITH
from edgecanary.simulator.fleet import draw_fleet
from edgecanary.simulator.settings import DAY
from edgecanary.simulator.simulation import Simulation
from edgelab.paths import ROOT
from tests.sim.golden_logs import FOLDER
from tests.sim.scenario import Scenario
from tests.sim.scenario import rollout as sim_rollout
from tests.sim.scenarios import SCENARIOS
from tests.unit.docs.pages import code_words, page, section
from tests.unit.gitops.argo_lua import ArgoCD
from tests.unit.gitops.expectations import MODELS, ROLLOUTS
from tests.unit.gitops.kstatus import Kstatus, compute
from tests.unit.gitops.objects import edge_model, rollout_in, served
from tests.unit.rollout.fleet_play import model, rollout

ARGO = ArgoCD()
AGREES = {
    "Healthy": Kstatus.CURRENT,
    "Degraded": Kstatus.FAILED,
    "Progressing": Kstatus.IN_PROGRESS,
    "Suspended": Kstatus.IN_PROGRESS,
}
READY = re.compile(r" (True|False|Unknown) ([A-Z]\w+)$", re.MULTILINE)
STORIES = ("abort-and-retry", "bad-model", "superseded", "returned", "adoption", "no-previous-version")


def model_rows() -> list[tuple[str, str]]:
    """Every reason of an EdgeModel, with what its conditions say, from the guide that is held to the code."""
    text = section(page("docs/guides/models.md"), "What the Ready condition says")
    rows = [line.strip("|").split("|") for line in text.splitlines() if line.startswith("| ")]
    found = [(row[0].strip(), reason) for row in rows for reason in code_words(row[1])]
    assert len(found) > 15
    return found


def model_situation(said: str, reason: str) -> Situation:
    """As the operator says it: what is not Stalled is tried again by itself."""
    if said == "True":
        return done(reason, "all files are as declared")
    stalled = reason if said == "False, Stalled" else None
    ready: ReadyStatus = "Unknown" if said == "Unknown" else "False"
    return Situation(ready, reason, "variants[0].files[0]", reconciling=stalled is None, stalled=stalled)


def test_every_reason_of_a_rollout_has_an_expectation() -> None:
    assert ROLLOUTS.keys() == ENDS_WITH.keys() | {"Promoted"}


@pytest.mark.parametrize("reason", ROLLOUTS)
def test_a_rollout_is_shown_as_its_state_is(reason: str) -> None:
    obj, shown = rollout_in(reason), ROLLOUTS[reason]
    health = ARGO.health(obj)
    assert (health.status, compute(obj)) == (shown.argo, shown.flux)
    ready = conditions(obj)["Ready"]
    assert health.message.startswith(reason)
    assert health.message.endswith(f": {ready['message']}")


def test_a_rolled_back_revision_is_shown_with_its_cause() -> None:
    assert ARGO.health(rollout_in("RolledBack")).message.startswith("RolledBack (Aborted): 2.0.0 (")


@pytest.mark.parametrize(("said", "reason"), model_rows())
def test_a_model_is_shown_as_its_state_is(said: str, reason: str) -> None:
    obj, shown = edge_model(model_situation(said, reason)), MODELS[said]
    health = ARGO.health(obj)
    assert (health.status, compute(obj)) == (shown.argo, shown.flux)
    assert health.message.startswith(f"{reason}: ")


def conditions(obj: JsonObject) -> dict[str, JsonObject]:
    status = cast("JsonObject", obj["status"])
    found = cast("list[JsonObject]", status["conditions"])
    return {str(condition["type"]): condition for condition in found}


def unseen() -> list[JsonObject]:
    """A Rollout and an EdgeModel that nobody has looked at."""
    return [served(rollout()), served(model("1.0.0"))]


@pytest.mark.parametrize("status", [None, {}, {"observedGeneration": -1}, {"observedGeneration": 1}])
@pytest.mark.parametrize("obj", unseen(), ids=["Rollout", "EdgeModel"])
def test_what_the_operator_has_not_seen_is_never_healthy(obj: JsonObject, status: JsonObject | None) -> None:
    seen = {key: value for key, value in obj.items() if key != "status"}
    if status is not None:
        seen["status"] = status
    assert ARGO.health(seen).status == "Progressing"


@pytest.mark.parametrize("reason", ["Promoted", "RolledBack", "AwaitingApproval"])
def test_an_old_status_of_a_changed_rollout_is_progress(reason: str) -> None:
    obj = rollout_in(reason)
    metadata = cast("JsonObject", obj["metadata"])
    changed = {**obj, "metadata": {**metadata, "generation": 17}}
    health = ARGO.health(changed)
    assert (health.status, compute(changed)) == ("Progressing", Kstatus.IN_PROGRESS)
    assert "generation 17 is not planned yet" in health.message


@pytest.mark.parametrize(
    "obj", [rollout_in("RolledBack"), edge_model(done("Verified", ""))], ids=["Rollout", "EdgeModel"]
)
def test_a_deleted_object_is_on_its_way_out(obj: JsonObject) -> None:
    metadata = cast("JsonObject", obj["metadata"])
    leaving = {**obj, "metadata": {**metadata, "deletionTimestamp": "2026-01-05T12:00:00Z"}}
    assert ARGO.health(leaving).status == "Progressing"
    assert compute(leaving) is Kstatus.TERMINATING
    assert compute(None) is Kstatus.NOT_FOUND


def test_a_reason_that_a_newer_operator_brings_is_shown_by_ready_alone() -> None:
    text = str(rollout_in("Baking"))
    assert "Baking" in text
    obj = rollout_in("Baking")
    for condition in conditions(obj).values():
        condition["reason"] = "SomethingNew"
    assert ARGO.health(obj).status == "Progressing"


def test_every_state_in_the_simulators_logs_has_an_expectation() -> None:
    logs = [file.read_text() for file in sorted((ROOT / FOLDER).glob("*.log"))]
    found = {pair for text in logs for pair in READY.findall(text)}
    assert len(found) >= 8
    for ready, reason in found:
        assert MODELS[ready].argo in (ROLLOUTS[reason].argo, "Progressing"), (ready, reason)


@pytest.mark.parametrize("story", [s for s in SCENARIOS if s.name in STORIES], ids=lambda story: story.name)
def test_both_tools_agree_at_every_moment_of_a_story(story: Scenario) -> None:
    """Every status that a whole rollout writes, through promotion, rollback, abort and retry."""
    settings, seen = story.settings, dict[int, RolloutStatus]()
    fleet = draw_fleet(settings, story.seed)
    simulation = Simulation(sim_rollout(**story.spec), fleet, settings, seed=story.seed)
    shown: list[str] = []

    def look() -> None:
        status = simulation.status
        if status.conditions and id(status) not in seen:
            seen[id(status)] = status
            shown.append(agreed(served(simulation.cluster.rollout)))

    simulation.clockwork.watch(look)
    story.script(simulation)
    simulation.run(story.days * DAY)
    assert len(set(shown)) > 1


def agreed(obj: JsonObject) -> str:
    """Argo CD's health, which kstatus confirms."""
    health = ARGO.health(obj)
    assert compute(obj) is AGREES[health.status], (health, obj["status"])
    return health.status
