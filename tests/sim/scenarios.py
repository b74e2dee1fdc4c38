"""The stories whose logs are kept in `golden`."""

from pydantic import JsonValue

from edgecanary.api.fields import JsonObject
from edgecanary.simulator.settings import DAY, HOUR, Duty, Regression, Traffic, Trouble, Version
from edgecanary.simulator.simulation import Simulation
from tests.sim.scenario import ERRORS, STEPS, Scenario

OLD = Version("1.0.0")
GOOD = Version("2.0.0")
BAD = Version("2.0.0", Regression(times=8.0))
MINUTE = 60.0

COMPARED: JsonObject = {
    **ERRORS,
    "metrics": [
        {
            "name": "errors",
            "preset": "ErrorRate",
            "comparison": {"method": "NegativeBinomial", "detectRatio": "3", "warmupSeconds": 300},
        }
    ],
}
"""The comparison of canary with stable nodes in place of a threshold."""


def release(simulation: Simulation, version: Version, *, at: float = MINUTE) -> None:
    """A person sets the EdgeModel to the version at a moment."""
    simulation.at(at, lambda: simulation.set_model(version))


def _good(sim: Simulation) -> None:
    sim.run_already(OLD)
    release(sim, GOOD)


def _bad(sim: Simulation) -> None:
    sim.run_already(OLD)
    release(sim, BAD)


def _late(sim: Simulation) -> None:
    sim.run_already(OLD)
    release(sim, Version("2.0.0", Regression(times=8.0, from_seconds=16 * HOUR)))


def _half_offline(sim: Simulation) -> None:
    sim.run_already(OLD)
    for number, name in enumerate(sorted(sim.nodes)):
        if number % 2:
            sim.at(30.0, lambda name=name: sim.take_offline(name))  # type: ignore[misc]
            sim.at(20 * HOUR, lambda name=name: sim.bring_online(name))  # type: ignore[misc]
    release(sim, GOOD)


def _download_failures(sim: Simulation) -> None:
    sim.run_already(OLD)
    release(sim, Version("2.0.0", undownloadable=0.3))
    sim.at(30 * HOUR, lambda: sim.set_model(Version("2.0.1")))


def _superseded(sim: Simulation) -> None:
    sim.run_already(OLD)
    release(sim, GOOD)
    release(sim, Version("3.0.0"), at=3 * HOUR)


def _abort_and_retry(sim: Simulation) -> None:
    sim.run_already(OLD)
    release(sim, GOOD)
    sim.at(2 * HOUR, lambda: sim.annotate("abort", "monday"))
    sim.at(5 * HOUR, lambda: sim.edit("steps", strategy=STEPS))
    sim.at(6 * HOUR, lambda: sim.annotate("retry", "once-more"))


def _windows(sim: Simulation) -> None:
    sim.run_already(OLD)
    release(sim, GOOD, at=6 * HOUR)


def _operator_down(sim: Simulation) -> None:
    sim.run_already(OLD)
    release(sim, Version("2.0.0", Regression(times=25.0)))
    sim.at(20 * MINUTE, sim.stop_operator)
    sim.at(20 * MINUTE + DAY, sim.start_operator)


def _operator_dies(sim: Simulation) -> None:
    sim.run_already(OLD)
    release(sim, GOOD)

    def die_at_the_next_release() -> None:
        sim.operator.dies_after_release = True

    for hour in (0, 2):
        sim.at(hour * HOUR + 30, die_at_the_next_release)
        sim.at((hour + 1) * HOUR + 45 * MINUTE, sim.start_operator)


def _while_downloading(sim: Simulation) -> None:
    sim.run_already(OLD)
    release(sim, Version("2.0.0", megabytes=2000.0))
    sim.at(90 * MINUTE, lambda: sim.annotate("abort", "too-big"))


def _no_previous(sim: Simulation) -> None:
    release(sim, Version("1.0.0", probe_fails=0.5))


def _returned(sim: Simulation) -> None:
    sim.run_already(OLD)
    release(sim, GOOD)
    release(sim, OLD, at=DAY)


def _adoption(sim: Simulation) -> None:
    sim.run_already(OLD, released=False)
    release(sim, GOOD, at=4 * HOUR)


def _crashes(sim: Simulation) -> None:
    sim.run_already(OLD)
    release(sim, Version("2.0.0", crashes=1.0))


def _nodes_come_and_go(sim: Simulation) -> None:
    sim.run_already(OLD)
    release(sim, GOOD)
    names = sorted(sim.nodes)
    sim.at(90 * MINUTE, lambda: sim.leave(names[0]))
    sim.at(100 * MINUTE, lambda: sim.relabel(names[1], hardware="neon"))
    sim.at(110 * MINUTE, lambda: sim.join(sim.newcomer("node-new", hardware="vnni")))
    sim.at(120 * MINUTE, lambda: sim.join(sim.newcomer(names[2], hardware="generic")))
    sim.at(130 * MINUTE, lambda: sim.crash(names[3]))
    sim.at(140 * MINUTE, lambda: sim.take_offline(names[4], power=True))
    sim.at(180 * MINUTE, lambda: sim.bring_online(names[4]))


