"""Argo CD and Flux beside the real operator: health, actions and differences through whole rollouts."""

import json
from typing import cast

import pytest

from edgecanary.api.fields import JsonObject
from edgecanary.clients.resources import EDGE_MODELS, ROLLOUTS
from edgelab.modelzoo import ZooModel
from edgelab.s3 import S3Server
from tests.kube.gitops_site import Site, commit, site_in
from tests.kube.operator_lab import Fleet, OperatorLab, until
from tests.unit.gitops.kstatus import Kstatus, by_expressions, compute
from tests.unit.gitops.test_examples import flux_expressions

NODES = ("a", "b", "c", "d")
APPLY = pytest.mark.parametrize("server_side", [True, False], ids=["server-side", "client-side"])


def opened(lab: OperatorLab, s3: S3Server, bucket: str, model: ZooModel, *, server_side: bool) -> Site:
    """The site, synced for the first time."""
    lab.add_nodes(*NODES)
    site = site_in(lab, lab.upload(s3, bucket, model), server_side=server_side)
    site.sync()
    return site


def promoted(lab: OperatorLab, s3: S3Server, bucket: str, model: ZooModel, *, server_side: bool) -> Site:
    """The site with its first version on every node, approved by Argo CD's action."""
    site = opened(lab, s3, bucket, model, server_side=server_side)
    Fleet(lab, NODES).obey_until("AwaitingApproval")
    site.act("promote")
    Fleet(lab, NODES).obey_until("Promoted")
    return site


def waiting_with_the_next(site: Site, version: str = "2.5.0", tolerance: str = "0.01") -> Site:
    """A commit with the next version, rolled out up to the step that a person approves."""
    commit(site, version, tolerance)
    site.sync()
    Fleet(site.lab, NODES).obey_until("AwaitingApproval")
    return site


def flux(site: Site) -> tuple[Kstatus, Kstatus]:
    """What kstatus says of the Rollout, and what the example's expressions make of it."""
    live = site.live("Rollout")
    return compute(live), by_expressions(live, flux_expressions())


def actions(site: Site) -> dict[str, str]:
    status = cast("dict[str, dict[str, str]]", site.live("Rollout")["status"])
    return status["actions"]


@APPLY
def test_nothing_that_the_operator_writes_is_a_difference_through_promotion_and_rollback(
    served_lab: OperatorLab, s3: S3Server, bucket: str, tiny: ZooModel, server_side: bool
) -> None:
    site = opened(served_lab, s3, bucket, tiny, server_side=server_side)
    Fleet(served_lab, NODES).obey_until("AwaitingApproval")
    assert (site.health("EdgeModel"), site.health("Rollout")) == ("Healthy", "Suspended")
    assert flux(site) == (Kstatus.IN_PROGRESS, Kstatus.CURRENT)
    assert site.differences() == []
    site.act("promote")
    Fleet(served_lab, NODES).obey_until("Promoted")
    assert site.health("Rollout") == "Healthy"
    assert flux(site) == (Kstatus.CURRENT, Kstatus.CURRENT)
    assert site.differences() == []
    commit(site, "2.5.0", "0.01")
    assert site.differences(), "a commit is a difference until it is synced"
    site.sync()
    Fleet(served_lab, NODES).obey_until("RolledBack", fails=NODES)
    assert site.health("Rollout") == "Degraded"
    assert flux(site) == (Kstatus.FAILED, Kstatus.FAILED)
    assert site.differences() == [], "Synced: Git's version is what the cluster asks for, and is rejected"
    model = cast("dict[str, str]", site.live("EdgeModel")["spec"])
    stable = cast("dict[str, dict[str, str]]", site.live("Rollout")["status"])["stable"]
    assert (model["version"], stable["version"]) == ("2.5.0", "2.4.0")


@APPLY
def test_every_action_is_carried_out_and_neither_a_difference_nor_undone_by_a_sync(
    served_lab: OperatorLab, s3: S3Server, bucket: str, tiny: ZooModel, server_side: bool
) -> None:
    lab, fleet = served_lab, Fleet(served_lab, NODES)
    site = waiting_with_the_next(promoted(lab, s3, bucket, tiny, server_side=server_side))
    first = actions(site)["promote"]
    for action, reason, health in (
        ("pause", "Paused", "Suspended"),
        ("resume", "AwaitingApproval", "Suspended"),
        ("abort", "RolledBack", "Degraded"),
    ):
        site.act(action)
        lab.until_ready(ROLLOUTS, "False" if action == "abort" else "Unknown", reason)
        assert (site.health("Rollout"), site.differences()) == (health, []), action
        site.sync()
        assert lab.ready(ROLLOUTS)[1] == reason, "a sync takes no action back"
    site.act("retry")
    fleet.obey_until("AwaitingApproval")
    assert cast("JsonObject", site.live("Rollout")["status"])["attempt"] == 2
    site.act("promote-full")
    fleet.obey_until("Promoted")
    assert site.differences() == []
    tokens = actions(site)
    assert tokens["promote"].startswith("full-argocd-")
    assert tokens["promote"] != first
    assert all("argocd-" in tokens[action] for action in ("abort", "retry"))


