"""Promoting, pausing, taking back and waiting from the command line; the real planner answers."""

import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgecanary.clients.resources import EDGE_MODELS
from edgelab.controlplane import ControlPlane
from tests.kube.cli_lab import NAME, Site, Told, bind, site_on, tell
from tests.unit.rollout.fleet_play import BAD


@pytest.fixture
def site(control_plane: ControlPlane, namespace: str) -> Iterator[Site]:
    """A rollout that bakes in its first step."""
    with site_on(control_plane, namespace) as found:
        found.release("2.0.0")
        found.publish()
        yield found


def ask(site: Site, *words: str, config: Path | None = None) -> Told:
    return tell("rollout", *words, "-n", site.namespace, config=config or site.plane.kubeconfig())


def asking(site: Site, *words: str) -> "Asked":
    """The program in a thread, while the test plays the operator."""
    found = Asked(site, words)
    found.start()
    return found


class Asked(threading.Thread):
    def __init__(self, site: Site, words: tuple[str, ...]) -> None:
        super().__init__(daemon=True)
        self._site, self._words = site, words
        self.told: Told | None = None

    def run(self) -> None:
        self.told = ask(self._site, *self._words)

    def result(self) -> Told:
        self.join(120)
        assert self.told is not None
        return self.told


def annotation(site: Site, key: str) -> str | None:
    return site.stored().metadata.annotations.get(f"edgecanary.dev/{key}")


def test_a_promotion_writes_a_fresh_token_that_the_operator_acts_on(site: Site) -> None:
    told = ask(site, "promote", NAME)
    assert (told.code, told.out) == (0, f"rollout.edgecanary.dev/{NAME} promoted\n")
    token = annotation(site, "promote")
    assert token
    assert not token.startswith("full")
    site.act()
    assert site.stage.status.actions.promote == token
    assert site.stage.step() == "quarter"


def test_who_wrote_the_token_is_kept_by_the_server(site: Site) -> None:
    ask(site, "promote", NAME)
    managers = site.plane.admin.get(site.path_of())["metadata"]["managedFields"]
    assert "kubectl-edgecanary" in {entry["manager"] for entry in managers}


def test_the_same_promotion_twice_is_asked_for_once(site: Site) -> None:
    ask(site, "promote", NAME)
    token = annotation(site, "promote")
    again = ask(site, "promote", NAME)
    assert again.code == 0
    assert f"asked for already by {token}, and not acted on yet" in again.out
    assert annotation(site, "promote") == token


def test_a_full_promotion_has_a_token_that_says_so(site: Site) -> None:
    told = ask(site, "promote", NAME, "--full")
    assert told.code == 0, told.err
    assert str(annotation(site, "promote")).startswith("full-")
    site.act()
    assert site.stage.step() == "all"


def test_an_abort_takes_the_canary_back_and_a_retry_tries_it_again(site: Site) -> None:
    assert ask(site, "abort", NAME).code == 0
    site.act()
    assert site.stage.reason == "RolledBack"
    assert ask(site, "retry", NAME).code == 0
    site.act()
    assert (site.stage.step(), site.stage.status.attempt) == ("first", 2)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("promote",), "NothingToPromote: pump: 2.0.0 (6b4a8ed94694) is rejected"),
        (("abort",), "NothingToAbort: pump: nothing is being rolled out, so there is nothing to abort"),
    ],
)
def test_what_means_nothing_is_refused_and_writes_nothing(
    site: Site, words: tuple[str, ...], said: str
) -> None:
    site.stage.accuracy = BAD
    site.stage.play(60)
    site.publish_status()
    before = site.stored().metadata.resource_version
    told = ask(site, *words, NAME)
    assert told.code == 6
    assert said in told.err
    assert site.stored().metadata.resource_version == before