def _three_weeks(sim: Simulation) -> None:
    sim.run_already(OLD)
    release(sim, GOOD, at=9 * HOUR)
    release(sim, Version("3.0.0", Regression(times=6.0, on=("hardware", "neon"))), at=5 * DAY)
    sim.at(8 * DAY, lambda: sim.set_prometheus(down=True))
    release(sim, Version("3.0.1"), at=8 * DAY + HOUR)
    sim.at(8 * DAY + 12 * HOUR, lambda: sim.set_prometheus(down=False))
    sim.at(12 * DAY, sim.stop_operator)
    sim.at(13 * DAY, sim.start_operator)
    release(sim, Version("4.0.0", Regression(times=6.0, from_seconds=30 * HOUR)), at=14 * DAY)
    sim.at(17 * DAY, lambda: sim.annotate("retry", "we-are-sure"))


LENIENT: JsonObject = {"health": {"maxErrorPercent": 50}}
"""Nodes leave it to the gates to find errors."""

MUCH = Traffic(requests_per_hour=3000.0)
LONG: JsonObject = {
    **STEPS,
    "steps": [
        {"name": "first", "nodes": 1, "bakeSeconds": 3600},
        {"name": "quarter", "percent": 25, "bakeSeconds": 86400},
        {"name": "all", "percent": 100, "bakeSeconds": 7200},
    ],
    "stepDeadlineSeconds": 172_800,
}
WEEKS: JsonObject = {
    **STEPS,
    "maxFailedNodes": 5,
    "stepDeadlineSeconds": 345_600,
    "steps": [
        {"name": "first", "nodes": 3, "bakeSeconds": 14_400},
        {"name": "tenth", "percent": 10, "bakeSeconds": 43_200},
        {"name": "half", "percent": 50, "bakeSeconds": 86_400},
        {"name": "all", "percent": 100, "bakeSeconds": 43_200},
    ],
}
NIGHTS: list[JsonValue] = [{"schedule": "0 2 * * *", "durationSeconds": 7200, "timeZone": "Europe/Berlin"}]

SCENARIOS = (
    Scenario("good-model", "A good model goes through all steps.", _good, days=1),
    Scenario(
        "bad-model",
        "A model with 8 times the errors is taken back by the comparison with the stable nodes.",
        _bad,
        spec={"analysis": COMPARED, **LENIENT},
        traffic=MUCH,
        days=1,
    ),
    Scenario(
        "late-regression",
        "A model that becomes bad after sixteen hours is taken back from a quarter of the fleet.",
        _late,
        spec={"analysis": {**COMPARED, "intervalSeconds": 900}, "strategy": LONG, **LENIENT},
        traffic=MUCH,
    ),
    Scenario("half-offline", "Every second node is offline for most of a day.", _half_offline),
    Scenario(
        "download-failures",
        "Some nodes cannot fetch the files: no fault of the model, and no quorum.",
        _download_failures,
        spec={"strategy": {**STEPS, "quorumPercent": 100}},
    ),
    Scenario("superseded", "A newer version comes during the second step.", _superseded),
    Scenario("abort-and-retry", "A person aborts, edits and tries again.", _abort_and_retry),
    Scenario(
        "windows",
        "Nodes switch between two and four at night, by their own clocks.",
        _windows,
        spec={"updateWindows": NIGHTS},
        trouble=Trouble(download=0.0, verify=0.0, crash_days=0.0, clock_spread_seconds=120.0),
        days=4,
    ),
    Scenario(
        "operator-down",
        "The operator is down for a day while a bad model is out.",
        _operator_down,
        spec=LENIENT,
    ),
    Scenario("operator-dies", "The operator dies between two writes, twice.", _operator_dies, days=1),
    Scenario(
        "rollback-while-downloading",
        "A rollback reaches nodes that still download.",
        _while_downloading,
        days=1,
    ),
    Scenario(
        "no-previous-version",
        "The first version fails: there is nothing to go back to.",
        _no_previous,
        days=1,
    ),
    Scenario("returned", "The EdgeModel returns to the version before.", _returned),
    Scenario("adoption", "The cluster is rebuilt while the nodes run the model already.", _adoption, days=1),
    Scenario("crash-loop", "A version kills the agent's process on every node.", _crashes, days=1),
    Scenario(
        "nodes-come-and-go",
        "Nodes join, leave, are replaced, relabelled and lose power.",
        _nodes_come_and_go,
        days=1,
    ),
    Scenario(
        "three-weeks",
        "Three weeks of a hundred nodes that come and go, four versions, two outages.",
        _three_weeks,
        days=21,
        nodes=100,
        duty=Duty(online=0.95, away_hours=3.0),
        trouble=Trouble(download=0.03, crash_days=60.0),
        traffic=Traffic(requests_per_hour=120.0),
        spec={"strategy": WEEKS, "analysis": {**COMPARED, "intervalSeconds": 3600}},
    ),
)
