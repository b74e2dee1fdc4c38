"""The stories' logs are as they lie in `golden`, and the invariants hold in any order of events."""

import pytest

from edgelab.paths import ROOT
from tests.sim.golden_logs import FOLDER, GUIDE, guide, path_of
from tests.sim.scenario import Scenario, log, play
from tests.sim.scenarios import SCENARIOS

QUICK = [scenario for scenario in SCENARIOS if scenario.nodes <= 12]
SEEDS = (2, 3)


@pytest.mark.parametrize("shuffle", [False, True], ids=["in-order", "shuffled"])
@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_a_story_goes_as_its_log_says(scenario: Scenario, shuffle: bool) -> None:
    assert log(scenario, shuffle=shuffle) == (ROOT / path_of(scenario, shuffle=shuffle)).read_text()


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("scenario", QUICK, ids=lambda scenario: scenario.name)
def test_the_invariants_hold_on_other_fleets_and_in_other_orders(scenario: Scenario, seed: int) -> None:
    assert play(scenario, shuffle=True, seed=seed).operator.looks > 2


def test_every_log_belongs_to_a_story() -> None:
    found = {path.relative_to(ROOT) for path in (ROOT / FOLDER).glob("*.log")}
    assert found == {
        path_of(scenario, shuffle=shuffle) for scenario in SCENARIOS for shuffle in (False, True)
    }


def test_the_guide_shows_what_its_command_prints() -> None:
    assert guide() == (ROOT / GUIDE).read_text()
