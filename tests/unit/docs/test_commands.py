"""The guide shows what the commands print, and names every warning and exit code."""

import re
from pathlib import Path

from edgecanary.cli import rollout
from tests.unit.docs.pages import blocks, code_words, column, page, section
from tests.unit.docs.sources import literals

ROLLOUTS = "docs/guides/rollouts.md"
GOLDEN = Path(__file__).parents[1] / "cli" / "golden"


def test_what_the_guide_shows_of_why_is_what_it_prints() -> None:
    (shown,) = blocks(section(page(ROLLOUTS), "Asking why"), "text")
    assert shown in (GOLDEN / "why-rolled-back.txt").read_text()


def test_what_the_guide_shows_of_plan_is_what_it_prints() -> None:
    shown = blocks(section(page(ROLLOUTS), "Planning"), "text")
    assert len(shown) == 2
    for block in shown:
        assert block in (GOLDEN / "plan-table.txt").read_text()


def test_the_guide_explains_every_warning_of_a_plan() -> None:
    found = {
        literal.value
        for literal in literals("rollout/forecast_warnings.py")
        if literal.call == "Caution" and literal.keyword == "reason"
    }
    assert found
    assert set(code_words(" ".join(column(section(page(ROLLOUTS), "Planning"), 0)))) == found


def test_the_guide_has_the_exit_codes() -> None:
    listed = {int(code) for code in column(section(page(ROLLOUTS), "Asking why"), 0)}
    named = {value for name, value in vars(rollout).items() if re.match(r"EXIT_", name)}
    assert listed == {0, 1} | named