def test_pause_and_resume_change_the_spec_once(site: Site) -> None:
    told = ask(site, "pause", NAME)
    assert (told.code, told.out) == (0, f"rollout.edgecanary.dev/{NAME} paused\n")
    assert site.stored().spec.paused is True
    version = site.stored().metadata.resource_version
    assert "is paused already" in ask(site, "pause", NAME).out
    assert site.stored().metadata.resource_version == version
    assert ask(site, "resume", NAME).code == 0
    assert site.stored().spec.paused is False
    assert "is not paused" in ask(site, "resume", NAME).out


def test_a_pause_against_git_is_told(site: Site) -> None:
    mark = {"metadata": {"annotations": {"argocd.argoproj.io/tracking-id": "plant:x"}}}
    site.plane.admin.patch(site.path_of(), mark)
    told = ask(site, "pause", NAME)
    assert told.code == 0
    assert told.err == "edgecanary: Argo CD keeps this Rollout as Git has it: set spec.paused there, too\n"


@pytest.mark.parametrize("how", ["client", "server"])
def test_a_dry_run_writes_nothing_and_shows_what_would_be(site: Site, how: str) -> None:
    told = ask(site, "promote", NAME, f"--dry-run={how}")
    assert (told.code, told.out) == (0, f"rollout.edgecanary.dev/{NAME} promoted ({how} dry run)\n")
    assert annotation(site, "promote") is None
    shown = json.loads(ask(site, "pause", NAME, f"--dry-run={how}", "-o", "json").out)
    assert shown["spec"]["paused"] is True
    assert site.stored().spec.paused is False


