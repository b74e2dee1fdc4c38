"""What `edgecanary rollout get` and `watch` show: read once by eye, and kept to the letter."""

from dataclasses import replace

import pytest

from edgecanary.cli.rollout_picture import Fleet, Manner, draw, picture
from edgecanary.cli.screen import LETTERS, Style, plain
from tests.unit.cli.golden_text import assert_golden
from tests.unit.cli.scenes import SCENES, baking, promoted, rolled_back, scene
from tests.unit.rollout.standing import rolled_back as stands_rolled_back


@pytest.mark.parametrize("name", SCENES)
def test_a_rollout_in_each_situation(name: str) -> None:
    reason, make = SCENES[name]
    stage = make()
    assert stage.reason == reason, stage.message
    found = scene(stage)
    assert_golden(f"picture-{name}", plain(draw(found.picture, Manner(found.now))))


def test_what_each_gate_rests_on_is_shown_when_wide() -> None:
    found = picture(stands_rolled_back())
    assert_golden("picture-wide", plain(draw(found, Manner(wide=True))))


def test_without_a_clock_the_same_state_gives_the_same_lines() -> None:
    stage = baking()
    found = scene(stage)
    once = plain(draw(found.picture, Manner()))
    assert "ago" not in once
    assert "left" not in once
    assert "until 2026-01-05T" in once


def test_a_terminal_without_the_symbols_gets_letters() -> None:
    text = plain(draw(scene(rolled_back()).picture, Manner(signs=LETTERS)))
    assert text.isascii()
    assert "x  canary" in text


def test_what_could_not_be_asked_is_a_note() -> None:
    found = scene(baking()).picture
    text = plain(draw(replace(found, fleet=Fleet(notes=("the nodes may not be read",))), Manner()))
    assert "Note       the nodes may not be read" in text
    assert "STRATUM" not in text


def test_what_is_bad_is_red_and_what_is_done_is_green() -> None:
    spans = [span for line in draw(scene(rolled_back()).picture, Manner()) for span in line]
    assert {span.text.strip() for span in spans if span.style is Style.BAD} >= {"✖ RolledBack", "✖", "Fail"}
    spans = [span for line in draw(scene(promoted()).picture, Manner()) for span in line]
    assert "✔ StragglersPending" in {span.text for span in spans if span.style is Style.GOOD}


def test_many_strata_are_summed_up() -> None:
    found = scene(baking()).picture
    cohorts = found.fleet.cohorts
    assert cohorts is not None
    many = Fleet(tuple(cohorts[0].model_copy(update={"stratum": {"site": f"s{i}"}}) for i in range(30)))
    lines = plain(draw(replace(found, fleet=many), Manner())).splitlines()
    assert sum(line.startswith("site=") for line in lines) == 24
    assert any(line.startswith("6 more ") for line in lines)
