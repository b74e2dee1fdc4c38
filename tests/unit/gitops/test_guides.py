"""The guides' tables say what the scripts, kstatus and the expressions say of the states that the planner makes."""

from typing import cast

import pytest
import yaml

from edgecanary.api.fields import JsonObject
from tests.unit.docs.pages import blocks, code_words, column, page, section
from tests.unit.gitops.argo_lua import ArgoCD
from tests.unit.gitops.expectations import ROLLOUTS
from tests.unit.gitops.kstatus import by_expressions, compute
from tests.unit.gitops.manifests import ApplicationSet, Kustomization, one
from tests.unit.gitops.objects import rollout_in
from tests.unit.gitops.test_examples import ARGO as EXAMPLE
from tests.unit.gitops.test_examples import HAMBURG, flux_expressions

ARGO = ArgoCD()
ARGO_GUIDE = page("docs/guides/argocd.md")
FLUX_GUIDE = page("docs/guides/flux.md")
WITH_CANARY = "abort while a canary is there"


def rows(text: str, heading: str) -> dict[str, list[str]]:
    """The other cells of a table, by each reason in the first one."""
    found = section(text, heading)
    width = next(line for line in found.splitlines() if line.startswith("|")).count("|") - 1
    columns = [column(found, number) for number in range(width)]
    return {
        reason: list(cells) for names, *cells in zip(*columns, strict=True) for reason in code_words(names)
    }


ARGO_TABLE = rows(ARGO_GUIDE, "What it shows")
FLUX_TABLE = rows(FLUX_GUIDE, "Ready when taken in, or ready when promoted")


def test_both_tables_have_every_reason() -> None:
    assert ARGO_TABLE.keys() == FLUX_TABLE.keys() == ROLLOUTS.keys()


@pytest.mark.parametrize("reason", ROLLOUTS)
def test_the_table_for_argo_cd_is_right(reason: str) -> None:
    obj, (health, state, offered) = rollout_in(reason), ARGO_TABLE[reason]
    assert (health, state) == (ARGO.health(obj).status, compute(obj))
    canary = "canary" in cast("JsonObject", obj["status"])
    told = {word for part in offered.replace(WITH_CANARY, "").split(";") for word in part.split(", ")}
    told = {word.strip() for word in told if word.strip()} | (
        {"abort"} if WITH_CANARY in offered and canary else set()
    )
    assert told == ARGO.enabled(obj) - {"pause"}


@pytest.mark.parametrize("reason", ROLLOUTS)
def test_the_table_for_flux_is_right(reason: str) -> None:
    obj = rollout_in(reason)
    assert FLUX_TABLE[reason] == [compute(obj), by_expressions(obj, flux_expressions())]


def test_the_guide_explains_every_action() -> None:
    told = {name for cell in column(section(ARGO_GUIDE, "Actions"), 0) for name in cell.split(", ")}
    assert told == ARGO.actions(rollout_in("Promoted")).keys()


def test_the_kustomization_of_the_guide_is_that_of_the_example() -> None:
    (text,) = blocks(FLUX_GUIDE, "yaml")
    assert yaml.safe_load(text) == one(HAMBURG, Kustomization, "models-hamburg")


def test_the_rings_of_the_guide_are_those_of_the_sites() -> None:
    (settings, rings) = (yaml.safe_load(text) for text in blocks(ARGO_GUIDE, "yaml"))
    body = one(EXAMPLE / "apps", ApplicationSet, "sites")
    spec = {**cast("JsonObject", body["spec"]), **rings["spec"]}
    sites = ApplicationSet.model_validate({**body, "spec": spec}).spec
    assert sites.strategy is not None
    named = [rule for step in sites.strategy.rolling_sync.steps for rule in step.match_expressions]
    folders = [yaml.safe_load(file.read_text()) for file in EXAMPLE.glob("sites/*/site.yaml")]
    assert {rule.key for rule in named} == sites.template.metadata.labels.keys()
    assert {value for rule in named for value in rule.values} == {folder["ring"] for folder in folders}
    template = sites.template
    assert settings["metadata"]["annotations"].items() <= template.metadata.annotations.items()
    assert tuple(settings["spec"]["syncPolicy"]["syncOptions"]) == template.spec.sync_policy.sync_options
