"""The chart's grants become the rules that policies and programs read, and wrong ones are refused by helm."""

import contextlib
from pathlib import Path
from typing import cast

import pytest
import yaml

from edgecanary.api.fields import JsonObject
from edgecanary.rollout.grants import Allowance, What, parse_grants
from edgelab.controlplane import ControlPlane
from edgelab.errors import ApiError
from edgelab.helm import Helm, HelmError, documents
from tests.kube.tenancy_lab import KINDS, SYSTEM, policies
from tests.unit.docs.pages import blocks, page

GRANT: JsonObject = {
    "namespaces": ["plant", "lab-*"],
    "nodeSelector": {"matchLabels": {"tenant": "plant", "example.com/line": "2"}},
    "prometheusHosts": ["prometheus.plant:9090", "[fd00::1]:9090"],
    "objectStoreHosts": ["s3.eu-central-1.amazonaws.com"],
    "downloadHosts": ["*.models.example.com", "*"],
}


@pytest.fixture(scope="module")
def helm(tmp_path_factory: pytest.TempPathFactory) -> Helm:
    return Helm(tmp_path_factory.mktemp("helm"))


def rendered(helm: Helm, **tenancy: object) -> list[JsonObject]:
    return documents(helm.template(values={"tenancy": {"enabled": True, **tenancy}}))


def rules(manifests: list[JsonObject]) -> str:
    (found,) = [
        item
        for item in manifests
        if item["kind"] == "ConfigMap" and "rules" in cast("JsonObject", item.get("data") or {})
    ]
    return str(cast("JsonObject", found["data"])["rules"])


def test_grants_become_rules_for_each_namespace(helm: Helm) -> None:
    everything = {"namespaces": ["ops"], "nodeSelector": {"matchLabels": {}}}
    text = rules(rendered(helm, contact="Ann (#edge)", requireSecretLabel=True, grants=[GRANT, everything]))
    found = parse_grants(text)
    plant = Allowance("plant", granted=found.of("plant"))
    assert found.of("plant").nodes == ({"tenant": "plant", "example.com/line": "2"},)
    assert found.of("lab-1").nodes == found.of("plant").nodes
    assert found.of("ops").nodes == ({},)
    assert found.of("plant").contact == "Ann (#edge)"
    assert found.of("plant").wants_labels
    plant.reach(What.PROMETHEUS).check("http://[fd00::1]:9090/")
    plant.reach(What.OBJECT_STORE).check("https://bucket.s3.eu-central-1.amazonaws.com/x")
    assert [str(host) for host in found.of("plant").hosts(What.DOWNLOAD)] == ["*.models.example.com", "*"]
    assert found.of("other").gives_nothing


def test_without_grants_there_are_rules_and_they_grant_nothing(helm: Helm) -> None:
    assert parse_grants(rules(rendered(helm))).of("plant").gives_nothing


def test_operator_and_agents_read_the_rules_where_they_are_mounted(helm: Helm) -> None:
    for kind in ("Deployment", "DaemonSet"):
        (found,) = [item for item in rendered(helm) if item["kind"] == kind]
        pod = cast(
            "dict[str, list[dict[str, object]]]",
            cast("JsonObject", cast("JsonObject", found["spec"])["template"])["spec"],
        )
        container = cast("dict[str, list[dict[str, object]]]", pod["containers"][0])
        env = {item["name"]: item.get("value") for item in container["env"]}
        assert env["EDGECANARY_TENANCY_FILE"] == "/etc/edgecanary/tenancy/rules"
        assert {"name": "tenancy", "configMap": {"name": "edgecanary-tenancy"}} in pod["volumes"]
        assert "/etc/edgecanary/tenancy" in [mount["mountPath"] for mount in container["volumeMounts"]]


def test_an_install_without_tenancy_has_none_of_it_and_refuses_the_loopback(helm: Helm) -> None:
    text = helm.template()
    assert "tenancy" not in text.lower().replace("tenancy:\n", "")
    assert "EDGECANARY_LOOPBACK" in text
    allowed = helm.template(
        values={"agent": {"settings": {"loopback": "allow", "allowHost": ["127.0.0.1:9000"]}}}
    )
    assert allowed.count("EDGECANARY_LOOPBACK") == 1
    assert "EDGECANARY_ALLOW_HOST" in allowed


def test_the_policies_of_the_chart_are_those_of_config(helm: Helm) -> None:
    def specs(found: list[JsonObject]) -> dict[tuple[str, str], JsonObject]:
        kept = [item for item in found if item["kind"] in KINDS and "tenancy" in str(item["metadata"])]
        return {
            (str(item["kind"]), str(cast("JsonObject", item["metadata"])["name"])): cast(
                "JsonObject", item["spec"]
            )
            for item in kept
        }

    assert specs(rendered(helm)) == specs(policies())
    assert len(specs(policies())) == 6


def test_the_api_server_takes_what_is_rendered(
    helm: Helm, control_plane: ControlPlane, tmp_path: Path
) -> None:
    with contextlib.suppress(ApiError):
        control_plane.admin.create("/api/v1/namespaces", {"metadata": {"name": SYSTEM}})
    own = [
        item
        for item in rendered(helm, grants=[GRANT])
        if item["kind"] in ("ConfigMap", *KINDS) and "tenancy" in str(item["metadata"])
    ]
    assert len(own) == 7
    text = yaml.safe_dump_all(own)
    flags = ("apply", "--server-side", "--dry-run=server", "--validate=strict", "--filename=-")
    assert control_plane.kubectl(*flags, stdin=text).count("serverside-applied") == len(own)


def test_the_guides_values_are_the_rules_that_it_shows(helm: Helm) -> None:
    (values,) = [
        block for block in blocks(page("docs/guides/tenancy.md"), "yaml") if block.startswith("tenancy:")
    ]
    tenancy = cast("JsonObject", documents(values)[0]["tenancy"])
    (shown,) = documents(blocks(page("docs/guides/tenancy.md"), "yaml")[0])
    wanted = parse_grants(str(cast("JsonObject", shown["data"])["rules"])).of("plant")
    found = parse_grants(rules(rendered(helm, **tenancy))).of("plant").rules
    assert sorted(map(str, found)) == sorted(map(str, wanted.rules))


@pytest.mark.parametrize(
    "change",
    [
        {"namespaces": []},
        {"namespaces": ["Plant"]},
        {"namespaces": ["pl*nt"]},
        {"namespaces": ["plant nodes *"]},
        {"nodeSelector": {}},
        {"nodeSelector": None},
        {"nodeSelector": {"matchLabels": {"a": "b c"}}},
        {"nodeSelector": {"matchExpressions": []}},
        {"prometheusHosts": ["http://a"]},
        {"prometheusHosts": ["a b"]},
        {"prometheusHosts": ["a\nplant nodes *"]},
        {"objectStoreHosts": ["a:0"]},
        {"downloadHosts": ["a."]},
        {"downloadHosts": ["*.*"]},
        {"hosts": ["a"]},
    ],
)
def test_a_grant_that_is_none_is_refused_by_helm(helm: Helm, change: dict[str, object]) -> None:
    with pytest.raises(HelmError, match="tenancy"):
        rendered(helm, grants=[{**GRANT, **change}])


@pytest.mark.parametrize("contact", ["Ann\nplant nodes *", " ", "\u2028"])
def test_a_contact_is_one_line(helm: Helm, contact: str) -> None:
    with pytest.raises(HelmError, match="contact"):
        rendered(helm, contact=contact)