def test_others_who_write_meanwhile_are_not_overwritten(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the look and the write another person resumes what was decided on: it is looked at anew."""
    from edgecanary.clients.kube import KubeClient  # noqa: PLC0415

    merge, met = KubeClient.merge, list[bool]()

    def interrupted(*arguments: object, **named: object) -> object:
        if not met:
            met.append(True)
            site.stage.accuracy = BAD
            site.stage.play(60)
            site.publish_status()
        return merge(*arguments, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(KubeClient, "merge", interrupted)
    told = ask(site, "promote", NAME)
    assert told.code == 6, told.out
    assert "NothingToPromote" in told.err
    assert annotation(site, "promote") is None


def test_an_action_waits_for_the_operators_echo(site: Site) -> None:
    asked = asking(site, "promote", NAME, "--wait", "--timeout", "90s")
    while annotation(site, "promote") is None:
        asked.join(0.1)
    site.act()
    told = asked.result()
    assert told.code == 0, told.err
    assert told.out.splitlines()[0] == f"rollout.edgecanary.dev/{NAME} promoted"
    assert told.out.splitlines()[1].startswith("NodesUpdating: step 2/3 quarter")


def test_an_operator_that_does_not_act_is_waited_for_until_the_timeout(site: Site) -> None:
    told = ask(site, "abort", NAME, "--wait", "--timeout", "1s")
    assert told.code == 5
    assert "TimedOut: pump: the operator has not acted on it within 1 s" in told.err
    assert annotation(site, "abort")


def test_a_pause_waits_until_the_operator_has_seen_it(site: Site) -> None:
    asked = asking(site, "pause", NAME, "--wait", "--timeout", "90s")
    while not site.stored().spec.paused:
        asked.join(0.1)
    site.act()
    told = asked.result()
    assert told.code == 0, told.err
    assert "Paused: step 1/3 first: spec.paused is true" in told.out


class TestWait:
    def test_it_ends_at_once_when_it_is_there(self, site: Site) -> None:
        told = ask(site, "wait", NAME, "--for=step=first")
        assert told.code == 0, told.err
        assert told.out.startswith(f"rollout.edgecanary.dev/{NAME}: step=first met: step 1/3 first: Baking")

    def test_it_ends_when_the_rollout_comes_there(self, site: Site) -> None:
        asked = asking(site, "wait", NAME, "--for=promoted", "--timeout=90s")
        site.stage.annotate("promote", "full-1")
        site.stage.play(60)
        assert site.stage.reason == "Promoted"
        site.publish_status()
        told = asked.result()
        assert told.code == 0, told.err
        assert "promoted met: Promoted: 2.0.0 is stable on all 6 nodes" in told.out

    def test_it_ends_with_4_when_it_cannot_come_there_any_more(self, site: Site) -> None:
        asked = asking(site, "wait", NAME, "--for=promoted", "--timeout=90s")
        site.stage.accuracy = BAD
        site.stage.play(60)
        site.publish_status()
        told = asked.result()
        assert told.code == 4
        assert "promoted cannot come any more: RolledBack: 2.0.0" in told.err
        assert ask(site, "wait", NAME, "--for=rolledback", "--timeout=0").code == 0
        assert ask(site, "wait", NAME, "--for=condition=Stalled").code == 0

    def test_it_ends_with_5_when_the_time_is_over(self, site: Site) -> None:
        told = ask(site, "wait", NAME, "--for=promoted", "--timeout=1s")
        assert told.code == 5
        assert "promoted not met within 1 s: Baking: step 1/3 first" in told.err

    def test_a_revision_that_the_operator_has_not_taken_up_yet_is_waited_for(self, site: Site) -> None:
        site.stage.annotate("promote", "full-1")
        site.stage.play(60)
        site.publish()
        assert ask(site, "wait", NAME, "--for=promoted", "--timeout=0").code == 0
        status = {"revision": "f" * 64, "observedGeneration": site.generation(EDGE_MODELS)}
        site.plane.admin.patch(site.path(EDGE_MODELS, NAME, "status"), {"status": status})
        told = ask(site, "wait", NAME, "--for=promoted", "--timeout=0")
        assert told.code == 5
        assert "has not taken up" in told.err

    def test_what_cannot_be_waited_for_is_wrong_usage(self, site: Site) -> None:
        assert ask(site, "wait", NAME, "--for=joy").code == 2
        told = ask(site, "wait", NAME, "--for=step=third")
        assert told.code == 2
        assert "must be a step of the Rollout (first, quarter, all), got 'third'" in told.err
        assert ask(site, "wait", NAME, "--for=promoted", "--timeout=soon").code == 2

    def test_a_rollout_that_is_deleted_meanwhile_is_told(self, site: Site) -> None:
        asked = asking(site, "wait", NAME, "--for=promoted", "--timeout=90s")
        asked.join(1)
        site.plane.admin.delete(site.path_of())
        told = asked.result()
        assert told.code == 3
        assert "RolloutDeleted" in told.err


class TestWhoMay:
    def test_a_viewer_is_told_which_role_to_ask_for(self, site: Site, operator_roles: None) -> None:
        user = f"viewer-{site.namespace}"
        bind(site.plane, user, "edgecanary-view", namespace=site.namespace)
        told = ask(site, "promote", NAME, config=site.plane.kubeconfig(user, ()))
        assert told.code == 1
        assert 'resources: ["rollouts"], verbs: ["patch"]' in told.err
        assert told.err.endswith("ask for the ClusterRole edgecanary-edit\n")

    def test_an_editor_with_the_shipped_roles_may_do_everything(
        self, site: Site, operator_roles: None
    ) -> None:
        user = f"editor-{site.namespace}"
        for role in ("edgecanary-view", "edgecanary-edit"):
            bind(site.plane, user, role, namespace=site.namespace)
        config = site.plane.kubeconfig(user, ())
        for words in (("list",), ("history", NAME), ("pause", NAME), ("resume", NAME), ("promote", NAME)):
            assert ask(site, *words, config=config).code == 0, words
        told = ask(site, "wait", NAME, "--for=promoted", "--timeout=0", config=config)
        assert told.code == 5, told.err

    def test_a_person_may_act_as_another(self, site: Site, operator_roles: None) -> None:
        told = ask(site, "promote", NAME, "--as", "somebody", "--as-group", "g1", "--as-group", "g2")
        assert told.code == 1
        assert 'User "somebody" cannot get resource "rollouts"' in told.err
        assert ask(site, "list", "--as", "somebody", "--as-group", "system:masters").code == 0