def test_a_token_in_git_acts_and_keeps_argo_cds_own_action_away(
    served_lab: OperatorLab, s3: S3Server, bucket: str, tiny: ZooModel
) -> None:
    """With server-side apply, whose field managers tell what Git declares."""
    site = opened(served_lab, s3, bucket, tiny, server_side=True)
    Fleet(served_lab, NODES).obey_until("AwaitingApproval")
    metadata = cast("JsonObject", site.git["Rollout"]["metadata"])
    metadata["annotations"] = {"edgecanary.dev/promote": "commit-41"}
    site.sync()
    Fleet(served_lab, NODES).obey_until("Promoted")
    assert actions(site)["promote"] == "commit-41"
    waiting_with_the_next(site)
    with pytest.raises(AssertionError, match="promote"):
        site.act("promote")
    metadata["annotations"] = {"edgecanary.dev/promote": "commit-42"}
    site.sync()
    Fleet(served_lab, NODES).obey_until("Promoted")
    assert site.differences() == []


def test_defaults_in_lists_need_the_server_side_comparison_or_the_optional_settings(
    served_lab: OperatorLab, s3: S3Server, bucket: str, tiny: ZooModel
) -> None:
    site = opened(served_lab, s3, bucket, tiny, server_side=False)
    Fleet(served_lab, NODES).obey_until("AwaitingApproval")
    assert not site.in_sync_by_legacy_alone("Rollout"), "the example leaves defaults of steps and metrics out"
    assert site.differences() == []
    steps = cast("dict[str, list[JsonObject]]", cast("JsonObject", site.git["Rollout"]["spec"])["strategy"])
    steps["steps"][2]["approval"] = "Automatic"
    assert "Rollout legacy" in site.differences(), "a change away from another value is still seen"


def test_a_sync_takes_a_pause_back_when_git_has_the_field(
    served_lab: OperatorLab, s3: S3Server, bucket: str, tiny: ZooModel
) -> None:
    site = site_in(served_lab, served_lab.upload(s3, bucket, tiny), server_side=True)
    cast("JsonObject", site.git["Rollout"]["spec"])["paused"] = False
    site.sync()
    served_lab.until_ready(ROLLOUTS, "Unknown", "NoMatchingNodes")
    assert cast("JsonObject", site.act("pause")["spec"])["paused"] is True
    assert "Rollout server-side" in site.differences()
    site.sync()
    assert site.differences() == []
    assert cast("JsonObject", site.live("Rollout")["spec"])["paused"] is False


def test_models_that_cannot_be_used_are_degraded(
    served_lab: OperatorLab, s3: S3Server, bucket: str, tiny: ZooModel
) -> None:
    site = site_in(served_lab, served_lab.upload(s3, bucket, tiny), server_side=True)
    spec = cast("JsonObject", site.git["EdgeModel"]["spec"])
    secret, spec["sourceSecretRef"] = spec["sourceSecretRef"], {"name": "nothing"}
    site.sync()
    served_lab.until_ready(EDGE_MODELS, "False", "SecretNotFound")
    assert (site.health("EdgeModel"), compute(site.live("EdgeModel"))) == ("Degraded", Kstatus.IN_PROGRESS)
    commit(site, "2.4.1", "0.01")
    spec["sourceSecretRef"] = secret
    cast("JsonObject", spec["golden"])["sha256"] = "0" * 64
    site.sync()
    served_lab.until_ready(EDGE_MODELS, "False", "DigestMismatch")
    assert (site.health("EdgeModel"), compute(site.live("EdgeModel"))) == ("Degraded", Kstatus.FAILED)
    until("the Rollout says so", lambda: site.health("Rollout") == "Degraded")


def test_events_are_there_in_the_form_that_tools_read(
    served_lab: OperatorLab, s3: S3Server, bucket: str, tiny: ZooModel
) -> None:
    """kubectl's `--for`, and both APIs for Events, which exporters and notifiers watch."""
    lab = served_lab
    site = promoted(lab, s3, bucket, tiny, server_side=True)
    commit(site, "2.5.0", "0.01")
    site.sync()
    Fleet(lab, NODES).obey_until("RolledBack", fails=NODES)
    wanted = {"RolloutStarted", "BakeStarted", "StepStarted", "AwaitingApproval", "Promoted", "RolledBack"}
    about = "rollouts.edgecanary.dev/pump"
    text = lab.control_plane.kubectl("events", "-n", lab.namespace, "--for", about, "-o", "json")
    told = {event["reason"]: event for event in json.loads(text)["items"]}
    assert wanted <= told.keys()
    assert {reason for reason in wanted if told[reason]["type"] == "Warning"} == {
        "AwaitingApproval",
        "RolledBack",
    }
    uid = cast("JsonObject", site.live("Rollout")["metadata"])["uid"]
    newer = lab.api.get(f"/apis/events.k8s.io/v1/namespaces/{lab.namespace}/events")["items"]
    for event in (event for event in newer if event["regarding"]["kind"] == "Rollout"):
        assert event["regarding"] == {
            "apiVersion": "edgecanary.dev/v1alpha1",
            "kind": "Rollout",
            "namespace": lab.namespace,
            "name": "pump",
            "uid": uid,
        }
        assert event["reportingController"] == "edgecanary.dev/edgecanary-operator"
        assert event["note"]
        assert event["deprecatedCount"] >= 1
