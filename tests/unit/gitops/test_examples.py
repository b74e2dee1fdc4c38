"""The example repositories for Argo CD and Flux hold together, and say what the guides say of them."""

import re
from pathlib import Path
from typing import cast

import pytest
import yaml

from edgecanary.api.fields import JsonObject
from tests.unit.gitops.expectations import ROLLOUTS
from tests.unit.gitops.kstatus import Kstatus, by_expressions
from tests.unit.gitops.manifests import (
    EXAMPLES,
    Alert,
    Application,
    ApplicationSet,
    Kustomization,
    Project,
    Repository,
    documents,
    one,
)
from tests.unit.gitops.objects import rollout_in

ARGO = EXAMPLES / "argocd"
FLUX = EXAMPLES / "flux"
HAMBURG = FLUX / "clusters" / "hamburg"
WAVE = "argocd.argoproj.io/sync-wave"
SITES = sorted(file.parent.name for file in ARGO.glob("sites/*/site.yaml"))


def applications() -> dict[str, ApplicationSet]:
    return {
        name: ApplicationSet.model_validate(one(ARGO / "apps", ApplicationSet, name))
        for name in ("edgecanary", "sites")
    }


def project() -> Project:
    return Project.model_validate(one(ARGO / "apps", Project, "edge-models"))


def flux_expressions() -> JsonObject:
    """The health of a Rollout in the example for Flux."""
    spec = cast("dict[str, list[JsonObject]]", one(HAMBURG, Kustomization, "models-hamburg")["spec"])
    (found,) = spec["healthCheckExprs"]
    return found


def namespaces(cluster: str) -> dict[str, dict[str, str]]:
    """The namespaces of a cluster with their annotations."""
    bodies = documents(ARGO / "clusters" / cluster)
    metadata = [cast("JsonObject", body["metadata"]) for body in bodies]
    return {str(found["name"]): cast("dict[str, str]", found["annotations"]) for found in metadata}


def test_there_are_many_sites() -> None:
    assert len(SITES) >= 3


def test_the_root_keeps_the_folder_of_applications() -> None:
    (body,) = documents(ARGO)
    root = Application.model_validate(body)
    assert root.spec.source is not None
    assert (ARGO / root.spec.source.path).is_dir()


def test_waves_bring_the_project_then_the_platform_then_the_sites() -> None:
    found = [project().metadata, *(applied.metadata for applied in applications().values())]
    assert [int(metadata.annotations[WAVE]) for metadata in found] == [-2, -1, 0]


@pytest.mark.parametrize("site", SITES)
def test_a_sites_namespace_comes_with_its_cluster_before_all_else(site: str) -> None:
    settings = yaml.safe_load((ARGO / "sites" / site / "site.yaml").read_text())
    assert settings.keys() == {"cluster", "ring"}
    found = namespaces(settings["cluster"])
    assert int(found[f"plant-{site}"][WAVE]) < 0
    kustomization = yaml.safe_load((ARGO / "sites" / site / "kustomization.yaml").read_text())
    assert kustomization["namespace"] == f"plant-{site}"


def test_no_sync_of_a_site_waits_for_its_rollout() -> None:
    """A sync with several waves, hooks or a namespace to make waits until all it applied is healthy: for days."""
    for file in ARGO.glob("sites/**/*.yaml"):
        assert "argocd.argoproj.io/" not in file.read_text(), file
    policy = applications()["sites"].spec.template.spec.sync_policy
    assert not [option for option in policy.sync_options if option.startswith("CreateNamespace")]
    assert policy.retry is not None
    assert policy.retry.refresh


@pytest.mark.parametrize("name", ["edgecanary", "sites"])
def test_applications_are_applied_and_compared_by_the_server(name: str) -> None:
    template = applications()[name].spec.template
    assert template.metadata.annotations["argocd.argoproj.io/compare-options"] == "ServerSideDiff=true"
    assert template.spec.sync_policy.sync_options == ("ServerSideApply=true",)


