"""Where the stories' logs lie, and what they must hold."""

from pathlib import Path

from tests.sim.scenario import Scenario, log
from tests.sim.scenarios import SCENARIOS

FOLDER = Path("tests/sim/golden")


def path_of(scenario: Scenario, *, shuffle: bool) -> Path:
    """The log's path from the checkout's root."""
    return FOLDER / f"{scenario.name}{'.shuffled' if shuffle else ''}.log"


def golden_logs() -> dict[Path, str]:
    """Every log with what it must hold: each story in order and in a random order."""
    return {
        path_of(scenario, shuffle=shuffle): log(scenario, shuffle=shuffle)
        for scenario in SCENARIOS
        for shuffle in (False, True)
    }
