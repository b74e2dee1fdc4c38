"""The guide shows what the commands print, and names every warning and exit code."""

from pathlib import Path

from edgecanary.cli.exits import Exit
from edgecanary.cli.rollout import ACTIONS
from edgecanary.rollout.goals import GoalKind
from tests.unit.docs.pages import blocks, code_words, column, page, section
from tests.unit.docs.sources import literals

ROLLOUTS = "docs/guides/rollouts.md"
PLUGIN = "docs/guides/kubectl-plugin.md"
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


def test_the_guides_have_the_exit_codes() -> None:
    of_questions = {int(code) for code in column(section(page(ROLLOUTS), "Asking why"), 0)}
    assert of_questions == {0, 1, Exit.WRONG_INPUT, Exit.NOT_FOUND, Exit.WAITS, Exit.STALLED}
    assert [int(code) for code in column(section(page(PLUGIN), "Exit codes"), 0)] == [*Exit]


def test_what_the_guide_to_the_plugin_shows_is_what_it_prints() -> None:
    shown = blocks(section(page(PLUGIN), "Look"), "text")
    golden = [(GOLDEN / f"{name}.txt").read_text() for name in ("picture-baking", "history", "nodes")]
    assert shown == golden


def test_the_guide_to_the_plugin_names_every_action_and_goal() -> None:
    text = page(PLUGIN)
    for action in ACTIONS:
        assert f"kubectl edgecanary {action} " in text or f"`{action} NAME" in text, action
    goals = {word.split("=")[0] for word in code_words(" ".join(column(section(text, "Wait"), 0)))} - {
        "--for"
    }
    assert goals == set(GoalKind)
