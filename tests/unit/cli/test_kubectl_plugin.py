"""How the plugin reads its arguments, durations, and what completion offers without a cluster."""

import argparse

import pytest

from edgecanary.cli.complete import FILES_TOO, ONLY_THESE, candidates
from edgecanary.cli.kubectl_flags import duration
from edgecanary.cli.kubectl_plugin import _ACTIONS, arranged
from edgecanary.cli.main import KUBECTL
from edgecanary.cli.rollout import ACTIONS


@pytest.mark.parametrize(
    ("given", "read"),
    [
        ("promote pump", "rollout promote pump"),
        ("rollout promote pump", "rollout promote pump"),
        ("node list", "node list"),
        ("-n plant promote pump", "rollout promote -n plant pump"),
        ("--context=east -n plant node get edge-1", "node get --context=east -n plant edge-1"),
        ("version --client", "version --client"),
        ("--help", "--help"),
        ("", ""),
    ],
)
def test_actions_stand_alone_and_flags_may_come_first(given: str, read: str) -> None:
    assert arranged(given.split()) == read.split()


def test_every_action_of_rollout_stands_alone() -> None:
    assert set(_ACTIONS) == set(ACTIONS)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90", 90),
        ("90s", 90),
        ("10m", 600),
        ("1h30m", 5400),
        ("1.5h", 5400),
        ("0", 0),
        ("-1s", -1),
        ("-1", -1),
    ],
)
def test_a_time_is_read_as_kubectl_reads_it(text: str, seconds: float) -> None:
    assert duration(text) == seconds


@pytest.mark.parametrize("text", ["", "-", "soon", "5x", "m", "1h2", "500ms", "1..5s"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="must be a time such as"):
        duration(text)


def offered(*words: str, program: str = "edgecanary") -> list[str]:
    return [value for value, _ in candidates(words, program)[0]]


def test_commands_actions_flags_and_choices_are_offered() -> None:
    assert offered("ro") == ["rollout"]
    assert offered("rollout", "re") == ["resume", "retry"]
    assert "--selector" in offered("rollout", "list", "--")
    assert offered("rollout", "list", "-o", "") == ["table", "wide", "json", "yaml", "name"]
    assert offered("rollout", "list", "--output=j") == ["--output=json"]
    assert offered("completion", "") == ["bash", "fish", "zsh"]


def test_a_flag_that_was_given_is_not_offered_again() -> None:
    assert "--context" not in offered("rollout", "list", "--context", "east", "--")


def test_under_kubectl_actions_are_offered_first() -> None:
    found = offered("", program=KUBECTL)
    assert set(ACTIONS) < set(found)
    assert {"node", "version"} < set(found)


def test_where_a_file_is_meant_the_shell_offers_files() -> None:
    assert candidates(("rollout", "plan", "-f", ""), "edgecanary") == ([], FILES_TOO)
    assert candidates(("rollout", "plan", "--nodes", ""), "edgecanary")[1] == FILES_TOO


def test_where_nothing_can_follow_nothing_is_offered() -> None:
    assert candidates(("completion", "bash", ""), "edgecanary") == ([], ONLY_THESE)
