"""A simulated node goes through the agent's states, and its troubles end as the agent's own rules say."""

from edgecanary.agent.machine import State
from edgecanary.api.edgenode import ModelResult, ModelState
from edgecanary.simulator.settings import Version
from edgecanary.simulator.simulation import Simulation
from tests.sim.scenario import QUIET, Scenario, rollout
from tests.sim.scenario import play as play_scenario

OLD, NEW = Version("1.0.0"), Version("2.0.0")
ONE_STEP = {"steps": [{"name": "all", "percent": 100, "bakeSeconds": 60}]}


def play(new: Version, *, hours: float = 2.0, **spec: object) -> Simulation:
    """One node that runs 1.0.0 gets the new version in one step, without gates."""

    def script(simulation: Simulation) -> None:
        simulation.run_already(OLD)
        simulation.set_model(new)

    given = {"strategy": ONE_STEP, "analysis": None, **spec}
    return play_scenario(Scenario("one", "", script, days=hours / 24, nodes=1, spec=given, trouble=QUIET))  # type: ignore[arg-type]


def test_a_good_version_becomes_active_and_the_one_before_stays_on_the_disk() -> None:
    simulation = play(NEW)
    node = simulation.nodes["node-00"]
    old, new = simulation.revision(OLD), simulation.revision(NEW)
    assert (node.record.active, node.record.previous) == (new, old)
    assert node.disk == {old, new}
    assert node.serving == new


def test_a_version_that_fails_the_probe_is_never_served() -> None:
    simulation = play(Version("2.0.0", probe_fails=1.0))
    assert simulation.revision(Version("2.0.0")) not in simulation.exposed
    assert [entry.verdict.result for entry in simulation.nodes["node-00"].record.rejected] == [
        ModelResult.PROBE_FAILED
    ]


def test_a_version_that_kills_the_process_is_taken_back_after_as_many_crashes_as_the_rollout_tolerates() -> (
    None
):
    simulation = play(Version("2.0.0", crashes=1.0), health={"maxCrashes": 1})
    died = [entry for entry in simulation.journal.entries if "agent dies" in entry.what]
    assert len(died) == 2
    assert simulation.nodes["node-00"].record.active == simulation.revision(OLD)


def test_a_node_without_network_keeps_what_it_has_and_goes_on_downloading_when_it_is_back() -> None:
    def script(simulation: Simulation) -> None:
        simulation.run_already(OLD)
        simulation.set_model(Version("2.0.0", megabytes=500.0))
        simulation.at(60.0, lambda: simulation.take_offline("node-00"))
        simulation.at(3600.0, lambda: simulation.bring_online("node-00"))

    spec = {"strategy": ONE_STEP, "analysis": None}
    half = play_scenario(Scenario("net", "", script, days=0.03, nodes=1, spec=spec))  # type: ignore[arg-type]
    node = half.nodes["node-00"]
    assert (node.record.state, node.serving) == (State.DOWNLOAD, half.revision(OLD))
    half.run(86_400.0)
    assert node.record.outcome.state is ModelState.ACTIVE
    assert node.serving == half.revision(Version("2.0.0"))


def test_the_same_seed_gives_the_same_story_and_another_one_another() -> None:
    def tell(seed: int) -> str:
        def script(simulation: Simulation) -> None:
            simulation.run_already(OLD)
            simulation.set_model(NEW)

        return play_scenario(Scenario("seed", "", script, days=0.3), seed=seed).journal.text()

    assert tell(4) == tell(4)
    assert tell(4) != tell(5)


def test_a_simulated_rollout_has_the_identity_that_an_api_server_would_give_it() -> None:
    made = rollout()
    assert made.metadata.uid == ""
    simulation = play(NEW)
    assert simulation.cluster.rollout.metadata.uid
    assert simulation.status.observed_generation == simulation.cluster.rollout.metadata.generation