@pytest.mark.parametrize("name", ["edgecanary", "sites"])
def test_the_project_allows_what_the_applications_need(name: str) -> None:
    allowed, spec = project(), applications()[name].spec.template.spec
    sources = [*spec.sources, *([spec.source] if spec.source else [])]
    assert spec.project == allowed.metadata.name
    assert {source.repo_url for source in sources} <= set(allowed.spec.source_repos)
    patterns = {destination.namespace for destination in allowed.spec.destinations}
    assert spec.destination.namespace.split("{{")[0] in {pattern.rstrip("*") for pattern in patterns}


def test_only_administrators_skip_the_gates() -> None:
    (role,) = project().spec.roles
    rules = [[part.strip() for part in rule.split(",")] for rule in role.policies]
    verdicts = {rule[3]: rule[5] for rule in rules if rule[3].startswith("action/")}
    assert verdicts == {
        "action/edgecanary.dev/Rollout/*": "allow",
        "action/edgecanary.dev/Rollout/promote-full": "deny",
    }


def test_a_deleted_set_of_sites_leaves_the_rollouts() -> None:
    policy = applications()["sites"].spec.sync_policy
    assert policy is not None
    assert policy.preserve_resources_on_deletion


@pytest.mark.parametrize("file", sorted(ARGO.glob("sites/base/*.yaml")), ids=lambda file: file.name)
def test_git_leaves_to_people_what_people_do(file: Path) -> None:
    for body in yaml.safe_load_all(file.read_text()):
        assert "paused" not in body.get("spec", {})
        assert "annotations" not in body.get("metadata", {})


def test_what_flux_refers_to_is_there() -> None:
    platform = Kustomization.model_validate(one(HAMBURG, Kustomization, "edgecanary"))
    models = Kustomization.model_validate(one(HAMBURG, Kustomization, "models-hamburg"))
    repositories = [
        Repository.model_validate(one(HAMBURG, Repository, n)) for n in ("edge-models", "edgecanary")
    ]
    alert = Alert.model_validate(one(HAMBURG, Alert, "models-hamburg"))
    assert (FLUX / platform.spec.path).is_dir()
    assert (ARGO / models.spec.path).is_dir(), "the sites are those of the example for Argo CD"
    assert [needed.name for needed in models.spec.depends_on] == [platform.metadata.name]
    names = {repository.metadata.name for repository in repositories}
    assert {platform.spec.source_ref.name, models.spec.source_ref.name} <= names
    assert [(source.kind, source.name) for source in alert.spec.event_sources] == [
        ("Kustomization", models.metadata.name)
    ]
    assert platform.spec.wait
    assert models.spec.wait


def test_flux_waits_for_no_rollout_by_the_examples_expressions() -> None:
    """Current as soon as the operator has taken it in, Failed while it is Stalled."""
    found = {reason: by_expressions(rollout_in(reason), flux_expressions()) for reason in ROLLOUTS}
    failed = {reason for reason, shown in ROLLOUTS.items() if shown.flux is Kstatus.FAILED}
    assert found == {reason: Kstatus.FAILED if reason in failed else Kstatus.CURRENT for reason in ROLLOUTS}


@pytest.mark.parametrize("status", [{"observedGeneration": -1}, {"observedGeneration": 0}])
def test_flux_waits_for_a_rollout_that_the_operator_has_not_taken_in(status: JsonObject) -> None:
    assert (
        by_expressions({**rollout_in("Promoted"), "status": status}, flux_expressions())
        is Kstatus.IN_PROGRESS
    )


def test_durations_are_goes() -> None:
    for body in documents(HAMBURG):
        spec = cast("JsonObject", body["spec"])
        for name in ("interval", "retryInterval", "timeout"):
            assert re.fullmatch(r"\d+[smh]", str(spec.get(name, "1m"))), (body["kind"], name)
